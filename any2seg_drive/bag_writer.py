"""Write a drive as a rosbag2 (MCAP) with the topics, types, encodings and frames of the CARLA ROS bridge.

Two things differ from the bridge: `semantic_front/image` carries train ids as mono8 (255 unlabelled), where the bridge
sends Cityscapes colours from which DELIVER's vehicle classes cannot be told apart; and the sensor mounts are on
`/tf_static`, the pose of the vehicle on `/tf`. Frame ids are the bridge's (`ego_vehicle/rgb_front`), with the optical
orientation already in the TF.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from any2seg_core.bags.codec import Recorded
from any2seg_core.bags.conditions import write_conditions
from any2seg_core.bags.qos import offered_qos
from any2seg_core.base.atomic import make_empty
from any2seg_core.base.errors import UserError
from any2seg_core.base.parallel import ordered_map
from any2seg_core.base.progress import track
from any2seg_core.base.units import NS_PER_S
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.faults.kinds import Fault
from any2seg_core.messages import serialise as messages
from any2seg_core.sensors.calibration import save_calibration
from any2seg_core.vocabulary.cases import SPLITS
from any2seg_core.vocabulary.topics import carla_bridge
from any2seg_drive.rig import LIDAR_FRAME, DriveRig
from any2seg_drive.simulator import SHORTEST_DRIVE_S, Drive
from any2seg_drive.weather import FOLDERS

PREFIX = "/carla/ego_vehicle"
TOPICS = {
    f"{PREFIX}/rgb_front/image": "sensor_msgs/msg/Image",
    f"{PREFIX}/rgb_front/camera_info": "sensor_msgs/msg/CameraInfo",
    f"{PREFIX}/depth_front/image": "sensor_msgs/msg/Image",
    f"{PREFIX}/depth_front/camera_info": "sensor_msgs/msg/CameraInfo",
    f"{PREFIX}/dvs_front/events": "sensor_msgs/msg/PointCloud2",
    f"{PREFIX}/dvs_front/camera_info": "sensor_msgs/msg/CameraInfo",
    f"{PREFIX}/lidar": "sensor_msgs/msg/PointCloud2",
    f"{PREFIX}/semantic_front/image": "sensor_msgs/msg/Image",
    "/clock": "rosgraph_msgs/msg/Clock",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}
"""Topic -> type of everything in the bag."""

SEMANTIC_LIDAR = f"{PREFIX}/semantic_lidar"
"""A sensor_msgs/PointCloud2 on request: the points of the LiDAR with CARLA's tags of what they have hit."""

POSITIONS = {f"{PREFIX}/gnss": "sensor_msgs/msg/NavSatFix", f"{PREFIX}/odometry": "nav_msgs/msg/Odometry"}
"""Topic -> type of where the vehicle is, on request; the names of the bridge."""

CLOCK_START_NS = 100 * NS_PER_S
"""Simulation time at the start of the bag."""

_WORLD_FRAME, _VEHICLE_FRAME = "map", "ego_vehicle"
_ORIGIN_DEG = (49.0, 8.0)  # latitude and longitude of the town's middle
_M_PER_DEG = 111_320.0  # of latitude
_DRIVE_START_NS = 1 * NS_PER_S
_CHUNK_NS = NS_PER_S // 2
Message = tuple[int, str, bytes]  # (stamp in bag time, topic, CDR)


@dataclass(frozen=True)
class VehicleLog:
    """What one vehicle of a fleet records beyond a plain drive.

    Attributes:
        route_s: how far along the town's route it begins. clock_start_ns: its clock at the first message.
        faults: what is wrong with its sensors, windows in seconds from the first message.
    """

    route_s: float = 0.0
    clock_start_ns: int = CLOCK_START_NS
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class _Chunk:
    """Render what is sensed within [start_ns, end_ns) of drive time, in one weather; stamps are ahead_ns later."""

    seed: int
    split: str
    weather: str
    start_ns: int
    end_ns: int
    rig: DriveRig
    semantic_lidar: bool
    ahead_ns: int
    positions: bool


@lru_cache(maxsize=1)
def _first_drive(seed: int, split: str) -> Drive:
    return Drive(seed, split)


def _drive(chunk: _Chunk) -> Drive:
    """Return the drive of a chunk; within a process all weathers share one town."""
    return _first_drive(chunk.seed, chunk.split).with_conditions(chunk.weather, None, chunk.rig)


def _camera_messages(drive: Drive, time_ns: int, stamp_ns: int) -> Iterator[Message]:
    rgb, _, labels = drive.camera(time_ns / NS_PER_S)
    bgra = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    camera = drive.rig.camera
    yield stamp_ns, f"{PREFIX}/rgb_front/image", messages.image(bgra, "bgra8", stamp_ns, camera.frame_id)
    yield stamp_ns, f"{PREFIX}/rgb_front/camera_info", messages.camera_info(camera, stamp_ns)
    truth = messages.image(labels, "mono8", stamp_ns, "ego_vehicle/semantic_front")
    yield stamp_ns, f"{PREFIX}/semantic_front/image", truth


