"""Several cameras in one process: a SegmentNode for each, one model for all.

    any2seg-segment-cameras --cameras front,left --ros-args \\
        -r 'segment_front:~/in/image:=/front/image' -r 'segment_left:~/in/image:=/left/image'

The nodes are called segment_<camera>; a parameter without a node's name goes to all of them. The weights are loaded
once. Inference goes round: whoever waits longest is next, with its newest set.
"""

from __future__ import annotations

import argparse
import sys

from any2seg_core.base.entry import typed_name
from any2seg_core.base.errors import UserError
from any2seg_ros.command_line import own_arguments
from any2seg_ros.launch_arguments import camera_names, node_name
from any2seg_ros.model_pool import ModelPool
from any2seg_ros.running import run_nodes
from any2seg_ros.segment_node import SegmentNode


def _cameras(text: str) -> tuple[str, ...]:
    """Names as the launch files read them, at least one; argparse reports what is wrong."""
    try:
        names = camera_names(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("argument cameras: ")) from None
    if not names:
        raise argparse.ArgumentTypeError("name at least one camera, such as front,left")
    return names


def main(args: list[str] | None = None) -> None:
    """Entry point. Ends on SIGINT, SIGTERM."""
    arguments = sys.argv if args is None else args
    parser = argparse.ArgumentParser(
        prog=typed_name(),
        description="Segment several cameras in one process that holds the model once.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example: {typed_name()} --cameras front,left --ros-args -r 'segment_front:~/in/image:=/front/image'",
    )
    parser.add_argument("--cameras", type=_cameras, required=True, help="names, separated by commas")
    cameras = parser.parse_args(own_arguments(arguments)).cameras
    pool = ModelPool()
    run_nodes(lambda: [SegmentNode(node_name(name), pool) for name in cameras], arguments)


if __name__ == "__main__":
    main()
