"""What the launch files need beyond `launch` itself: arguments made from the tables, and their values read back.

Plain Python, so that it is tested where `launch` is not installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.home import expanded_text
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.runtime.checkpoint_metadata import read_contract
from any2seg_core.sync.parameters import load_params_file
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.topics import TopicMap, node_input
from any2seg_core.vocabulary.truth_codings import CODINGS
from any2seg_ros.parameter_table import Parameter, parameter_table, sensors_of
from any2seg_ros.topic_table import input_topics

CAMERA = "{camera}"
"""Stands for the name of the camera in topics and file names of a launch file."""
ONLY_CAMERA = "front"
"""What it stands for when no cameras are listed."""
REPORT_S = "20"
"""Longest wait for the report of the judge after Ctrl-C."""
UNSET = ""
"""Value of an argument that leaves the parameter to params_file."""


@dataclass(frozen=True)
class Argument:
    """One launch argument. An empty `choices` accepts everything."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    def declaration(self) -> dict[str, Any]:
        """What `DeclareLaunchArgument` takes."""
        choices = {"choices": list(self.choices)} if self.choices else {}
        return {"name": self.name, "default_value": self.default, "description": self.description, **choices}


def suite_of(values: Mapping[str, str], camera: str) -> SensorSuite:
    """Sensors of the checkpoint that the node of a camera is given, as argument or in its parameter file.

    Where it cannot be read those of the vehicle: the node says then what is wrong with it.
    """
    checkpoint = values.get("checkpoint", UNSET)
    try:
        if checkpoint == UNSET and values.get("params_file"):
            checkpoint = str(load_params_file(Path(expanded_text(values["params_file"]))).get("checkpoint", UNSET))
        return read_contract(expanded_text(for_camera(checkpoint, camera)) or default_checkpoint()).suite
    except UserError:
        return VEHICLE


def parameter_arguments(suite: SensorSuite = VEHICLE) -> list[Argument]:
    """One argument per parameter of the node, empty by default: then params_file or the node's own default holds."""
    return [Argument(name, UNSET, _describe(entry), _choices(entry)) for name, entry in parameter_table(suite).items()]


def topic_arguments(topics: TopicMap) -> list[Argument]:
    """One argument per input, such as image_topic for ``~/in/image``; the defaults are the topics of a robot."""
    targets = topics.node_remappings()
    return [
        Argument(topic_argument(topic.name), targets.get(topic.name, topic.name), f"Topic for {topic.name}.")
        for topic in input_topics(topics.suite)
    ]


def further_arguments(values: Mapping[str, str]) -> list[Argument]:
    """Those for sensors that only the checkpoint names: their topics, by default as its suite says, and parameters."""
    found: dict[str, Argument] = {}
    for camera in places(values):
        suite = suite_of(values, camera)
        topics = TopicMap(topics_of(suite), {}, suite=suite)
        for argument in (*topic_arguments(topics), *parameter_arguments(suite)):
            found.setdefault(argument.name, argument)
    known = {argument.name for argument in (*topic_arguments(TopicMap({}, {})), *parameter_arguments())}
    return [argument for name, argument in found.items() if name not in known]


def topics_of(suite: SensorSuite) -> dict[str, str]:
    """Sensor -> topic, where the suite says one."""
    return {sensor.name: sensor.topic for sensor in suite.sensors if sensor.topic}


def own_topics(values: Mapping[str, str]) -> dict[str, str]:
    """Topic argument -> topic that the suite of the checkpoint says, for those that nobody has given."""
    found: dict[str, str] = {}
    for camera in places(values):
        suite = suite_of(values, camera)
        for name, topic in topics_of(suite).items():
            found.setdefault(topic_argument(node_input(suite, name)), topic)
    return {argument: topic for argument, topic in found.items() if argument not in values}


def topic_argument(private: str) -> str:
    """``~/in/camera_info`` -> ``camera_info_topic``."""
    return private.rpartition("/")[2] + "_topic"


def remappings(values: Mapping[str, str], camera: str) -> list[tuple[str, str]]:
    """(private name, topic) of every input, from the values of `topic_arguments`."""
    topics = input_topics(suite_of(values, camera))
    return [(topic.name, for_camera(values[topic_argument(topic.name)], camera)) for topic in topics]


def given_parameters(values: Mapping[str, str], camera: str) -> dict[str, Any]:
    """Parameters whose argument is set, with the type of the table; UserError names the argument that does not fit."""
    suite = suite_of(values, camera)
    table = parameter_table(suite)
    given = {name: values[name] for name in table if values.get(name, UNSET) != UNSET}
    return {name: _parse(name, for_camera(text, camera), table[name], suite) for name, text in given.items()}


def parameter_file(values: Mapping[str, str], shipped: str) -> list[str]:
    """The file for the nodes' parameters, if any.

    The shipped one holds the defaults of the vehicle's sensors: for others it would only name what is not there.
    """
    file = expanded_text(values["params_file"])
    is_vehicle = all(suite_of(values, camera) == VEHICLE for camera in places(values))
    return [file] if file != shipped or is_vehicle else []


