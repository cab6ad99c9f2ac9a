#!/usr/bin/env bash
# A ROS 2 parameter file that sets one parameter for all nodes ('/**') and again for one node by its full name.
#
# Guess:   the section with the exact name is the more special one and wins, wherever it stands.
# Happens: whichever stands later in the file wins; a '/**' at the end overrides the node's own section.
# Hurts:   whoever appends common settings to a parameter file: the values of single nodes are lost without a word,
#          and a tool that sorts the keys of the file changes what the nodes do. Any2Seg's offline commands read such a
#          file in the same order as the node (tests/ros/test_params_file.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  ros-jazzy-rclpy==7.1.6 ros-rcl-yaml-param-parser==9.2.8 ros-jazzy-rmw-fastrtps-cpp==8.4.3
ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS_LOG_DIR="$folder" "$folder/venv/bin/python" - "$folder" <<'PY'
import importlib.metadata as metadata
import sys
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.node import Node


def rate_of(text):
    path = Path(sys.argv[1]) / "params.yaml"
    path.write_text(text)
    context = Context()
    rclpy.init(args=["finding", "--ros-args", "--params-file", str(path)], context=context)
    node = Node("segment", context=context)
    try:
        return node.declare_parameter("rate", 1.0).value
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


own = "/segment:\n  ros__parameters:\n    rate: 2.0\n"
everybody = "/**:\n  ros__parameters:\n    rate: 3.0\n"
print({name: metadata.version(name) for name in ("ros-jazzy-rclpy", "ros-rcl-yaml-param-parser")})
found = rate_of(everybody + own), rate_of(own + everybody)
print(f"/segment says 2.0 and /** says 3.0: with /** first the node gets {found[0]}, with /** last {found[1]}")
sys.exit(0 if found == (2.0, 3.0) else 1)
PY
