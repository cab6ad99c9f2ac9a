#!/usr/bin/env bash
# A ROS 2 parameter file that gives an empty list to a parameter which the node declares with a list as its default.
#
# Guess:   the parameter is the empty list; or, as no element tells the type, the default stays, or an error names the
#          file.
# Happens: the default is dropped, the declaration succeeds with a parameter of type NOT_SET, and get_parameter raises
#          ParameterUninitializedException later, which does not mention the file.
# Hurts:   whoever switches a list off in the file ("no sensors to watch"): the node ends at the first read of it.
#          Any2Seg's node takes such a parameter as the empty list
#          (tests/ros/test_params_file.py, test_value_an_empty_list_is_an_empty_list_in_the_node_too).
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
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node


def declared_and_read(value):
    path = Path(sys.argv[1]) / "params.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    sensors: {value}\n")
    context = Context()
    rclpy.init(args=["finding", "--ros-args", "--params-file", str(path)], context=context)
    node = Node("watch", context=context)
    try:
        declared = node.declare_parameter("sensors", ["camera", "lidar"]).type_.name
        try:
            return declared, node.get_parameter("sensors").value
        except ParameterUninitializedException:
            return declared, "ParameterUninitializedException"
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


print({name: metadata.version(name) for name in ("ros-jazzy-rclpy", "ros-rcl-yaml-param-parser")})
found = {value: declared_and_read(value) for value in ("[radar]", "[]")}
for value, (declared, read) in found.items():
    print(f"sensors: {value} in the file: declared as {declared}, get_parameter: {read}")
expected = {"[radar]": ("STRING_ARRAY", ["radar"]), "[]": ("NOT_SET", "ParameterUninitializedException")}
sys.exit(0 if found == expected else 1)
PY