def camera_names(text: str) -> tuple[str, ...]:
    """``"front,left"`` -> their names, nothing for an empty text; UserError for what no node's name can hold."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if not (name.isidentifier() and name.isascii()):
            raise UserError(
                f"argument cameras: {name!r} cannot name a node: letters, digits and _, no digit first", "value-format"
            )
    if len(set(names)) < len(names):
        raise UserError(f"argument cameras: {text!r} lists a camera twice", "value-twice")
    return names


def places(values: Mapping[str, str]) -> tuple[str, ...]:
    """What `{camera}` stands for in each node."""
    return camera_names(values.get("cameras", "")) or (ONLY_CAMERA,)


def check_distinct(cameras: Iterable[str], values: Mapping[str, str]) -> None:
    """UserError when several cameras would all listen to one image topic."""
    arguments = {camera: _image_topic(suite_of(values, camera)) for camera in cameras}
    topics = {camera: for_camera(values[argument], camera) for camera, argument in arguments.items()}
    if len(set(topics.values())) < len(topics):
        argument = next(iter(arguments.values()))
        raise UserError(
            f"argument {argument}: {values[argument]!r} is the same for {', '.join(topics)}: "
            f"write {CAMERA} where the camera's name belongs, /robot/{CAMERA}/image",
            "value-twice",
        )


def _image_topic(suite: SensorSuite) -> str:
    return topic_argument(node_input(suite, suite.camera))


def node_name(camera: str) -> str:
    """``segment``, or ``segment_front`` for a camera of several."""
    return f"segment_{camera}" if camera else "segment"


def score_arguments(truth_topic: str, coding: str, carla_version: str, score: str) -> list[Argument]:
    """Arguments of the judge; `score`: whether it runs by default."""
    return [
        Argument("score", score, "Judge the labels against the truth.", ("true", "false")),
        Argument("score_file", "", "JSON for the figures; empty: only the table at the end."),
        Argument("truth_topic", truth_topic, "Topic of the truth."),
        Argument("truth_coding", coding, "What truth images hold.", CODINGS),
        Argument("carla_version", carla_version, "Which list of tags CARLA's truth has, such as 0.9.13."),
        Argument("rider", "ignore", "Class of CARLA's riders.", ("ignore", "Pedestrian", "TwoWheeler")),
    ]


def score_nodes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Options of the node that judges each segmentation node; empty without `score`."""
    if values["score"] != "true":
        return []
    return [_score_node(values, camera) for camera in camera_names(values["cameras"]) or ("",)]


def _score_node(values: Mapping[str, str], camera: str) -> dict[str, Any]:
    place, judged = camera or ONLY_CAMERA, node_name(camera)
    parameters = {name: values[name] for name in ("checkpoint", "truth_coding", "carla_version", "rider")}
    return {
        "package": "any2seg_ros",
        "executable": "score_node",
        "name": f"score_{camera}" if camera else "score",
        "namespace": values["namespace"],
        "output": "screen",
        "sigterm_timeout": REPORT_S,
        "parameters": [parameters | {"out": for_camera(values["score_file"], place)}],
        "remappings": [
            ("~/in/label", f"{judged}/out/label"),
            ("~/in/modalities", f"{judged}/out/modalities"),
            ("~/in/truth", for_camera(values["truth_topic"], place)),
        ],
    }


def remappings_of_cameras(values: Mapping[str, str], cameras: Iterable[str]) -> list[str]:
    """ROS arguments of a process with several nodes: the inputs of each."""
    pairs = [(node_name(camera), *pair) for camera in cameras for pair in remappings(values, camera)]
    return [text for node, private, topic in pairs for text in ("-r", f"{node}:{private}:={topic}")]


def parameters_of_cameras(values: Mapping[str, str], cameras: Iterable[str]) -> str:
    """Content of a parameter file for several nodes; a file, because files win over parameters of the command line."""
    given = {camera: given_parameters(values, camera) for camera in cameras}
    base = "/".join(("", *filter(None, values["namespace"].split("/"))))
    nodes = {f"{base}/{node_name(camera)}": {"ros__parameters": own} for camera, own in given.items() if own}
    return json.dumps(nodes, indent=2)  # JSON is YAML


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


def _parse(name: str, text: str, entry: Parameter, suite: SensorSuite) -> Any:
    kind = type(entry.default)
    if kind is list:
        return _sensors(name, text, entry, suite)
    try:
        value = _READERS[kind](text)
    except (ValueError, KeyError):
        raise UserError(f"argument {name}: {text!r} is no {kind.__name__}", "value-type") from None
    if entry.low is not None and not entry.low <= value <= entry.high:
        raise UserError(f"argument {name}: {text} is outside {entry.low:g} to {entry.high:g}", "value-range")
    if entry.choices and value not in entry.choices:
        raise UserError(f"argument {name}: {text!r} is not one of {', '.join(entry.choices)}", "value-unknown")
    return value


def _sensors(name: str, text: str, entry: Parameter, suite: SensorSuite) -> list[str]:
    """``[rgb, lidar]``, ``['rgb', 'lidar']`` as in YAML, ``rgb,lidar``, ``rgb+lidar``; not empty: ROS needs a type."""
    text = text.strip()
    is_list = text.startswith("[") and text.endswith("]")
    value = [part.strip().strip("'\"") for part in text[1:-1].split(",")] if is_list else text
    try:
        return sensors_of(entry, value, suite)
    except UserError as error:
        raise UserError(f"argument {name}: {error}", error.code) from None


_READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: {"true": True, "false": False}[text.lower()],
    int: int,
    float: float,
    str: str,
}
