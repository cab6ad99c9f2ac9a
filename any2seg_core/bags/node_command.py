"""The command that starts the node on the topics of a recording, and the one that plays the recording to it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from any2seg_core.bags.calibration import BagCalibration
from any2seg_core.bags.topics import COMPRESSED_KIND
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_core.vocabulary.sensor import DEPTH, IMAGE
from any2seg_core.vocabulary.topics import TopicMap, node_camera_infos, node_input

EXECUTABLE = "any2seg-segment-node"
_TRANSPORTS = {IMAGE: "compressed", DEPTH: "compressedDepth"}
_FILE = "calibration.yaml"
_CHECKPOINT = "CHECKPOINT.safetensors"


def node_parameters(kinds: dict[str, str], topics: TopicMap, calibration: BagCalibration) -> dict[str, Any]:
    """Parameters without which the node does not read these topics, or reads them wrongly; no file among them.

    Args:
        kinds: topic -> message type.
    """
    parameters: dict[str, Any] = {}
    for sensor in topics.suite.sensors:
        if sensor.kind in _TRANSPORTS and kinds.get(topics.streams.get(sensor.name, "")) == COMPRESSED_KIND:
            parameters[f"{node_input(topics.suite, sensor.name)}_transport"] = _TRANSPORTS[sensor.kind]
    if calibration.looks_rectified:
        parameters["rectified"] = True
    return parameters


def node_command(
    parameters: dict[str, Any],
    topics: TopicMap,
    calibration: BagCalibration,
    bag: Path,
    fixed: Sequence[str] = (),
    suite: str = "",
) -> list[str]:
    """Lines of one shell command, each ready to paste: without a checkpoint, for which the node has a default.

    Other sensors than the vehicle's need a checkpoint of their suite: it has a place in the command.
    Names with ``~`` are quoted: a shell would put the home folder in its place. Intrinsics of a file that the user gave
    hold: the node does not hear the recorded ones then. Static transforms of the recording come as a file first: a node
    from pip wheels hears none.

    Args:
        bag: the recording. fixed: topics that the user gave. suite: the same, name or file of a sensor suite.
    """
    given = [f"{name}:={_text(value)}" for name, value in parameters.items()]
    needs_file = calibration.file is None and calibration.extrinsics is not None and calibration.extrinsics.fixed
    if topics.suite != VEHICLE:
        given.insert(0, f"checkpoint:={_CHECKPOINT}")
    before = []
    if needs_file:
        own = [*_topic_options(fixed), *_suite_option(suite)]
        make_file = ["any2seg", "calib", "from-bag", str(bag.resolve()), _FILE, *own]
        before = [f"{shlex.join(make_file)} &&"]
    if needs_file or calibration.file is not None:
        given.append(f"calibration_file:={_FILE if calibration.file is None else calibration.file.resolve()}")
    pairs = topics.node_remappings()
    if calibration.is_final:
        infos = node_camera_infos(topics.suite).values()
        pairs = {name: topic for name, topic in pairs.items() if name.rpartition("/")[2] not in infos}
    words = [f"-p {shlex.quote(text)}" for text in given]
    words += [f"-r {shlex.quote(f'{private}:={topic}')}" for private, topic in pairs.items()]
    return _continued([*before, f"{EXECUTABLE} --ros-args", *words])


def replay_command(bag: Path, fixed: Sequence[str] = (), rules: Path | None = None, suite: str = "") -> str:
    """One line; it waits for the node."""
    own = [*([] if rules is None else ["--rules", str(rules.resolve())]), *_suite_option(suite)]
    return shlex.join(["any2seg", "bag", "replay", str(bag.resolve()), "--wait", "60", *_topic_options(fixed), *own])


def _suite_option(suite: str) -> list[str]:
    return ["--suite", str(Path(suite).resolve()) if Path(suite).is_file() else suite] if suite else []


def _topic_options(fixed: Sequence[str]) -> list[str]:
    return [word for pair in fixed for word in ("--topic", pair)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _continued(lines: list[str]) -> list[str]:
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]