def _depth_messages(drive: Drive, time_ns: int, stamp_ns: int) -> Iterator[Message]:
    camera = drive.rig.depth_camera
    depth_m = drive.depth(time_ns / NS_PER_S)
    yield stamp_ns, f"{PREFIX}/depth_front/image", messages.image(depth_m, "32FC1", stamp_ns, camera.frame_id)
    yield stamp_ns, f"{PREFIX}/depth_front/camera_info", messages.camera_info(camera, stamp_ns)


def _event_messages(drive: Drive, time_ns: int, stamp_ns: int) -> Iterator[Message]:
    camera = drive.rig.event_camera
    events = drive.events((time_ns - drive.rig.event_timing.period_ns) / NS_PER_S, time_ns / NS_PER_S)
    events["t"] += stamp_ns - time_ns
    yield stamp_ns, f"{PREFIX}/dvs_front/events", messages.event_cloud(events, stamp_ns, camera.frame_id)
    yield stamp_ns, f"{PREFIX}/dvs_front/camera_info", messages.camera_info(camera, stamp_ns)


def _lidar_messages(drive: Drive, time_ns: int, stamp_ns: int) -> Iterator[Message]:
    points, _ = drive.lidar(time_ns / NS_PER_S)
    yield stamp_ns, f"{PREFIX}/lidar", messages.point_cloud(points, stamp_ns, LIDAR_FRAME)


def _semantic_lidar_messages(drive: Drive, time_ns: int, stamp_ns: int) -> Iterator[Message]:
    points, labels = drive.lidar(time_ns / NS_PER_S)
    yield stamp_ns, SEMANTIC_LIDAR, messages.semantic_cloud(points, labels, stamp_ns, "ego_vehicle/semantic_lidar")


def _position_messages(pose: np.ndarray, stamp_ns: int) -> Iterator[Message]:
    latitude_deg = _ORIGIN_DEG[0] + pose[1, 3] / _M_PER_DEG
    longitude_deg = _ORIGIN_DEG[1] + pose[0, 3] / (_M_PER_DEG * math.cos(math.radians(_ORIGIN_DEG[0])))
    fix = messages.nav_sat_fix(latitude_deg, longitude_deg, stamp_ns, f"{_VEHICLE_FRAME}/gnss")
    yield stamp_ns, f"{PREFIX}/gnss", fix
    yield stamp_ns, f"{PREFIX}/odometry", messages.odometry(pose, stamp_ns, _WORLD_FRAME, _VEHICLE_FRAME)


def _render_chunk(chunk: _Chunk) -> list[Message]:
    """Return the messages of one chunk, ordered by stamp."""
    cv2.setNumThreads(1)
    drive, rig = _drive(chunk), chunk.rig
    rendered: list[Message] = []
    lidar_renders = [_lidar_messages, *([_semantic_lidar_messages] if chunk.semantic_lidar else [])]
    for timing, renders in (
        (rig.camera_timing, [_camera_messages]),
        (rig.depth_timing, [_depth_messages]),
        (rig.event_timing, [_event_messages]),
        (rig.lidar_timing, lidar_renders),
    ):
        for time_ns in timing.stamps_ns(chunk.start_ns, chunk.end_ns):
            for render in renders:
                rendered += render(drive, time_ns, time_ns + chunk.ahead_ns)
    for time_ns in rig.event_timing.stamps_ns(chunk.start_ns, chunk.end_ns):
        stamp_ns = time_ns + chunk.ahead_ns
        rendered.append((stamp_ns, "/clock", messages.clock(stamp_ns)))
        pose = drive.vehicle_to_world(time_ns / NS_PER_S)
        rendered.append((stamp_ns, "/tf", messages.transforms(_WORLD_FRAME, {_VEHICLE_FRAME: pose}, stamp_ns)))
        if chunk.positions:
            rendered += _position_messages(pose, stamp_ns)
    return sorted(rendered, key=lambda message: message[:2])


def _chunks(
    seed: int, split: str, segments: Sequence[tuple[float, str]], rig: DriveRig, semantic_lidar: bool,
    log: VehicleLog | None,
) -> list[_Chunk]:  # fmt: skip
    own = log or VehicleLog()
    start_ns = _DRIVE_START_NS + round(own.route_s * NS_PER_S)
    chunks, ahead_ns = [], own.clock_start_ns - start_ns
    for duration_s, weather in segments:
        end_ns = start_ns + round(duration_s * NS_PER_S)
        for left in range(start_ns, end_ns, _CHUNK_NS):
            right = min(left + _CHUNK_NS, end_ns)
            chunks.append(
                _Chunk(seed, split, weather, left, right, rig, semantic_lidar, ahead_ns, positions=log is not None)
            )
        start_ns = end_ns
    return chunks


def _check_request(path: Path, split: str, segments: Sequence[tuple[float, str]], seed: int) -> None:
    if path.exists():
        raise UserError(f"{path}: already exists; remove it or choose another name", "output-exists")
    if split not in SPLITS:
        raise UserError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}", "value-unknown")
    if seed < 0 or not segments:
        raise UserError(
            f"drive: seed must be >= 0 and there must be a segment; got seed={seed} segments={segments}", "value-range"
        )
    for duration_s, weather in segments:
        if weather not in FOLDERS:
            raise UserError(f"weather {weather!r} is unknown; choose one of {', '.join(FOLDERS)}", "value-unknown")
        if not 0 < duration_s < math.inf:  # NaN fails too
            raise UserError(f"duration {duration_s} s is not possible; give a positive one", "value-range")


