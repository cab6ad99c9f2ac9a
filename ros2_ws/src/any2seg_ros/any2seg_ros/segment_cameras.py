"""Several cameras in one process: a SegmentNode for each, one model for all.

    python -m any2seg_ros.segment_cameras --cameras front,left,right --ros-args --params-file cameras.yaml \\
        -r segment_front:~/in/image:=/front/image -r segment_left:~/in/image:=/left/image ...

The nodes are called segment_<camera>; a parameter without a node's name goes to all of them. The weights are loaded
once. Inference goes round: whoever waits longest is next, with its newest set.
"""

from __future__ import annotations

import argparse
import re
import sys

from rclpy.utilities import remove_ros_args

from any2seg_ros.model_pool import ModelPool
from any2seg_ros.running import run_nodes
from any2seg_ros.segment_node import SegmentNode


def camera_names(text: str) -> list[str]:
    """``"front,left"`` -> names; argparse reports what cannot be part of a node's name."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names) or not all(re.fullmatch("[A-Za-z0-9_]+", name) for name in names):
        raise argparse.ArgumentTypeError(f"{text!r}: give different names of letters, digits and _, such as front,left")
    return names


def main(args: list[str] | None = None) -> None:
    """Entry point. Ends on SIGINT, SIGTERM."""
    arguments = sys.argv if args is None else args
    parser = argparse.ArgumentParser(
        prog="segment_cameras",
        description="Segment several cameras in one process that holds the model once.",
        epilog="example: segment_cameras --cameras front,left --ros-args -r segment_front:~/in/image:=/front/image",
    )
    parser.add_argument("--cameras", type=camera_names, required=True, help="names, separated by commas")
    cameras = parser.parse_args(remove_ros_args(arguments)[1:]).cameras
    pool = ModelPool()
    run_nodes(lambda: [SegmentNode(f"segment_{name}", pool) for name in cameras], arguments)


if __name__ == "__main__":
    main()
