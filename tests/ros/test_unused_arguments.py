"""Arguments without any effect are named at the start; the oracle is the line that a person would want to read."""

from __future__ import annotations

import subprocess
import sys

import pytest
from raised import assert_refused

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def lines_of():
    """Function from ROS arguments to what a process with these nodes is told."""
    from any2seg_ros.segment_node import SegmentNode
    from any2seg_ros.unused_arguments import unused_arguments

    def lines(*arguments, names=("segment",)):
        given = ["program", "--ros-args", *arguments]
        context = rclpy.Context()
        rclpy.init(args=given, context=context)
        nodes = [SegmentNode(name, context=context) for name in names]
        try:
            return unused_arguments(nodes, given)
        finally:
            for node in nodes:
                node.destroy_node()
            rclpy.shutdown(context=context)

    return lines


@pytest.mark.parametrize(
    "rule",
    ["~/in/image:=/x", "/segment/in/points:=/x", "segment/in/depth:=/x", "segment:~/out/label:=/x", "/tf:=/robot/tf",
     "__ns:=/", "rostopic://~/in/image:=/x", "~/enable:=/on", "/diagnostics:=/d", "/clock:=/c",
     "~/in/image/compressed:=/x", "rosservice://~/get_parameters:=/x"],
)  # fmt: skip
def test_value_rules_that_match_something_are_not_named(lines_of, rule):
    assert lines_of("-r", rule) == []


def test_value_a_name_that_the_shell_has_expanded_is_named_with_its_quotes(lines_of, monkeypatch):
    monkeypatch.setenv("HOME", "/people/me")
    (line,) = lines_of("--remap", "/people/me/in/image:=/x")
    assert line.startswith("remapping /people/me/in/image:=/x has no effect: ")
    assert line.endswith("quote it, -r '~/in/image:=/x'")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("~/in/imag:=/x", "did you mean '~/in/image'?"),
        ("/camera/image:=/x", "did you mean '~/in/image'?"),
        ("in/points:=/x", "did you mean '~/in/points'?"),
        ("other:~/in/image:=/x", "no node other in this process; it has segment"),
        ("/radar:=/x", "its inputs are ~/in/image, ~/in/depth, ~/in/events, ~/in/points"),
    ],
)
def test_value_rules_that_match_nothing_are_named_with_what_was_meant(lines_of, rule, told):
    (line,) = lines_of("-r", rule)
    assert line.startswith(f"remapping {rule} has no effect: ") and line.endswith(told)


def test_value_with_several_cameras_one_that_matches_is_enough(lines_of):
    names = ("segment_front", "segment_left")
    assert lines_of("-r", "segment_left:~/in/image:=/l", "-r", "~/in/image:=/x", names=names) == []
    (line,) = lines_of("-r", "segment_rear:~/in/image:=/r", names=names)
    assert line.endswith("no node segment_rear in this process; it has segment_front, segment_left")


def test_value_parameters_that_nobody_declared_are_named(lines_of):
    override = "qos_overrides./segment/in/image.subscription.depth:=1"
    assert lines_of("-p", "timeout_s:=0.1", "-p", "use_sim_time:=false", "-p", override) == []
    first, second, third = lines_of(
        "-p", "chekpoint:=a", "-p", "speed:=1", "-p", "qos_overrides./cam.subscription.depth:=1"
    )
    assert first == "segment: parameter chekpoint is unknown and has no effect: did you mean checkpoint?"
    assert second.startswith("segment: parameter speed is unknown and has no effect: docs/node.md")
    assert "qos_overrides./cam.subscription.depth" in third and "no such topic" in third


def test_value_sections_of_a_params_file_for_other_nodes_are_named(lines_of, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        "/**:\n  ros__parameters: {timeout_s: 0.1}\n/perception/other:\n  ros__parameters: {timeout_s: 0.3}\n"
    )
    (line,) = lines_of("--params-file", str(file))
    assert line == f"{file}: section /perception/other has no effect: it is for another node than /segment"


def run(module: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "module", ["any2seg_ros.segment_node", "any2seg_ros.segment_cameras", "any2seg_ros.score_node",
               "any2seg_ros.replay_node"],
)  # fmt: skip
def test_value_help_ends_at_once_and_has_an_example(module):
    done = run(module, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m {module} ")
    assert "--ros-args -" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--checkpoint", "a.safetensors"], "'--checkpoint'"),
        (["--ros-args", "-r", "/x:="], "'-r /x:='"),
        (["--ros-args", "--params-file", "nowhere.yaml"], "nowhere.yaml"),
        (["--ros-args", "--foo"], "--foo"),
    ],
)
def test_exception_arguments_that_cannot_be_read_are_one_line(arguments, told):
    done = run("any2seg_ros.segment_node", *arguments)
    assert done.returncode == 2
    assert_refused(done.stderr, "argument-unknown", told)
