"""Calibration of a recording: a file, or camera_info and transforms of the whole bag; what is missing is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.bags.extrinsics import RecordedExtrinsics
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.recorded_transforms import (
    FoundExtrinsics,
    find_extrinsics,
    read_transforms,
    share_in_view,
    why_not_optical,
)
from any2seg_core.bags.topics import CLOUD_KIND, COMPRESSED_KIND, Peek, TopicChoice
from any2seg_core.base.errors import UserError
from any2seg_core.messages.readers import StreamReader
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.sensors.calibration import Calibration, load_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.camera_info import UNNAMED_FRAME
from any2seg_core.sensors.places import SensorPlace, place_keys
from any2seg_core.sensors.rectified import rectified_note
from any2seg_core.sensors.rig import same_view
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, POINTS, Sensor

_FILE_IN_BAG = "calibration.yaml"
_TRIES = 5  # a recording may begin with a broken message


@dataclass(frozen=True)
class BagCalibration:
    """What is known about the geometry of a recording.

    Attributes:
        calibration: None when there is not even a camera plane.
        source: where it came from, in words; "" if there is none.
        is_final: the user's own file: what the bag says about cameras is not used.
        found: part of the calibration -> where it was found. missing: what is not there and what that costs.
        unusable: sensors of which nothing can be used with it: no camera plane or no transform to it is known, or their
            pictures have another shape.
        extrinsics: what transforms of the recording give; of sensors that move the calibration holds one moment,
            `frames` none. None: there are no transforms, or a file wins over them.
        notes: what else a user should know, one line each.
        file: that it was read from, if any. looks_rectified: the camera's pictures seem to be rectified, and were not
            said to be. suite: the sensors there can be.
    """

    calibration: Calibration | None
    source: str = ""
    is_final: bool = False
    found: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    extrinsics: RecordedExtrinsics | None = None
    notes: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    file: Path | None = None
    looks_rectified: bool = False
    suite: SensorSuite = VEHICLE

    def frames(self, event_window_ns: int, options: InputOptions | None = None) -> FrameBuilder:
        """A builder of planes that starts with what is fixed in this calibration."""
        fixed = None if self.calibration is None else self.fixed_part(self.calibration)
        return FrameBuilder(fixed, event_window_ns, options, self.suite)

    def fixed_part(self, calibration: Calibration) -> Calibration:
        """A calibration of this recording without the transforms that hold for one moment only."""
        if self.extrinsics is None:
            return calibration
        for name in self.extrinsics.names:
            unknown = replace(calibration.place(name, self.suite), to_camera=None, frame=None)
            calibration = calibration.with_place(name, unknown, self.suite)
        return calibration

    def usable(self, modalities: Sequence[str], must_have: Sequence[str] = ()) -> tuple[str, ...]:
        """Those of some sensors that can be brought to the camera plane.

        Args:
            must_have: those of them that somebody has asked for by name.

        Raises:
            UserError: none of them, or one of `must_have` cannot be; it says why.
        """
        lacking = [name for name in modalities if name in self.unusable]
        left = tuple(name for name in modalities if name not in lacking)
        if left and not set(lacking) & set(must_have):
            return left
        if self.calibration is None:
            raise UserError(
                f"no calibration: {'; '.join(self.missing)}: give --calibration FILE.yaml with the camera and "
                f"{' and '.join(_poses_of_clouds(self.suite))} (its format: docs/calibration.md)",
                "calibration-missing",
            )
        raise UserError(
            f"{', '.join(lacking)} cannot be used: {'; '.join(self.missing)}: record what is missing, or give "
            "--calibration FILE.yaml with it",
            "transform-unknown" if set(self.suite.of_kind(POINTS)) & set(lacking) else "calibration-size",
        )


def find_calibration(
    bag: Recording, choice: TopicChoice, file: Path | None = None, rectified: bool = False
) -> BagCalibration:
    """Calibration of a bag.

    In this order: the file given; ``calibration.yaml`` in the bag's folder, with the intrinsics of the recorded
    camera_info where there are some (as the node does); camera_info and /tf_static, /tf of the whole bag, so that
    latched messages count wherever they stand.

    Args:
        file: that the user gave. rectified: images are rectified, as the node's parameter.

    Raises:
        UserError: the file that was given, or the one in the folder, is wrong.
    """
    found = replace(_calibration_of(bag, choice, file, rectified), suite=choice.map.suite)
    return found if found.calibration is None else _with_views(found, found.calibration, bag, choice)


def _poses_of_clouds(suite: SensorSuite) -> list[str]:
    """Keys that a calibration file needs where there are clouds."""
    return [place_keys(name, suite).to_camera for name in suite.of_kind(POINTS)] or ["the poses of the others"]


def _calibration_of(bag: Recording, choice: TopicChoice, file: Path | None, rectified: bool) -> BagCalibration:
    suite = choice.map.suite
    if file is not None:
        calibration = load_calibration(file)
        found = dict.fromkeys(_parts(calibration, suite), file.name)
        missing = _missing(calibration, choice, {})
        return BagCalibration(calibration, f"{file.name} (given)", True, found, missing, file=file)
    cameras, complaints, told = _first_cameras(bag, choice, rectified)
    notes = tuple(f"{name}: {note}" for name, note in told.items() if note)
    looks_rectified = not rectified and bool(told.get(suite.camera))
    inside = bag.path / _FILE_IN_BAG if bag.path.is_dir() else bag.path.parent / _FILE_IN_BAG
    if inside.is_file():
        calibration = load_calibration(inside)
        found = dict.fromkeys(_parts(calibration, suite), inside.name)
        for name, camera in cameras.items():
            place = replace(calibration.place(name, suite), camera=camera)
            calibration = calibration.with_place(name, place, suite)
            found[place_keys(name, suite).camera] = choice.map.camera_infos[name]
        source = f"{_FILE_IN_BAG} of the recording" + (" and its camera_info" if cameras else "")
        missing = _missing(calibration, choice, complaints)
        return BagCalibration(
            calibration, source, False, found, missing, notes=notes, file=inside, looks_rectified=looks_rectified
        )
    recorded = _from_messages(bag, choice, cameras, complaints)
    return replace(recorded, notes=(*notes, *recorded.notes), looks_rectified=looks_rectified)


def _from_messages(
    bag: Recording, choice: TopicChoice, cameras: Mapping[str, CameraModel], complaints: Mapping[str, str]
) -> BagCalibration:
    streams, suite = choice.map.streams, choice.map.suite
    if suite.camera not in cameras:
        return _without_camera(choice, complaints.get(suite.camera, ""))
    found = {place_keys(name, suite).camera: choice.map.camera_infos[name] for name in cameras}
    frames = _frames_of(choice, cameras)
    recorded = read_transforms(bag, list(streams.values()))
    problems, notes = dict(complaints), list(recorded.notes)
    places = {name: SensorPlace(camera) for name, camera in cameras.items()}
    moving: list[str] = []
    fixed: list[str] = []
    for name in suite.members:
        has_pixels = suite.sensor(name).kind != POINTS
        if name == suite.camera or name not in streams or (frames[name] == frames[suite.camera] and has_pixels):
            continue
        got = find_extrinsics(recorded, name, frames[suite.camera], frames[name], bag.start_ns or 0)
        if got.to_camera is not None or not got.is_fixed:
            (fixed if got.is_fixed else moving).append(name)
        part = place_keys(name, suite).to_camera
        if got.to_camera is not None:
            found[part] = got.words
            frame = frames[name] if name in fixed and not has_pixels else None
            places[name] = replace(places.get(name, SensorPlace()), to_camera=got.to_camera, frame=frame)
            problem = _why_not_optical(bag, choice, name, got, cameras[suite.camera], frames)
        else:
            problem = f"{got.problem}{_cost(name, suite)}"
        if problem:
            problems[part] = problem
        notes += [got.note] if got.note else []
    calibration = Calibration(cameras[suite.camera])
    for name, place in places.items():
        calibration = calibration.with_place(name, place, suite)
    has_poses = any(place.to_camera is not None for place in places.values())
    source = "camera_info" + (" and tf" if has_poses else "") + " of the recording"
    missing = _missing(calibration, choice, problems)
    by_transforms = RecordedExtrinsics(tuple(moving), tuple(fixed), recorded.topics, recorded.static, suite=suite)
    return BagCalibration(calibration, source, False, found, missing, by_transforms, tuple(notes))


def _without_camera(choice: TopicChoice, complaint: str) -> BagCalibration:
    """Without intrinsics of the camera there is no plane: its own pictures alone can be used."""
    streams, suite = choice.map.streams, choice.map.suite
    has_camera = suite.camera in streams
    problem = f"no camera_info of {_camera_of(suite)} in the bag" if has_camera else "no camera in the bag"
    others = tuple(name for name in suite.members if name in streams and name != suite.camera)
    cost = f": {', '.join(others)} cannot be used" if has_camera and others else ""
    return BagCalibration(None, missing=(f"{complaint or problem}{cost}",), unusable=others)


def _camera_of(suite: SensorSuite) -> str:
    title = suite.sensor(suite.camera).title
    return "the colour camera" if title == "camera" else f"the {title}"


def _cost(name: str, suite: SensorSuite) -> str:
    """What it costs that nobody says where a sensor is."""
    sensor = suite.sensor(name)
    return f": {sensor.title} cannot be used" if sensor.kind == POINTS else f": taken as mounted at {_camera_of(suite)}"


def _why_not_optical(
    bag: Recording, choice: TopicChoice, name: str, got: FoundExtrinsics, camera: CameraModel, frames: Mapping[str, str]
) -> str:
    points = None

    def in_view(to_camera: np.ndarray) -> float | None:
        nonlocal points
        points = _first_scan(bag, choice, name) if points is None else points
        return share_in_view(points[:, :3], to_camera, camera) if len(points) else None

    assert got.to_camera is not None  # its caller has looked
    suite = choice.map.suite
    has_pixels = suite.sensor(name).kind != POINTS
    return why_not_optical(got.to_camera, frames[suite.camera], frames[name], has_pixels, in_view)


def _first_scan(bag: Recording, choice: TopicChoice, name: str) -> np.ndarray:
    """(N, 4) points of the first cloud of a sensor that can be read and has some."""
    reader = StreamReader(suite=choice.map.suite)
    for message in islice(bag.messages([choice.map.streams[name]]), _TRIES):
        with suppress(UserError):
            points = reader.read(name, message.value)
            if len(points):
                return points
    return np.empty((0, 4), np.float32)


def _parts(calibration: Calibration, suite: SensorSuite) -> list[str]:
    """Keys of a calibration that say something of the sensors of a suite."""
    known: list[tuple[str, Any]] = []
    for name in (suite.camera, *(name for name in suite.members if name != suite.camera)):
        keys, place = place_keys(name, suite), calibration.place(name, suite)
        known += [(keys.camera, place.camera), (keys.to_camera, place.to_camera)]
    return [key for key, value in known if value is not None]


def _missing(calibration: Calibration, choice: TopicChoice, problems: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each thing that the mapped sensors need or would profit from."""
    streams, suite = choice.map.streams, choice.map.suite
    parts = {place_keys(name, suite).to_camera: name for name in suite.members}
    lines = [f"{name}: {why}" for name, why in problems.items() if name in streams]
    lines += [why for part, why in problems.items() if part in parts]
    for part, name in parts.items():
        is_needed = name in streams and suite.sensor(name).kind == POINTS and part not in problems
        if is_needed and calibration.place(name, suite).to_camera is None:
            lines.append(f"{part} is not known{_cost(name, suite)}")
    return tuple(lines)


