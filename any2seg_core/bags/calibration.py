"""Calibration of a recording: a file, or camera_info and transforms of the whole bag; what is missing is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from any2seg_core.bags.reader import Bag
from any2seg_core.bags.topics import Peek, TopicChoice
from any2seg_core.errors import UserError
from any2seg_core.frames import FrameBuilder
from any2seg_core.modalities import MODALITIES
from any2seg_core.sensors.calibration import Calibration, load_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.transforms import TransformTree

_TF_KINDS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_STATIC_TF = "/tf_static"
_FILE_IN_BAG = "calibration.yaml"
_MOVING_MESSAGES = 400
_MOVED_M, _TURNED = 0.02, 0.01
_CAMERA_FIELDS = {"rgb": "camera", "depth": "depth_camera", "event": "event_camera"}
_MOUNT_FIELDS = {"depth": "depth_to_camera", "event": "event_to_camera", "lidar": "lidar_to_camera"}
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
    """

    calibration: Calibration | None
    source: str = ""
    is_final: bool = False
    found: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def frames(self, event_window_ns: int) -> FrameBuilder:
        """A builder of planes that starts with this calibration."""
        return FrameBuilder(self.calibration, event_window_ns)

    def require(self, topics: Mapping[str, str]) -> None:
        """UserError when the given sensors (modality -> topic) cannot be brought to a camera plane."""
        if self.calibration is None and tuple(topics) != MODALITIES[:1]:
            raise UserError(
                f"no calibration: {'; '.join(self.missing)}: give --calibration FILE.yaml with the camera and "
                "lidar_to_camera (its format: any2seg_core/sensors/calibration.py)"
            )


def find_calibration(bag: Bag, choice: TopicChoice, file: Path | None = None) -> BagCalibration:
    """Calibration of a bag.

    In this order: the file given; ``calibration.yaml`` in the bag's folder, with the intrinsics of the recorded
    camera_info where there are some (as the node does); camera_info and /tf_static, /tf of the whole bag, so that
    latched messages count wherever they stand.

    Raises:
        UserError: the file that was given, or the one in the folder, is wrong.
    """
    if file is not None:
        calibration = load_calibration(file)
        found = dict.fromkeys(_parts(calibration), file.name)
        return BagCalibration(calibration, f"{file.name} (given)", True, found, _missing(calibration, choice, {}))
    cameras, complaints = _first_cameras(bag, choice)
    inside = bag.path / _FILE_IN_BAG if bag.path.is_dir() else bag.path.parent / _FILE_IN_BAG
    if inside.is_file():
        calibration = load_calibration(inside)
        found = dict.fromkeys(_parts(calibration), inside.name)
        known = {part: getattr(calibration, part) for part in found}
        for name, camera in cameras.items():
            known[_CAMERA_FIELDS[name]] = camera
            found[_CAMERA_FIELDS[name]] = choice.map.camera_infos[name]
        calibration = Calibration(**known)
        source = f"{_FILE_IN_BAG} of the recording" + (" and its camera_info" if cameras else "")
        return BagCalibration(calibration, source, False, found, _missing(calibration, choice, complaints))
    return _from_messages(bag, choice, cameras, complaints)


def _from_messages(
    bag: Bag, choice: TopicChoice, cameras: Mapping[str, CameraModel], complaints: Mapping[str, str]
) -> BagCalibration:
    camera_name = MODALITIES[0]
    if camera_name not in cameras:
        has_camera = camera_name in choice.map.streams
        problem = "no camera_info of the colour camera in the bag" if has_camera else "no camera in the bag"
        problem = complaints.get(camera_name, problem)
        return BagCalibration(None, missing=(problem,))
    found = {_CAMERA_FIELDS[name]: choice.map.camera_infos[name] for name in cameras}
    frames = _frames_of(choice, cameras)
    tree, stamps_ns = _read_transforms(bag, choice)
    problems = dict(complaints)
    mounts = {}
    for name, part in _MOUNT_FIELDS.items():
        if name not in choice.map.streams or frames[name] == frames[camera_name]:
            continue
        mount, problem = _mount(tree, stamps_ns, frames[camera_name], frames[name])
        if mount is not None:
            mounts[part], found[part] = mount, f"tf: {frames[name]} -> {frames[camera_name]}"
        if problem:
            cost = "" if mount is not None else _COSTS[name]
            problems[part] = f"{problem}{cost}"
    own = {_CAMERA_FIELDS[name]: camera for name, camera in cameras.items()}
    calibration = Calibration(**own, **mounts)
    source = "camera_info" + (" and tf" if mounts else "") + " of the recording"
    return BagCalibration(calibration, source, False, found, _missing(calibration, choice, problems))


