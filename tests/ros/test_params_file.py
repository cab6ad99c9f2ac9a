"""The reader of params files for recordings against ROS 2 itself, and files that rclpy alone does not take."""

from __future__ import annotations

import pytest
from raised import user_error

from any2seg_core.sync.parameters import load_params_file

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


def parameters_by_ros(path, namespace):
    """Parameter -> value of a node called segment, as rcl reads the file."""
    from rclpy.context import Context
    from rclpy.node import Node

    context = Context()
    rclpy.init(args=["any2seg", "--ros-args", "--params-file", str(path)], context=context)
    try:
        options = {"automatically_declare_parameters_from_overrides": True}
        node = Node("segment", namespace=namespace, context=context, **options)
        found = {name: value.value for name, value in node.get_parameters_by_prefix("").items()}
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    return {name: value for name, value in found.items() if name in ("timeout_s", "lidar.offset_s", "rgb.max_age_s")}


def section(name, **values):
    lines = [f"    {name.replace('__', '.')}: {value}\n" for name, value in values.items()]
    return f"'{name}':\n  ros__parameters:\n" + "".join(lines)


PATTERNS = ("/**", "/*", "/**/segment", "/segment", "/perception/segment", "/perception/*", "/*/segment", "**/segment")


@pytest.mark.parametrize("namespace", ["", "/perception"])
def test_value_sections_and_their_order_as_rcl_has_them(tmp_path, namespace):
    """All pairs of patterns beside the node's own name, which says that it is meant."""
    own = f"{namespace}/segment"
    for index, (first, second) in enumerate((a, b) for a in PATTERNS for b in PATTERNS if len({a, b, own}) == 3):
        others = [name for name in (first, second) if "*" not in name]
        if others:
            continue  # another node called segment: here it is an error
        path = tmp_path / f"{index}.yaml"
        path.write_text(
            section(first, timeout_s=0.1, lidar__offset_s=0.01)
            + section(own, timeout_s=0.2, rgb__max_age_s=0.2)
            + section(second, timeout_s=0.3)
        )
        assert load_params_file(path) == parameters_by_ros(path, namespace), (first, second)


SCALARS = ("y", "n", "Y", "yes", "off", "TRUE", "tRUE", "~", "null", "1:30", "1_000", "0b101", "0o10", "010", "08",
           "0x10", "1e-3", "1.5e3", "1e+3", ".5", "5.", "+1", "-2", "inf", "-.inf", "2026-01-02", "'1'", "'y'", "'1e3'",
           "t", "[yes, y]", "['x', 'y', z]", "[1, 2]", "[1.0, 2.5]", "[~, null]")  # fmt: skip


@pytest.mark.parametrize("scalar", SCALARS)
def test_value_scalars_are_what_rcl_reads(tmp_path, scalar):
    """rcl has rules of its own: y is true, ~ is text, 08 is 8.0."""
    path = tmp_path / "p.yaml"
    path.write_text(section("/segment", timeout_s=scalar))
    ours, theirs = load_params_file(path)["timeout_s"], parameters_by_ros(path, "")["timeout_s"]
    theirs = theirs if isinstance(theirs, str) or not hasattr(theirs, "__len__") else list(theirs)
    assert (type(ours), ours) == (type(theirs), theirs)


@pytest.mark.parametrize("scalar", ["[x, y, z]", "[1, 2.5]", "[a, 1]"])
def test_exception_lists_that_rcl_refuses(tmp_path, scalar):
    path = tmp_path / "p.yaml"
    path.write_text(section("/segment", timeout_s=0.1) + section("/other", axes=scalar))
    with user_error("value-type", "axes is a list of"):
        load_params_file(path)
    with pytest.raises(Exception, match="should be of same type"):
        parameters_by_ros(path, "")


def test_value_an_empty_list_is_an_empty_list_in_the_node_too(tmp_path):
    """rcl gives it no type, and rclpy then has no value to give."""
    from rclpy.context import Context
    from rclpy.node import Node

    from any2seg_ros import parameters

    path = tmp_path / "p.yaml"
    path.write_text(
        "/**:\n  ros__parameters:\n    health: {frozen_sensors: []}\n    modalities: []\n    timeout_s: []\n"
    )
    context = Context()
    rclpy.init(args=["any2seg", "--ros-args", "--params-file", str(path)], context=context)
    try:
        node = Node("segment", context=context)
        declared = parameters.DeclaredParameters(node)
        values = {name: node.get_parameter(name).value for name in declared.table}
        assert node.describe_parameter("modalities").read_only
        assert not node.describe_parameter("health.frozen_sensors").read_only
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert list(values["health.frozen_sensors"]) == list(values["modalities"]) == []
    assert declared.complaints == {"timeout_s": "parameter timeout_s: expected float, got an empty list"}
    assert values["timeout_s"] == 0.05
