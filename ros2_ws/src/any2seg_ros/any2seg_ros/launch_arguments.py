"""What the launch files need beyond `launch` itself: arguments made from the tables, and their values read back.

Plain Python, so that it is tested where `launch` is not installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from any2seg_core.errors import UserError
from any2seg_core.topics import TopicMap
from any2seg_ros.parameter_table import TABLE, Parameter
from any2seg_ros.topic_table import INPUTS

CAMERA = "{camera}"
"""Stands for the name of the camera in topics and file names of a launch file."""
ONLY_CAMERA = "front"
"""What it stands for when no cameras are listed."""
UNSET = ""
"""Value of an argument that leaves the parameter to params_file."""


@dataclass(frozen=True)
class Argument:
    """One launch argument. An empty `choices` accepts everything."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


def parameter_arguments() -> list[Argument]:
    """One argument per parameter of the node, empty by default: then params_file or the node's own default holds."""
    return [Argument(name, UNSET, _describe(entry), _choices(entry)) for name, entry in TABLE.items()]


def topic_arguments(topics: TopicMap) -> list[Argument]:
    """One argument per input, such as image_topic for ``~/in/image``; the defaults are the topics of a robot."""
    targets = topics.node_remappings()
    return [
        Argument(topic_argument(topic.name), targets.get(topic.name, topic.name), f"Topic for {topic.name}.")
        for topic in INPUTS
    ]


def topic_argument(private: str) -> str:
    """``~/in/camera_info`` -> ``camera_info_topic``."""
    return private.rpartition("/")[2] + "_topic"


def remappings(values: Mapping[str, str], camera: str) -> list[tuple[str, str]]:
    """(private name, topic) of every input, from the values of `topic_arguments`."""
    return [(topic.name, for_camera(values[topic_argument(topic.name)], camera)) for topic in INPUTS]


def given_parameters(values: Mapping[str, str], camera: str) -> dict[str, Any]:
    """Parameters whose argument is set, with the type of the table; UserError names the argument that does not fit."""
    given = {name: values[name] for name in TABLE if values.get(name, UNSET) != UNSET}
    return {name: _parse(name, for_camera(text, camera), TABLE[name]) for name, text in given.items()}


def camera_names(text: str) -> tuple[str, ...]:
    """``"front,left"`` -> their names, nothing for an empty text; UserError for what no node's name can hold."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if not (name.isidentifier() and name.isascii()):
            raise UserError(f"argument cameras: {name!r} cannot name a node: letters, digits and _, no digit first")
    if len(set(names)) < len(names):
        raise UserError(f"argument cameras: {text!r} lists a camera twice")
    return names


def check_distinct(cameras: Iterable[str], values: Mapping[str, str]) -> None:
    """UserError when several cameras would all listen to one image topic."""
    topics = {camera: for_camera(values["image_topic"], camera) for camera in cameras}
    if len(set(topics.values())) < len(topics):
        raise UserError(
            f"argument image_topic: {values['image_topic']!r} is the same for {', '.join(topics)}: "
            f"write {CAMERA} where the camera's name belongs, /robot/{CAMERA}/image"
        )


def node_name(camera: str) -> str:
    """``segment``, or ``segment_front`` for a camera of several."""
    return f"segment_{camera}" if camera else "segment"


def ros_arguments_of_cameras(values: Mapping[str, str], cameras: Iterable[str]) -> list[str]:
    """Remappings and parameters of several nodes in one process, each addressed to its node."""
    arguments = []
    for camera in cameras:
        node = node_name(camera)
        for private, topic in remappings(values, camera):
            arguments += ["-r", f"{node}:{private}:={topic}"]
        for name, value in given_parameters(values, camera).items():
            arguments += ["-p", f"{node}:{name}:={json.dumps(value)}"]  # JSON is YAML, with texts always quoted
    return arguments


def for_camera(text: str, camera: str) -> str:
    """Put the name of the camera into a topic or a path."""
    return text.replace(CAMERA, camera)


def _describe(entry: Parameter) -> str:
    default = str(entry.default).lower() if isinstance(entry.default, bool) else entry.default
    limits = "" if entry.low is None else f", {entry.low:g} to {entry.high:g}"
    shown = f"[{','.join(default)}]" if isinstance(default, list) else default
    return f"{entry.description} Default {shown if shown != '' else 'empty'}{limits}."


def _choices(entry: Parameter) -> tuple[str, ...]:
    words = ("true", "false") if isinstance(entry.default, bool) else entry.choices
    return (UNSET, *words) if words else ()


def _parse(name: str, text: str, entry: Parameter) -> Any:
    kind = type(entry.default)
    try:
        value = _READERS[kind](text)
    except (ValueError, KeyError):
        wanted = "list such as [rgb,lidar]" if kind is list else kind.__name__
        raise UserError(f"argument {name}: {text!r} is no {wanted}") from None
    if entry.low is not None and not entry.low <= value <= entry.high:
        raise UserError(f"argument {name}: {text} is outside {entry.low:g} to {entry.high:g}")
    if entry.choices and value not in entry.choices:
        raise UserError(f"argument {name}: {text!r} is not one of {', '.join(entry.choices)}")
    return value


def _words(text: str) -> list[str]:
    """``[a, b]``, ``['a', 'b']`` or ``a,b``; ValueError for none at all, which ROS cannot give a type."""
    words = [part.strip().strip("'\"") for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
    if not all(words):
        raise ValueError(text)
    return words


_READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: {"true": True, "false": False}[text.lower()],
    int: int,
    float: float,
    str: str,
    list: _words,
}
