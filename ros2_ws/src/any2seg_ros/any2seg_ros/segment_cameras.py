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
from any2seg_ros.command_line import end, own_arguments
from any2seg_ros.launch_arguments import camera_names, node_name
from any2seg_ros.model_pool import ModelPool
from any2seg_ros.running import run_nodes
from any2seg_ros.segment_node import SegmentNode


def _cameras(text: str, others: list[str]) -> tuple[str, ...]:
    """Names as the launch files read them, at least one, and nothing beside them."""
    if others:
        raise UserError(f"argument {others[0]!r} is unknown; --help lists what there is", "argument-unknown")
    names = camera_names(text)
    if not names:
        raise UserError("argument --cameras: name at least one camera, such as front,left", "argument-missing")
    return names


def main(args: list[str] | None = None) -> None:
    """Entry point. Ends on SIGINT, SIGTERM; one line and exit code 2 for names or arguments that are no good."""
    arguments = sys.argv if args is None else args
    parser = argparse.ArgumentParser(
        prog=typed_name(),
        description="Segment several cameras in one process that holds the model once.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example: {typed_name()} --cameras front,left --ros-args -r 'segment_front:~/in/image:=/front/image'",
    )
    parser.add_argument("--cameras", nargs="?", const="", default="", help="names, separated by commas")
    given, others = parser.parse_known_args(own_arguments(arguments))
    try:
        cameras = _cameras(given.cameras, others)
    except UserError as error:
        end(error)
    pool = ModelPool()
    run_nodes(lambda: [SegmentNode(node_name(name), pool) for name in cameras], arguments)


if __name__ == "__main__":
    main()