def _with_views(
    found: BagCalibration, calibration: Calibration, bag: Recording, choice: TopicChoice
) -> BagCalibration:
    """Adds what is to be said of cameras without intrinsics, and of pictures of another shape or frame than these."""
    lines, unusable = [], []
    suite = choice.map.suite
    for sensor in suite.sensors:
        name, kind, place = sensor.name, sensor.kind, calibration.place(sensor.name, suite)
        if kind == POINTS:
            is_followed = found.extrinsics is not None and name in found.extrinsics.names
            unusable += [name] if name in choice.map.streams and place.to_camera is None and not is_followed else []
        else:
            camera, size = place.camera or calibration.camera, _size_of(bag, choice, name)
            title, is_own = _camera_title(sensor), name == suite.camera or place.camera is not None
            if size is not None and not same_view(size, camera):
                says = "its calibration says" if is_own else "the camera"
                lack = "with that calibration" if is_own else f"without a calibration of the {title}"
                what = "sensor is" if kind == EVENTS else "images are"
                they = "events" if kind == EVENTS else name
                lines.append(
                    f"{sensor.title} {what} {size[1]}x{size[0]}, {says} {camera.width}x{camera.height}: {they} cannot "
                    f"be used {lack}"
                )
                unusable.append(name)
            elif not is_own and name in choice.map.streams:
                lines.append(f"no camera_info of the {title}: {_camera_of(suite)}'s is taken")
            frame = choice.peeks.get(choice.map.streams.get(name, ""), Peek()).frame_id
            known = camera.frame_id.lstrip("/")
            if is_own and frame and known not in (frame, UNNAMED_FRAME):
                lines.append(
                    f"{name}: frame_id of its messages is {frame!r}, that of its intrinsics {known!r}: they are "
                    "refused unless check_frames is false"
                )
    return replace(found, missing=(*found.missing, *lines), unusable=tuple(unusable))


