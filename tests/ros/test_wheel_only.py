"""A machine that has only pip wheels can run everything: no unguarded import of what no wheel ships."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ros2_ws" / "src" / "any2seg_ros" / "any2seg_ros"
SOURCES = sorted(PACKAGE.glob("*.py"))
FROM_WHEELS = {
    # ROS packages of the extra "ros", with what they depend on
    "rclpy", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs", "rosgraph_msgs", "lifecycle_msgs",
    "rcl_interfaces", "builtin_interfaces", "geometry_msgs",
    # dependencies of the core
    "numpy", "cv2", "yaml", "rich", "typer", "pydantic",
    "any2seg_core", "any2seg_drive", "any2seg_ros",
}  # fmt: skip
GUARD = "distro.py"


def imported_packages(source: str) -> set[str]:
    """Top-level packages of all import statements, wherever they stand, and of literal import_module calls."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module", "__import__",
        ):  # fmt: skip
            argument = node.args[0]
            found.add(argument.value.split(".")[0] if isinstance(argument, ast.Constant) else "a computed name")
    return found


def test_value_the_check_sees_hidden_imports():
    source = """
import tf2_ros.buffer
def late():
    from vision_msgs.msg import LabelInfo
    importlib.import_module("cv_bridge")
    importlib.import_module(f"{package}.msg")
"""
    assert imported_packages(source) == {"tf2_ros", "vision_msgs", "cv_bridge", "a computed name"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != GUARD], ids=lambda path: path.name)
def test_value_only_packages_that_wheels_ship_are_imported(path):
    unknown = imported_packages(path.read_text()) - FROM_WHEELS - set(sys.stdlib_module_names)
    assert unknown == set(), f"ask for them in {GUARD}"


def test_value_what_the_guard_cannot_find_it_says_and_does_not_raise():
    from any2seg_ros import distro

    assert distro.message_class("no_such_msgs/msg/Thing") is None
    assert distro.message_class("sensor_msgs/msg/NoSuchThing") is None
    assert (distro.vision_messages() is None) == (not distro.has("vision_msgs"))
    assert (distro.transform_message() is None) == (not distro.has("tf2_msgs"))


@pytest.mark.parametrize("package", ["event_camera_msgs", "event_camera_py", "tf2_msgs", "vision_msgs"])
def test_value_what_no_wheel_ships_is_in_every_way_to_install(package):
    root = PACKAGE.parents[3]
    assert f"<exec_depend>{package}</exec_depend>" in (PACKAGE.parent / "package.xml").read_text()
    name = package.replace("_", "-")
    assert f"ros-$ROS_DISTRO-{name}" in (root / "docs" / "ros_install.md").read_text()
    for distribution in ("humble", "jazzy"):
        assert f"ros-{distribution}-{name} " in (root / "docker" / f"Dockerfile.{distribution}").read_text()
