#!/usr/bin/env bash
# Plain scalars in a ROS 2 parameter file, as rcl reads them and as PyYAML does, on which ROS 2's Python tools stand.
#
# Guess:   both read YAML 1.1 and agree; where a letter could be a truth value, text without quotes stays text.
# Happens: y and n are bool for rcl and text for PyYAML, so `up_axis: y` has the wrong type and `axes: [x, y, z]` keeps
#          every node from starting, with an error about a sequence of several types that says nothing of y. 08 is the
#          number 8.0 for rcl and text for PyYAML; ~ and null are text; 1:30 and 1_000 are text for rcl, 90 and 1000 for
#          PyYAML.
# Hurts:   whoever checks, merges or writes parameter files in Python: the check passes, the node gets another value or
#          does not start. PyYAML itself writes the text y without quotes. Any2Seg's offline commands read these scalars
#          as the node does (any2seg_core/base/text_files.py, tests/ros/test_params_file.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  ros-jazzy-rclpy==7.1.6 ros-rcl-yaml-param-parser==9.2.8 ros-jazzy-rmw-fastrtps-cpp==8.4.3 pyyaml==6.0.3
ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS_LOG_DIR="$folder" "$folder/venv/bin/python" - "$folder" <<'PY'
import importlib.metadata as metadata
import sys
from pathlib import Path

import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node


def read_by_rcl(text):
    path = Path(sys.argv[1]) / "params.yaml"
    path.write_text(text)
    context = Context()
    try:
        rclpy.init(args=["finding", "--ros-args", "--params-file", str(path)], context=context)
    except Exception as error:  # the type differs between releases
        return f"refused: {'same type' if 'should be of same type' in str(error) else error}"
    node = Node("watch", context=context, automatically_declare_parameters_from_overrides=True)
    try:
        return node.get_parameter("value").value
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


EXPECTED = {  # scalar: (rcl, PyYAML)
    "y": (True, "y"),
    "n": (False, "n"),
    "[x, y, z]": ("refused: same type", ["x", "y", "z"]),
    "08": (8.0, "08"),
    "~": ("~", None),
    "1:30": ("1:30", 90),
    "1_000": ("1_000", 1000),
    "yes": (True, True),  # on these they agree
    "010": (8, 8),
}
print({name: metadata.version(name) for name in ("ros-jazzy-rclpy", "ros-rcl-yaml-param-parser", "pyyaml")})
found = {}
for scalar in EXPECTED:
    text = f"/**:\n  ros__parameters:\n    value: {scalar}\n"
    found[scalar] = read_by_rcl(text), yaml.safe_load(text)["/**"]["ros__parameters"]["value"]
    print(f"value: {scalar:10} rcl {found[scalar][0]!r:22} PyYAML {found[scalar][1]!r}")
is_same = {s: [(type(v), v) for v in pair] for s, pair in found.items()} == {
    s: [(type(v), v) for v in pair] for s, pair in EXPECTED.items()
}
written = yaml.safe_dump({"up_axis": "y"}).strip()
print("PyYAML writes", written)
sys.exit(0 if is_same and written == "up_axis: y" else 1)
PY