def _static_transforms(rig: DriveRig, stamp_ns: int) -> bytes:
    extrinsics = {
        rig.camera.frame_id: rig.camera_to_vehicle,
        rig.depth_camera.frame_id: rig.depth_to_vehicle,
        rig.event_camera.frame_id: rig.event_to_vehicle,
        "ego_vehicle/semantic_front": rig.camera_to_vehicle,
        LIDAR_FRAME: rig.lidar_to_vehicle,
        "ego_vehicle/semantic_lidar": rig.lidar_to_vehicle,
    }
    return messages.transforms(_VEHICLE_FRAME, extrinsics, stamp_ns)


def _with_faults(
    chunks: Iterator[list[Message]], topics: dict[str, str], log: VehicleLog, seed: int
) -> Iterator[list[Message]]:
    """The same messages as a vehicle with these faults would have recorded them."""
    injector = FaultInjector(log.faults, carla_bridge(), seed, log.clock_start_ns)
    recorded = (Recorded(topic, topics[topic], stamp_ns, data) for chunk in chunks for stamp_ns, topic, data in chunk)
    for each in injector(recorded):
        yield [(each.time_ns, each.topic, each.data)]


def _write(
    bag: Path, topics: dict[str, str], messages_in_order: Iterator[list[Message]], static_tf: bytes, start_ns: int,
    is_packed: bool,
) -> None:  # fmt: skip
    typestore = messages.typestore()
    writer = Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP)
    if is_packed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, kind in topics.items():
            is_latched = topic == "/tf_static"
            qos = [offered_qos(is_latched, 1 if is_latched else 10)]
            connections[topic] = writer.add_connection(topic, kind, typestore=typestore, offered_qos_profiles=qos)
        writer.write(connections["/tf_static"], start_ns, static_tf)
        for chunk in messages_in_order:
            for stamp_ns, topic, data in chunk:
                writer.write(connections[topic], stamp_ns, data)


def write_bag(
    path: str | os.PathLike[str],
    segments: Sequence[tuple[float, str]] = ((10.0, "sunny"),),
    seed: int = 0,
    split: str = "test",
    workers: int = 1,
    rig: DriveRig | None = None,
    progress: bool = True,
    semantic_lidar: bool = False,
    log: VehicleLog | None = None,
) -> Path:
    """Render one drive into a rosbag2 folder, with `calibration.yaml` and `drive.json` in it.

    Header stamps are simulation time from 100 s on, and the bag's own times equal them. Sensors keep their own rates
    and phases (see `DriveRig`). Messages stream to the file: memory does not grow with the length of the drive.

    Args:
        path: folder to create. segments: (duration in seconds, weather) one after the other through one town.
        seed, split: which town; same arguments, same messages, whatever the number of `workers` (processes).
        progress: show a progress bar.
        semantic_lidar: also write what each LiDAR point has hit, as `SEMANTIC_LIDAR`; about 0.5 MB per sweep.
        log: of a vehicle of a fleet; the bag is compressed then and has `POSITIONS`.

    Returns:
        path as a Path.

    Raises:
        UserError: the path exists or cannot be written, unknown split or weather, or segments longer than 119 s in all.
    """
    path, rig = Path(path), rig or DriveRig()
    _check_request(path, split, segments, seed)
    chunks = _chunks(seed, split, segments, rig, semantic_lidar, log)
    if chunks[-1].end_ns > SHORTEST_DRIVE_S * NS_PER_S:
        raise UserError(
            f"segments last {(chunks[-1].end_ns - _DRIVE_START_NS) / NS_PER_S:.1f} s, but a drive offers "
            f"{SHORTEST_DRIVE_S - _DRIVE_START_NS // NS_PER_S} s; shorten them",
            "drive-too-short",
        )
    partial = path.parent / f".{path.name}.{os.getpid()}.partial"
    bag = partial / path.name  # the storage file inside takes the name of its folder
    make_empty(partial)
    try:
        rendered = ordered_map(_render_chunk, chunks, workers)
        in_order = track(rendered, f"drive {path.name}", len(chunks), is_shown=progress)
        topics = TOPICS | ({SEMANTIC_LIDAR: "sensor_msgs/msg/PointCloud2"} if semantic_lidar else {})
        clock_ns = CLOCK_START_NS if log is None else log.clock_start_ns
        if log is not None:
            topics |= POSITIONS
            in_order = _with_faults(in_order, topics, log, seed)
        _write(bag, topics, in_order, _static_transforms(rig, clock_ns), clock_ns, is_packed=log is not None)
        save_calibration(bag / "calibration.yaml", rig.calibration())
        write_conditions(bag, [(seconds, FOLDERS[name]) for seconds, name in segments], seed=seed, split=split)
        os.replace(bag, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path
