"""Arguments of a process that have no effect on its nodes: remappings that match nothing, parameters nobody declared.

ROS takes them without a word, and the node waits for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from any2seg_core.base.errors import UserError
from any2seg_core.sync.parameters import STREAM_DEFAULTS, foreign_sections
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, IMAGE
from any2seg_core.vocabulary.topics import node_input
from any2seg_ros.topic_table import OUTPUTS, TRANSFORMS, input_topics

if TYPE_CHECKING:
    from any2seg_ros.segment_node import SegmentNode

_ROS_ARGS, _END = "--ros-args", "--"
_REMAP, _PARAMS_FILE = ("-r", "--remap"), ("--params-file",)
_COMMON = ("/clock", "/rosout", "/parameter_events", "~/transition_event", "~/enable")
_COMPRESSED = {IMAGE: "compressed", DEPTH: "compressedDepth"}
_SERVICES = ("change_state", "get_state", "get_available_states", "get_available_transitions", "get_transition_graph",
             "describe_parameters", "get_parameter_types", "get_parameters", "list_parameters", "set_parameters",
             "set_parameters_atomically", "get_type_description")  # fmt: skip
_QOS = re.compile(r"qos_overrides\.(/.*)\.(subscription|publisher)(_\w+)?\.\w+$")


def unused_arguments(nodes: Sequence[SegmentNode], arguments: Sequence[str]) -> list[str]:
    """One line for each argument of the process that none of its nodes uses, with what was probably meant.

    Args:
        nodes: all of the process, with declared parameters. arguments: with the name of the program.
    """
    lines = [text for rule in _values(arguments, _REMAP) if (text := _unused_rule(rule, nodes))]
    lines += [text for node in nodes for text in _undeclared(node)]
    for file in dict.fromkeys(_values(arguments, _PARAMS_FILE)):
        lines += _foreign(file, nodes)
    return list(dict.fromkeys(lines))


def _values(arguments: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """What follows these options in the parts of the command line that are for ROS."""
    is_ros = False
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        is_ros = word == _ROS_ARGS or (is_ros and word != _END)
        if is_ros and word in options:
            yield following


def _unused_rule(rule: str, nodes: Sequence[SegmentNode]) -> str:
    source, _, target = rule.partition(":=")
    found = re.match(r"(\w+):(?!//)", source)
    prefix, name = (found[1], source[found.end() :]) if found else ("", source)
    meant = [node for node in nodes if prefix in ("", node.get_name())]
    if not meant:
        names = ", ".join(node.get_name() for node in nodes)
        return f"remapping {rule} has no effect: no node {prefix} in this process; it has {names}"
    kind, colons, rest = name.partition("://")
    name = rest if colons and kind in ("rostopic", "rosservice") else name
    if name.startswith("__") or any(_full(name, node) in _names(node) for node in meant):
        return ""
    return f"remapping {rule} has no effect: {_way_out(prefix, name, target, meant[0])}"


def _way_out(prefix: str, name: str, target: str, node: SegmentNode) -> str:
    home = os.path.expanduser("~")
    if home != "/" and name.startswith(f"{home}/"):
        private = f"{f'{prefix}:' if prefix else ''}~{name[len(home) :]}"
        return f"the shell has put your home folder in the place of ~: quote it, -r '{private}:={target}'"
    full = {_full(topic, node): topic for topic in _shown_names(node)}
    ends = [topic for topic in full.values() if topic.rpartition("/")[2] == name.rpartition("/")[2]]
    near = ends or [full[each] for each in get_close_matches(_full(name, node), full, n=1, cutoff=0.6)]
    suite = node.declared.suite
    known = "its inputs are " + ", ".join(f"~/in/{node_input(suite, name)}" for name in suite.members)
    return f"the node has no topic {name}: " + (f"did you mean '{near[0]}'?" if near else known)


def _shown_names(node: SegmentNode) -> list[str]:
    return [topic.name for topic in (*input_topics(node.declared.suite), *OUTPUTS, *TRANSFORMS)]


def _compressed_names(suite: SensorSuite) -> list[str]:
    """Where image_transport puts compressed images."""
    return [f"~/in/{node_input(suite, sensor.name)}/{_COMPRESSED[sensor.kind]}" for sensor in suite.sensors
            if sensor.kind in _COMPRESSED]  # fmt: skip


def _names(node: SegmentNode) -> set[str]:
    services = (f"~/{service}" for service in _SERVICES)
    names = (*_shown_names(node), *_COMMON, *_compressed_names(node.declared.suite), *services)
    return {_full(name, node) for name in names}


def _full(name: str, node: SegmentNode) -> str:
    """A name as a rule or a node writes it, with namespace and node."""
    base = node.get_namespace().rstrip("/")
    if name.startswith("~"):
        return f"{base}/{node.get_name()}{name[1:]}"
    return name if name.startswith("/") else f"{base}/{name}"


def _undeclared(node: SegmentNode) -> Iterator[str]:
    topics = {node.resolve_topic_name(name) for name in (*_shown_names(node), *_COMMON[:3])}
    for name in _compressed_names(node.declared.suite):
        image, _, transport = name.rpartition("/")
        topics.add(f"{node.resolve_topic_name(image)}/{transport}")
    strange: dict[str, list[str]] = {}
    for name in node._parameter_overrides:
        if node.has_parameter(name):
            continue
        found = _QOS.fullmatch(name)
        if found and found[1] in topics:
            continue
        sensor, _, key = name.partition(".")
        if key in STREAM_DEFAULTS:
            strange.setdefault(sensor, []).append(key)
            continue
        if name.startswith("qos_overrides."):
            why = "the node has no such topic, or no such setting of it; the name is that after remapping"
        else:
            near = get_close_matches(name, node.declared.table, n=1, cutoff=0.6)
            why = f"did you mean {near[0]}?" if near else "docs/node.md and --help list those that it has"
        yield f"{node.get_name()}: parameter {name} is unknown and has no effect: {why}"
    yield from (_strange_sensor(node, sensor, keys) for sensor, keys in strange.items())


def _strange_sensor(node: SegmentNode, sensor: str, keys: Sequence[str]) -> str:
    """One line for all parameters of a sensor that the suite of the checkpoint does not have."""
    suite = node.declared.suite
    near = get_close_matches(sensor, suite.members, n=1, cutoff=0.6)
    names = f"{sensor}.{keys[0]}" + (f" and {len(keys) - 1} more of {sensor}" if len(keys) > 1 else "")
    way_out = f"did you mean {near[0]}?" if near else f"it has {', '.join(suite.members)}"
    return (
        f"{node.get_name()}: parameter {names} has no effect: the checkpoint's sensor suite {suite.name} has no sensor "
        f"{sensor}: {way_out} [sensor-absent]"
    )


def _foreign(file: str, nodes: Sequence[SegmentNode]) -> list[str]:
    names = [_full("~", node) for node in nodes]
    try:
        foreign = foreign_sections(Path(file), names)
    except UserError:
        return []  # rcl has read it in its own way
    own = ", ".join(names)
    return [f"{file}: section {name} has no effect: it is for another node than {own}" for name in foreign]