def _camera_title(sensor: Sensor) -> str:
    return sensor.title if "camera" in sensor.title.casefold() else f"{sensor.title} camera"


def _first_cameras(
    bag: Recording, choice: TopicChoice, rectified: bool
) -> tuple[dict[str, CameraModel], dict[str, str], dict[str, str]]:
    """Sensor -> intrinsics of its first good camera_info, why there is none, and what to tell of it ("": nothing)."""
    cameras: dict[str, CameraModel] = {}
    complaints: dict[str, str] = {}
    notes: dict[str, str] = {}
    infos = choice.map.camera_infos
    for message in bag.messages(set(infos.values())) if infos else ():
        for name, topic in infos.items():
            if topic == message.topic and name not in cameras:
                try:
                    info = message.value
                    size = None if info.width and info.height else _size_of(bag, choice, name)
                    cameras[name] = CameraModel.from_camera_info(info, rectified, size)
                    notes[name] = rectified_note(choice.map.streams.get(name, ""), info, rectified)
                except UserError as error:
                    complaints[name] = str(error)
        if len(cameras) == len(infos):
            break
    complaints = {name: why for name, why in complaints.items() if name not in cameras}
    return cameras, complaints, notes


def _size_of(bag: Recording, choice: TopicChoice, name: str) -> tuple[int, int] | None:
    """(H, W) of the images of a sensor, for a camera_info that does not say it; None where no image says it either."""
    topic = choice.map.streams.get(name, "")
    peek = choice.peeks.get(topic, Peek())
    if not topic or bag.topics[topic].kind == CLOUD_KIND:  # its width and height count points
        return None
    if peek.width and peek.height:
        return peek.height, peek.width
    if bag.topics[topic].kind != COMPRESSED_KIND:
        return None
    suite = choice.map.suite
    is_events = suite.sensor(name).kind == EVENTS  # pictures of events are in colour
    reader = StreamReader() if is_events else StreamReader(suite=suite)
    for message in islice(bag.messages([topic]), _TRIES):
        with suppress(UserError):
            return reader.read(VEHICLE.camera if is_events else name, message.value).shape[:2]
    return None


def _frames_of(choice: TopicChoice, cameras: Mapping[str, CameraModel]) -> dict[str, str]:
    """Sensor -> coordinate frame: that of the measurements, else of the camera_info."""
    frames = {}
    for name in choice.map.suite.members:
        peek = choice.peeks.get(choice.map.streams.get(name, ""), Peek())
        frames[name] = peek.frame_id or (cameras[name].frame_id.lstrip("/") if name in cameras else "")
    return frames
