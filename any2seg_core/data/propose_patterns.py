"""Which pattern of an unknown folder is which sensor of a suite, for `any2seg data init`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from any2seg_core.data.images import CorruptFileError, read_image
from any2seg_core.data.label_images import read_ids
from any2seg_core.data.tree_groups import FileGroup
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS, THERMAL16, Sensor

LABELS, COLOURS, THERMAL = "labels", "picture of classes", "thermal"

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_POINTS = (".bin", ".pcd", ".ply")
_EVENTS = (".h5", ".hdf5", ".raw", ".dat", ".aedat4")
_LABEL_WORDS = re.compile(r"label|semantic|annot|mask|(^|[/_])gt|seg|class|truth", re.IGNORECASE)
_DEPTH_WORDS = re.compile(r"depth|disp", re.IGNORECASE)
_THERMAL_WORDS = re.compile(r"thermal|flir|infra|lwir|(^|[/_])ir([/_]|$)", re.IGNORECASE)
_LIDAR_WORDS = re.compile(r"lidar|velo|laser|ouster|hesai|livox", re.IGNORECASE)
_RADAR_WORDS = re.compile(r"radar|(^|[/_])(ars|srr)", re.IGNORECASE)


@dataclass
class Finding:
    """A pattern of the folder. use: name of the sensor, or labels; "" where it is not used; frames: of them."""

    pattern: str
    files: int
    kind: str
    use: str = ""
    frames: int = 0


def kind_of(group: FileGroup) -> str:
    """image, labels, depth, thermal, points, events, or what the files are otherwise."""
    text, first = group.pattern.text, group.files[0]
    if group.suffix in _EVENTS:
        return EVENTS
    if group.suffix in _POINTS:
        return "point labels" if _LABEL_WORDS.search(text) else POINTS
    if group.suffix == ".label":
        return "point labels"
    if group.suffix in (".npy", ".npz"):
        return DEPTH if _DEPTH_WORDS.search(text) else "array"
    if group.suffix not in _PICTURES:
        return group.suffix.removeprefix(".") or "file"
    try:
        image = read_image(first, (np.uint8, np.uint16))
    except CorruptFileError:
        return "unreadable picture"
    if image.dtype == np.uint16:
        return "16-bit labels" if _LABEL_WORDS.search(text) else THERMAL if _THERMAL_WORDS.search(text) else DEPTH
    if group.suffix == ".png" and _LABEL_WORDS.search(text):
        try:
            read_ids(first)
        except CorruptFileError:
            return COLOURS
        return LABELS
    return IMAGE


def camera_of(groups: Sequence[FileGroup], kinds: Sequence[str], suite: SensorSuite) -> int | None:
    """Place of the pattern of the camera: of pictures, the first one that has its name, else the first one."""
    pictures = [place for place, kind in enumerate(kinds) if kind == IMAGE]
    camera = suite.sensor(suite.camera)
    return next((place for place in pictures if _is_named(groups[place], camera)), next(iter(pictures), None))


def choose_patterns(
    findings: Mapping[FileGroup, Finding], camera: FileGroup, suite: SensorSuite, notes: list[str]
) -> None:
    """Give patterns their sensors, in `findings`: those with the name of a sensor first, then the first of its kind.

    Only patterns with frames of the camera count. What a user has to decide goes to `notes`.
    """
    names = camera.pattern.names
    keys = camera.keys(names)
    shared: dict[FileGroup, int] = {}
    for group in findings:
        own = group.pattern.names
        if group is not camera and set(own) <= set(names):
            shared[group] = len(group.keys(own) & camera.keys(own))
    findings[camera].use, findings[camera].frames = suite.camera, len(keys)
    open_sensors = [sensor for sensor in suite.sensors if sensor.name != suite.camera]
    for is_named in (True, False):
        for sensor in list(open_sensors):
            for group, frames in shared.items():
                found = findings[group]
                if found.use or not frames or found.kind not in _kinds(sensor) or _is_other(group, sensor):
                    continue
                if is_named <= _is_named(group, sensor):
                    found.use, found.frames = sensor.name, frames
                    open_sensors.remove(sensor)
                    break
    wanted = LABELS if any(found.kind == LABELS for found in findings.values()) else COLOURS
    for group, frames in shared.items():
        if findings[group].kind == wanted and frames:
            findings[group].use, findings[group].frames = LABELS, frames
            break
    told = {IMAGE: "a further camera", THERMAL: "a thermal camera", POINTS: "a further LiDAR or a radar"}
    for group, frames in shared.items():
        found = findings[group]
        if not found.use and frames and found.kind in told:
            way_out = "needs a sensor of its own in a suite: --suite my-van.yaml (docs/sensors.md)"
            notes.append(f"{found.pattern}: {told[found.kind]} {way_out}")
        elif not frames and found.kind in (IMAGE, THERMAL, DEPTH, EVENTS, POINTS, LABELS):
            notes.append(f"{found.pattern}: no frame of it is one of {camera.pattern.text}")
    if suite.name != "vehicle":
        notes += [f"sensors.{sensor.name}: no files of it were found" for sensor in open_sensors]


def _kinds(sensor: Sensor) -> tuple[str, ...]:
    """Kinds of files that can be of a sensor."""
    if sensor.kind == IMAGE:
        return (THERMAL, DEPTH) if sensor.format == THERMAL16 else (IMAGE,)
    return (sensor.kind,)


def _is_named(group: FileGroup, sensor: Sensor) -> bool:
    """Whether a pattern has the name of a sensor, of its folder or, of points and thermal pictures, of its kind."""
    text = group.pattern.text.lower()
    if any(word.lower() in text for word in (sensor.name, sensor.folder)):
        return True
    if sensor.kind == POINTS:
        return (_RADAR_WORDS if _is_radar(sensor) else _LIDAR_WORDS).search(text) is not None
    return sensor.format == THERMAL16 and _THERMAL_WORDS.search(text) is not None


def _is_other(group: FileGroup, sensor: Sensor) -> bool:
    """Whether a cloud is of a radar and the sensor is none, or the other way round."""
    other = _LIDAR_WORDS if _is_radar(sensor) else _RADAR_WORDS
    return sensor.kind == POINTS and not _is_named(group, sensor) and other.search(group.pattern.text) is not None


def _is_radar(sensor: Sensor) -> bool:
    return sensor.kind == POINTS and sensor.value_range is not None
