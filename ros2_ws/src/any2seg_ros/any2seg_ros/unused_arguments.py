"""Arguments of a process that have no effect on its nodes: remappings that match nothing, parameters nobody declared.

ROS takes them without a word, and the node waits for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from rclpy.node import Node

from any2seg_core.base.errors import UserError
from any2seg_core.sync.parameters import foreign_sections
from any2seg_ros.parameter_table import TABLE
from any2seg_ros.topic_table import INPUTS, OUTPUTS, TRANSFORMS

_ROS_ARGS, _END = "--ros-args", "--"
_REMAP, _PARAMS_FILE = ("-r", "--remap"), ("--params-file",)
_COMMON = ("/clock", "/rosout", "/parameter_events", "~/transition_event", "~/enable")
_TRANSPORTS = ("~/in/image/compressed", "~/in/depth/compressedDepth")
_SERVICES = ("change_state", "get_state", "get_available_states", "get_available_transitions", "get_transition_graph",
             "describe_parameters", "get_parameter_types", "get_parameters", "list_parameters", "set_parameters",
             "set_parameters_atomically", "get_type_description")  # fmt: skip
_QOS = re.compile(r"qos_overrides\.(/.*)\.(subscription|publisher)(_\w+)?\.\w+$")


def unused_arguments(nodes: Sequence[Node], arguments: Sequence[str]) -> list[str]:
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


def _unused_rule(rule: str, nodes: Sequence[Node]) -> str:
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


def _way_out(prefix: str, name: str, target: str, node: Node) -> str:
    home = os.path.expanduser("~")
    if home != "/" and name.startswith(f"{home}/"):
        private = f"{f'{prefix}:' if prefix else ''}~{name[len(home) :]}"
        return f"the shell has put your home folder in the place of ~: quote it, -r '{private}:={target}'"
    full = {_full(topic, node): topic for topic in _shown_names()}
    ends = [topic for topic in full.values() if topic.rpartition("/")[2] == name.rpartition("/")[2]]
    near = ends or [full[each] for each in get_close_matches(_full(name, node), full, n=1, cutoff=0.6)]
    known = "its inputs are " + ", ".join(topic.name for topic in INPUTS[:4])
    return f"the node has no topic {name}: " + (f"did you mean '{near[0]}'?" if near else known)


def _shown_names() -> list[str]:
    return [topic.name for topic in (*INPUTS, *OUTPUTS, *TRANSFORMS)]


def _names(node: Node) -> set[str]:
    names = (*_shown_names(), *_COMMON, *_TRANSPORTS, *(f"~/{service}" for service in _SERVICES))
    return {_full(name, node) for name in names}


def _full(name: str, node: Node) -> str:
    """A name as a rule or a node writes it, with namespace and node."""
    base = node.get_namespace().rstrip("/")
    if name.startswith("~"):
        return f"{base}/{node.get_name()}{name[1:]}"
    return name if name.startswith("/") else f"{base}/{name}"


def _undeclared(node: Node) -> Iterator[str]:
    topics = {node.resolve_topic_name(name) for name in (*_shown_names(), *_COMMON[:3])}
    topics |= {node.resolve_topic_name(name.rpartition("/")[0]) + f"/{name.rpartition('/')[2]}" for name in _TRANSPORTS}
    for name in node._parameter_overrides:
        if node.has_parameter(name):
            continue
        found = _QOS.fullmatch(name)
        if found and found[1] in topics:
            continue
        if name.startswith("qos_overrides."):
            why = "the node has no such topic, or no such setting of it; the name is that after remapping"
        else:
            near = get_close_matches(name, TABLE, n=1, cutoff=0.6)
            why = f"did you mean {near[0]}?" if near else "docs/node.md and --help list those that it has"
        yield f"{node.get_name()}: parameter {name} is unknown and has no effect: {why}"


def _foreign(file: str, nodes: Sequence[Node]) -> list[str]:
    names = [_full("~", node) for node in nodes]
    try:
        foreign = foreign_sections(Path(file), names)
    except UserError:
        return []  # rcl has read it in its own way
    own = ", ".join(names)
    return [f"{file}: section {name} has no effect: it is for another node than {own}" for name in foreign]
