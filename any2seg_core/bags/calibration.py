"""Calibration of a recording: a file, or camera_info and transforms of the whole bag; what is missing is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.bags.extrinsics import RecordedExtrinsics, left_out_notes
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.topics import COMPRESSED_KIND, Peek, TopicChoice
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.messages.readers import StreamReader
from any2seg_core.messages.transforms import TransformTree
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.sensors.calibration import CAMERA_FIELDS, EXTRINSICS_FIELDS, Calibration, load_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rectified import rectified_note
from any2seg_core.sensors.rig import same_view
from any2seg_core.vocabulary.modalities import DEPTH, EVENT, MODALITIES, RGB

_TF_KINDS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_STATIC_TF = "/tf_static"
_FILE_IN_BAG = "calibration.yaml"
_MOVING_MESSAGES = 400
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
        unusable: sensors of which nothing can be used with it, because their pictures have another shape.
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
        return FrameBuilder(self.fixed_part(self.calibration), event_window_ns, options)

    def fixed_part(self, calibration: Calibration | None) -> Calibration | None:
        """A calibration of this recording without the transforms that hold for one moment only."""
        if calibration is None or self.extrinsics is None:
            return calibration
        moving = self.extrinsics.names
        frame = None if "lidar" in moving else calibration.lidar_frame
        return replace(calibration, lidar_frame=frame, **{EXTRINSICS_FIELDS[name]: None for name in moving})

    def require(self, topics: Mapping[str, str]) -> None:
        """UserError when the given sensors (modality -> topic) cannot be brought to a camera plane."""
        if self.calibration is None and tuple(topics) != (RGB,):
            raise UserError(
                f"no calibration: {'; '.join(self.missing)}: give --calibration FILE.yaml with the camera and "
                "lidar_to_camera (its format: any2seg_core/sensors/calibration.py)",
                "calibration-missing",
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
    return found if found.calibration is None else _with_views(found, bag, choice)


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
        calibration = replace(calibration, **{CAMERA_FIELDS[name]: camera for name, camera in cameras.items()})
        found.update({CAMERA_FIELDS[name]: choice.map.camera_infos[name] for name in cameras})
        source = f"{_FILE_IN_BAG} of the recording" + (" and its camera_info" if cameras else "")
        missing = _missing(calibration, choice, complaints)
        return BagCalibration(
            calibration, source, False, found, missing, notes=notes, file=inside, looks_rectified=looks_rectified
        )
    found = _from_messages(bag, choice, cameras, complaints)
    return replace(found, notes=(*notes, *found.notes), looks_rectified=looks_rectified)


def _from_messages(
    bag: Recording, choice: TopicChoice, cameras: Mapping[str, CameraModel], complaints: Mapping[str, str]
) -> BagCalibration:
    camera_name = RGB
    if camera_name not in cameras:
        has_camera = camera_name in choice.map.streams
        problem = "no camera_info of the colour camera in the bag" if has_camera else "no camera in the bag"
        problem = complaints.get(camera_name, problem)
        return BagCalibration(None, missing=(problem,))
    found = {CAMERA_FIELDS[name]: choice.map.camera_infos[name] for name in cameras}
    frames = _frames_of(choice, cameras)
    recorded = _read_transforms(bag)
    problems = dict(complaints)
    extrinsics: dict[str, np.ndarray] = {}
    moving: list[str] = []
    fixed: list[str] = []
    for name, part in EXTRINSICS_FIELDS.items():
        if name not in choice.map.streams or (frames[name] == frames[camera_name] and name in CAMERA_FIELDS):
            continue
        is_camera = name in CAMERA_FIELDS
        to_camera, is_fixed, problem = _extrinsics_of(recorded, frames[camera_name], frames[name], is_camera)
        if to_camera is not None:
            (fixed if is_fixed else moving).append(name)
            followed = "" if is_fixed else ", followed through /tf at each stamp"
            extrinsics[part], found[part] = to_camera, f"tf: {frames[name]} -> {frames[camera_name]}{followed}"
        if problem:
            cost = "" if to_camera is not None else _COSTS[name]
            problems[part] = f"{problem}{cost}"
    own = {CAMERA_FIELDS[name]: camera for name, camera in cameras.items()}
    calibration = Calibration(**own, **extrinsics, lidar_frame=frames["lidar"] if "lidar" in fixed else None)
    source = "camera_info" + (" and tf" if extrinsics else "") + " of the recording"
    missing = _missing(calibration, choice, problems)
    by_transforms = RecordedExtrinsics(tuple(moving), tuple(fixed), recorded.topics, recorded.static)
    return BagCalibration(calibration, source, False, found, missing, by_transforms, recorded.notes)


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


def _with_views(found: BagCalibration, bag: Recording, choice: TopicChoice) -> BagCalibration:
    """Adds what is to be said of cameras without intrinsics, and of pictures of another shape than the intrinsics."""
    lines, unusable = [], []
    for name, what, they in ((DEPTH, "depth images are", "depth"), (EVENT, "event sensor is", "events")):
        own = getattr(found.calibration, CAMERA_FIELDS[name])
        camera = own or found.calibration.camera
        size = _size_of(bag, choice, name)
        if size is not None and not same_view(size, camera):
            known = f"{'the camera' if own is None else 'its calibration says'} {camera.width}x{camera.height}"
            lack = f"without a calibration of the {name} camera" if own is None else "with that calibration"
            lines.append(f"{what} {size[1]}x{size[0]}, {known}: {they} cannot be used {lack}")
            unusable.append(name)
        elif own is None and name in choice.map.streams:
            lines.append(f"no camera_info of the {name} camera: the colour camera's is taken")
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
    if peek.width and peek.height:
        return peek.height, peek.width
    if not topic or bag.topics[topic].kind != COMPRESSED_KIND:
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


class _Transforms(NamedTuple):
    """Static messages, topics of moving ones, a tree of both (of the moving the first ones), times to ask it at, and
    what in them makes no sense."""

    static: tuple[Any, ...]
    topics: tuple[str, ...]
    tree: TransformTree
    fixed_tree: TransformTree
    stamps_ns: list[int]
    notes: tuple[str, ...]


def _read_transforms(bag: Recording) -> _Transforms:
    topics = {name: topic for name, topic in bag.topics.items() if topic.kind in _TF_KINDS and topic.count}
    static_topics = [name for name, topic in topics.items() if name.endswith(_STATIC_TF) or _is_latched(topic.qos)]
    moving_topics = [name for name in topics if name not in static_topics]
    static = tuple(_transforms(bag, static_topics))
    tree, fixed_tree, stamps_ns, complaints = TransformTree(), TransformTree(), set(), Counter()
    for message in static:
        complaints.update(tree.add_message(message, is_static=True))
        fixed_tree.add_message(message, is_static=True)
    for message in islice(_transforms(bag, moving_topics), _MOVING_MESSAGES):
        complaints.update(tree.add_message(message, is_static=False))
        stamps_ns.update(_stamp_ns(item) for item in message.transforms)
    notes = left_out_notes(complaints)
    return _Transforms(static, tuple(moving_topics), tree, fixed_tree, sorted(stamps_ns) or [0], notes)


def _transforms(bag: Recording, topics: Sequence[str]) -> Iterator[Any]:
    """Messages that can be read; of a damaged one the lookup says what is missing, if it was needed."""
    for message in bag.messages(topics) if topics else ():
        try:
            yield message.value
        except MessageError:
            continue


def _is_latched(qos: tuple) -> bool:
    return any(profile.durability == "transient_local" for profile in qos)


def _stamp_ns(item) -> int:
    return item.header.stamp.sec * 1_000_000_000 + item.header.stamp.nanosec


def _extrinsics_of(
    recorded: _Transforms, camera: str, sensor: str, is_camera: bool
) -> tuple[np.ndarray | None, bool, str]:
    """(sensor to camera, whether it never moves, complaint); of one that moves the middle of several moments."""
    if not sensor or not camera:
        missing = "sensor" if camera else "camera"
        return None, True, f"headers name no frame ({missing}), so no transform can be looked up"
    fixed = recorded.fixed_tree.lookup(camera, 0, sensor, 0)
    stamps_ns = recorded.stamps_ns
    times_ns = [stamps_ns[k] for k in sorted({0, len(stamps_ns) // 4, len(stamps_ns) // 2, len(stamps_ns) - 1})]
    candidates = [m for t in times_ns if (m := recorded.tree.lookup(camera, t, sensor, t)) is not None]
    to_camera = fixed if fixed is not None else candidates[len(candidates) // 2] if candidates else None
    if to_camera is None:
        return None, True, f"no transform from {sensor} to {camera} in /tf_static or /tf"
    return to_camera, fixed is not None, _why_not_optical(to_camera, camera, sensor, is_camera)


def _why_not_optical(to_camera: np.ndarray, camera: str, sensor: str, is_camera: bool) -> str:
    """What speaks against optical frames (z forward) of the camera, and of the other sensor where it is a camera too.

    Two optical frames that look the same way have the same z axis; that of a LiDAR points up, its x axis forward.
    """
    if is_camera:
        if abs(to_camera[2, 2]) >= 0.1 or max(to_camera[2, 0], to_camera[0, 2]) <= 0.9:
            return ""
        if to_camera[2, 0] > 0.9:
            return f"x of {sensor} looks along {camera}: is it an optical frame (REP 103)?"
        return f"{sensor} looks along x of {camera}: is {camera} an optical frame (REP 103)?"
    if abs(to_camera[2, 2]) <= 0.9 or camera == sensor:
        return ""
    return f"frame {camera} looks along the vertical of {sensor}: is it an optical frame (REP 103)?"
