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
from any2seg_core.sensors.calibration import CAMERA_FIELDS, EXTRINSICS_FIELDS, Calibration, load_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rectified import rectified_note
from any2seg_core.sensors.rig import same_view
from any2seg_core.vocabulary.modalities import DEPTH, EVENT, LIDAR, MODALITIES, RGB

_FILE_IN_BAG = "calibration.yaml"
_TRIES = 5  # a recording may begin with a broken message
_COSTS = {
    "depth": ": taken as mounted at the colour camera",
    "event": ": taken as mounted at the colour camera",
    "lidar": ": LiDAR cannot be used",
}


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
            said to be.
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

    def frames(self, event_window_ns: int, options: InputOptions | None = None) -> FrameBuilder:
        """A builder of planes that starts with what is fixed in this calibration."""
        fixed = None if self.calibration is None else self.fixed_part(self.calibration)
        return FrameBuilder(fixed, event_window_ns, options)

    def fixed_part(self, calibration: Calibration) -> Calibration:
        """A calibration of this recording without the transforms that hold for one moment only."""
        if self.extrinsics is None:
            return calibration
        moving = self.extrinsics.names
        frame = None if "lidar" in moving else calibration.lidar_frame
        unknown: dict[str, Any] = {EXTRINSICS_FIELDS[name]: None for name in moving}
        return replace(calibration, lidar_frame=frame, **unknown)

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
                "lidar_to_camera (its format: docs/calibration.md)",
                "calibration-missing",
            )
        raise UserError(
            f"{', '.join(lacking)} cannot be used: {'; '.join(self.missing)}: record what is missing, or give "
            "--calibration FILE.yaml with it",
            "transform-unknown" if LIDAR in lacking else "calibration-size",
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
    found = _calibration_of(bag, choice, file, rectified)
    return found if found.calibration is None else _with_views(found, found.calibration, bag, choice)


def _calibration_of(bag: Recording, choice: TopicChoice, file: Path | None, rectified: bool) -> BagCalibration:
    if file is not None:
        calibration = load_calibration(file)
        found = dict.fromkeys(_parts(calibration), file.name)
        missing = _missing(calibration, choice, {})
        return BagCalibration(calibration, f"{file.name} (given)", True, found, missing, file=file)
    cameras, complaints, told = _first_cameras(bag, choice, rectified)
    notes = tuple(f"{name}: {note}" for name, note in told.items() if note)
    looks_rectified = not rectified and bool(told.get(RGB))
    inside = bag.path / _FILE_IN_BAG if bag.path.is_dir() else bag.path.parent / _FILE_IN_BAG
    if inside.is_file():
        calibration = load_calibration(inside)
        found = dict.fromkeys(_parts(calibration), inside.name)
        own: dict[str, Any] = {CAMERA_FIELDS[name]: camera for name, camera in cameras.items()}
        calibration = replace(calibration, **own)
        found.update({CAMERA_FIELDS[name]: choice.map.camera_infos[name] for name in cameras})
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
    camera_name = RGB
    if camera_name not in cameras:
        has_camera = camera_name in choice.map.streams
        problem = "no camera_info of the colour camera in the bag" if has_camera else "no camera in the bag"
        problem = complaints.get(camera_name, problem)
        others = tuple(name for name in MODALITIES if name in choice.map.streams and name != camera_name)
        cost = f": {', '.join(others)} cannot be used" if has_camera and others else ""
        return BagCalibration(None, missing=(f"{problem}{cost}",), unusable=others)
    found = {CAMERA_FIELDS[name]: choice.map.camera_infos[name] for name in cameras}
    frames = _frames_of(choice, cameras)
    recorded = read_transforms(bag, list(choice.map.streams.values()))
    problems, notes = dict(complaints), list(recorded.notes)
    extrinsics: dict[str, np.ndarray] = {}
    moving: list[str] = []
    fixed: list[str] = []
    for name, part in EXTRINSICS_FIELDS.items():
        if name not in choice.map.streams or (frames[name] == frames[camera_name] and name in CAMERA_FIELDS):
            continue
        got = find_extrinsics(recorded, name, frames[camera_name], frames[name], bag.start_ns or 0)
        if got.to_camera is not None or not got.is_fixed:
            (fixed if got.is_fixed else moving).append(name)
        if got.to_camera is not None:
            extrinsics[part], found[part] = got.to_camera, got.words
            problem = _why_not_optical(bag, choice, name, got, cameras[camera_name], frames)
        else:
            problem = f"{got.problem}{_COSTS[name]}"
        if problem:
            problems[part] = problem
        notes += [got.note] if got.note else []
    parts: dict[str, Any] = {CAMERA_FIELDS[name]: camera for name, camera in cameras.items()} | extrinsics
    calibration = Calibration(**parts, lidar_frame=frames[LIDAR] if LIDAR in fixed else None)
    source = "camera_info" + (" and tf" if extrinsics else "") + " of the recording"
    missing = _missing(calibration, choice, problems)
    by_transforms = RecordedExtrinsics(tuple(moving), tuple(fixed), recorded.topics, recorded.static)
    return BagCalibration(calibration, source, False, found, missing, by_transforms, tuple(notes))


def _why_not_optical(
    bag: Recording, choice: TopicChoice, name: str, got: FoundExtrinsics, camera: CameraModel, frames: Mapping[str, str]
) -> str:
    points = None

    def in_view(to_camera: np.ndarray) -> float | None:
        nonlocal points
        points = _first_scan(bag, choice.map.streams[LIDAR]) if points is None else points
        return share_in_view(points[:, :3], to_camera, camera) if len(points) else None

    assert got.to_camera is not None  # its caller has looked
    return why_not_optical(got.to_camera, frames[RGB], frames[name], name in CAMERA_FIELDS, in_view)


def _first_scan(bag: Recording, topic: str) -> np.ndarray:
    """(N, 4) points of the first cloud that can be read and has some."""
    for message in islice(bag.messages([topic]), _TRIES):
        with suppress(UserError):
            points = StreamReader().read(LIDAR, message.value)
            if len(points):
                return points
    return np.empty((0, 4), np.float32)


def _parts(calibration: Calibration) -> list[str]:
    names = (*CAMERA_FIELDS.values(), *EXTRINSICS_FIELDS.values())
    return [name for name in names if getattr(calibration, name) is not None]


def _missing(calibration: Calibration, choice: TopicChoice, problems: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each thing that the mapped sensors need or would profit from."""
    lines = [f"{name}: {why}" for name, why in problems.items() if name in choice.map.streams]
    lines += [why for part, why in problems.items() if part in EXTRINSICS_FIELDS.values()]
    streams = choice.map.streams
    if "lidar" in streams and calibration.lidar_to_camera is None and "lidar_to_camera" not in problems:
        lines.append(f"lidar_to_camera is not known{_COSTS['lidar']}")
    return tuple(lines)


def _with_views(
    found: BagCalibration, calibration: Calibration, bag: Recording, choice: TopicChoice
) -> BagCalibration:
    """Adds what is to be said of cameras without intrinsics, and of pictures of another shape than the intrinsics."""
    lines, unusable = [], []
    for name, what, they in ((DEPTH, "depth images are", "depth"), (EVENT, "event sensor is", "events")):
        own = getattr(calibration, CAMERA_FIELDS[name])
        camera = own or calibration.camera
        size = _size_of(bag, choice, name)
        if size is not None and not same_view(size, camera):
            known = f"{'the camera' if own is None else 'its calibration says'} {camera.width}x{camera.height}"
            lack = f"without a calibration of the {name} camera" if own is None else "with that calibration"
            lines.append(f"{what} {size[1]}x{size[0]}, {known}: {they} cannot be used {lack}")
            unusable.append(name)
        elif own is None and name in choice.map.streams:
            lines.append(f"no camera_info of the {name} camera: the colour camera's is taken")
    is_followed = found.extrinsics is not None and LIDAR in found.extrinsics.names
    if LIDAR in choice.map.streams and calibration.lidar_to_camera is None and not is_followed:
        unusable.append(LIDAR)
    return replace(found, missing=(*found.missing, *lines), unusable=tuple(unusable))


def _first_cameras(
    bag: Recording, choice: TopicChoice, rectified: bool
) -> tuple[dict[str, CameraModel], dict[str, str], dict[str, str]]:
    """Modality -> intrinsics of its first good camera_info, why there is none, and what to tell of it ("": nothing)."""
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
    for message in islice(bag.messages([topic]), _TRIES):
        with suppress(UserError):
            return StreamReader().read(RGB if name == EVENT else name, message.value).shape[:2]  # pictures of events
    return None


def _frames_of(choice: TopicChoice, cameras: Mapping[str, CameraModel]) -> dict[str, str]:
    """Modality -> coordinate frame: that of the measurements, else of the camera_info."""
    frames = {}
    for name in MODALITIES:
        peek = choice.peeks.get(choice.map.streams.get(name, ""), Peek())
        frames[name] = peek.frame_id or (cameras[name].frame_id.lstrip("/") if name in cameras else "")
    return frames
