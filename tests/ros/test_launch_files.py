"""What can be said about the launch files without running them; test_launch.py runs them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from any2seg_core.vocabulary.topics import carla_bridge
from any2seg_ros.launch_arguments import parameter_arguments, score_arguments, score_nodes, topic_arguments

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ros2_ws" / "src" / "any2seg_ros"
JUDGED = {argument.name: argument.default for argument in score_arguments("", "", "", "true")}
JUDGED |= {"namespace": "", "cameras": "", "checkpoint": ""}
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


def calls(tree: ast.AST, function: str) -> list[ast.Call]:
    """Calls of a name or attribute."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if function in (getattr(call.func, "id", ""), getattr(call.func, "attr", ""))]


def keyword(call: ast.Call, name: str):
    return next((entry.value for entry in call.keywords if entry.arg == name), None)


def declared(path: Path) -> set[str]:
    """Names of the arguments of a launch file, those of the file that it includes too."""
    tree = ast.parse(path.read_text())
    named = {
        call.args[0].value
        for call in calls(tree, "DeclareLaunchArgument") + calls(tree, "Argument")
        if call.args and isinstance(call.args[0], ast.Constant)
    }
    if calls(tree, "score_arguments"):
        named |= {argument.name for argument in score_arguments("", "", "", "")}
    if calls(tree, "parameter_arguments"):
        named |= {argument.name for argument in parameter_arguments()}
    if calls(tree, "topic_arguments") and calls(tree, "remappings"):
        named |= {argument.name for argument in topic_arguments(carla_bridge())}
    if calls(tree, "IncludeLaunchDescription"):
        named |= declared(ROOT / "launch" / "segment.launch.py")
    return named


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_value_every_configuration_that_is_read_is_an_argument(path):
    tree = ast.parse(path.read_text())
    read = {call.args[0].value for call in calls(tree, "LaunchConfiguration")}
    keys = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    read |= {
        key.slice.value
        for key in keys
        if getattr(key.value, "id", "") == "values" and isinstance(key.slice, ast.Constant)
    }
    assert read
    assert read <= declared(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_value_every_argument_is_described(path):
    for call in calls(ast.parse(path.read_text()), "DeclareLaunchArgument"):
        assert keyword(call, "description") or not call.args  # without: made of an Argument
    for call in calls(ast.parse(path.read_text()), "Argument"):
        assert call.args[2].value.endswith(".")


def test_value_segment_takes_parameters_and_remappings_from_the_tables():
    tree = ast.parse((ROOT / "launch" / "segment.launch.py").read_text())
    (node,) = calls(tree, "LifecycleNode")
    assert calls(keyword(node, "parameters"), "given_parameters")
    assert getattr(keyword(node, "remappings").func, "attr", "") == "remappings"


def test_value_executables_are_entry_points_of_the_package():
    (setup,) = calls(ast.parse((PACKAGE / "setup.py").read_text()), "setup")
    scripts = ast.literal_eval(keyword(setup, "entry_points"))["console_scripts"]
    names = {script.partition(" = ")[0] for script in scripts}
    started = set()
    for path in FILES:
        tree = ast.parse(path.read_text())
        nodes = calls(tree, "Node") + calls(tree, "LifecycleNode")
        started |= {keyword(node, "executable").value for node in nodes if keyword(node, "executable") is not None}
    started |= {options["executable"] for options in score_nodes(JUDGED)}
    assert started - {"rviz2"} <= names
    assert {"segment_node", "segment_cameras", "replay_node", "score_node"} <= started
    for script in scripts:
        module = script.partition(" = ")[2].partition(":")[0]
        assert calls(ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text()), "main"), module


def test_value_parameters_of_the_helpers_are_declared_by_them():
    """Undeclared parameters would be ignored without a word."""
    tree = ast.parse((ROOT / "launch" / "replay.launch.py").read_text())
    nodes = calls(tree, "Node")
    (player,) = (node for node in nodes if getattr(keyword(node, "executable"), "value", "") == "replay_node")
    given = {"replay_node": {key.value for entry in keyword(player, "parameters").elts for key in entry.keys}}
    given["score_node"] = set(score_nodes(JUDGED)[0]["parameters"][0])
    for executable, parameters in given.items():
        source = ast.parse((PACKAGE / "any2seg_ros" / f"{executable}.py").read_text())
        table = next(
            node.value
            for node in ast.walk(source)
            if isinstance(node, ast.Assign | ast.AnnAssign) and "_PARAMETERS" in ast.dump(node)
        )
        assert parameters <= {entry.elts[0].value for entry in table.elts}
        assert parameters