def _parts(calibration: Calibration) -> list[str]:
    names = (*_CAMERA_FIELDS.values(), *_MOUNT_FIELDS.values())
    return [name for name in names if getattr(calibration, name) is not None]


def _missing(calibration: Calibration, choice: TopicChoice, problems: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each thing that the mapped sensors need or would profit from."""
    lines = [f"{name}: {why}" for name, why in problems.items() if name in choice.map.streams]
    lines += [why for part, why in problems.items() if part in _MOUNT_FIELDS.values()]
    streams = choice.map.streams
    if "lidar" in streams and calibration.lidar_to_camera is None and "lidar_to_camera" not in problems:
        lines.append(f"lidar_to_camera is not known{_COSTS['lidar']}")
    for name in ("depth", "event"):
        if name in streams and getattr(calibration, _CAMERA_FIELDS[name]) is None:
            lines.append(f"no camera_info of the {name} camera: the colour camera's is taken")
    return tuple(lines)


def _first_cameras(bag: Bag, choice: TopicChoice) -> tuple[dict[str, CameraModel], dict[str, str]]:
    """(modality -> intrinsics of its first good camera_info, modality -> why there is none)."""
    cameras: dict[str, CameraModel] = {}
    complaints: dict[str, str] = {}
    infos = choice.map.camera_infos
    for message in bag.messages(set(infos.values())) if infos else ():
        for name, topic in infos.items():
            if topic == message.topic and name not in cameras:
                try:
                    cameras[name] = CameraModel.from_camera_info(message.value)
                except UserError as error:
                    complaints[name] = str(error)
        if len(cameras) == len(infos):
            break
    return cameras, {name: why for name, why in complaints.items() if name not in cameras}


def _frames_of(choice: TopicChoice, cameras: Mapping[str, CameraModel]) -> dict[str, str]:
    """Modality -> coordinate frame: that of the measurements, else of the camera_info."""
    frames = {}
    for name in MODALITIES:
        peek = choice.peeks.get(choice.map.streams.get(name, ""), Peek())
        frames[name] = peek.frame_id or (cameras[name].frame_id.lstrip("/") if name in cameras else "")
    return frames


def _read_transforms(bag: Bag, choice: TopicChoice) -> tuple[TransformTree, list[int]]:
    """All static transforms, the first moving ones, and times at which the tree can be asked."""
    tree, stamps_ns = TransformTree(), []
    topics = {name: topic for name, topic in bag.topics.items() if topic.kind in _TF_KINDS and topic.count}
    static = [name for name, topic in topics.items() if name.endswith(_STATIC_TF) or _is_latched(topic.qos)]
    moving = [name for name in topics if name not in static]
    for names, is_static in ((static, True), (moving, False)):
        for number, message in enumerate(bag.messages(names) if names else ()):
            try:
                tree.add_message(message.value, is_static)
            except (UserError, AttributeError, TypeError):
                continue  # one bad transform; if it was needed, the lookup says so
            stamps_ns += [_stamp_ns(item) for item in message.value.transforms] if not is_static else []
            if not is_static and number > _MOVING_MESSAGES:
                break
    return tree, sorted(set(stamps_ns)) or [0]


def _is_latched(qos: tuple) -> bool:
    return any(profile.durability == "transient_local" for profile in qos)


def _stamp_ns(item) -> int:
    return item.header.stamp.sec * 1_000_000_000 + item.header.stamp.nanosec


def _mount(tree: TransformTree, stamps_ns: list[int], camera: str, sensor: str) -> tuple[np.ndarray | None, str]:
    """(sensor to camera, complaint); asked at several times, because a sensor head that moves cannot be calibrated."""
    if not sensor or not camera:
        return None, f"headers name no frame ({'sensor' if camera else 'camera'}), so no transform can be looked up"
    times_ns = [stamps_ns[k] for k in sorted({0, len(stamps_ns) // 4, len(stamps_ns) // 2, len(stamps_ns) - 1})]
    mounts = [m for t in times_ns if (m := tree.lookup(camera, t, sensor, t)) is not None]
    if not mounts:
        return None, f"no transform from {sensor} to {camera} in /tf_static or /tf"
    mount = mounts[len(mounts) // 2]
    shift = max(float(np.linalg.norm(other[:3, 3] - mount[:3, 3])) for other in mounts)
    turn = max(float(np.abs(other[:3, :3] - mount[:3, :3]).max()) for other in mounts)
    if shift > _MOVED_M or turn > _TURNED:
        return mount, f"the transform from {sensor} to {camera} moves by {shift:.2f} m: one moment of it is taken"
    if abs(mount[2, 2]) > 0.9:  # the camera's z axis points up
        return mount, f"frame {camera} looks along the vertical of {sensor}: is it an optical frame (REP 103)?"
    return mount, ""
