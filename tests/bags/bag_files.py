"""Small bags of every kind that people bring: written by rosbags, content depends on the arguments alone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import cv2
import lz4.frame
import numpy as np
import yaml
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel

NS_PER_S = 1_000_000_000
START_NS = 1_600_000_000 * NS_PER_S
STORE = serialise.typestore()

KITTI_CAMERA = CameraModel(
    1242, 375, [[721.5, 0.0, 609.6], [0.0, 721.5, 172.9], [0.0, 0.0, 1.0]], frame_id="camera_color_left"
)
"""KITTI's left colour camera, rectified: 1242x375."""

LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0.0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1]], float)
IMAGE, INFO, CLOUD = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"

Entry = tuple[int, str, str, bytes]
"""Bag time, topic, type, CDR."""


def sensor_qos(reliability: QosReliability = QosReliability.BEST_EFFORT, durability=QosDurability.VOLATILE) -> Qos:
    forever = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST, 5, reliability, durability, forever, forever, QosLiveliness.AUTOMATIC, forever, False
    )


def write_bag(
    path: Path,
    entries: Iterable[Entry],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    lz4_chunks: bool = False,
    chunk_every: int = 0,
) -> Path:
    """A rosbag2 folder; `chunk_every`: close an MCAP chunk after so many messages."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        if lz4_chunks:
            writer.storage.compression, writer.storage.compressor = "lz4", lz4.frame.compress
        connections = {}
        for index, (time_ns, topic, kind, data) in enumerate(entries):
            if topic not in connections:
                latched = topic == "/tf_static"
                qos = sensor_qos(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL) if latched else sensor_qos()
                store = STORE if kind in STORE.fielddefs else _store_of(kind)
                connections[topic] = writer.add_connection(topic, kind, typestore=store, offered_qos_profiles=[qos])
            writer.write(connections[topic], time_ns, data)
            if chunk_every and index % chunk_every == chunk_every - 1:
                writer.storage.close_chunk()
    return path


_EVENT_ARRAY = """std_msgs/Header header
uint32 height
uint32 width
dvs_msgs/Event[] events
================================================================================
MSG: dvs_msgs/Event
uint16 x
uint16 y
builtin_interfaces/Time ts
bool polarity
"""
_EVENT_PACKET = """std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint64 time_base
string encoding
bool is_bigendian
uint8[] events
"""
_LIVOX_CLOUD = """std_msgs/Header header
uint64 timebase
uint32 point_num
uint8 lidar_id
uint8[3] rsvd
CustomPoint[] points
================================================================================
MSG: {package}/CustomPoint
uint32 offset_time
float32 x
float32 y
float32 z
uint8 reflectivity
uint8 tag
uint8 line
"""
PACKET, COMPRESSED = "event_camera_msgs/msg/EventPacket", "sensor_msgs/msg/CompressedImage"
LIVOX = ("livox_ros_driver2", "livox_ros_driver", "livox_interfaces")
_DEFINITIONS = {
    "dvs_msgs/msg/EventArray": _EVENT_ARRAY,
    "prophesee_event_msgs/msg/EventArray": _EVENT_ARRAY.replace("dvs_msgs", "prophesee_event_msgs"),
    PACKET: _EVENT_PACKET,
    "event_array_msgs/msg/EventArray": _EVENT_PACKET,
    **{f"{package}/msg/CustomMsg": _LIVOX_CLOUD.format(package=package) for package in LIVOX},
}


@lru_cache
def _store_of(kind: str):
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(_DEFINITIONS.get(kind, "uint32 value\n"), kind))
    return store


def event_array(
    stamp_ns: int, columns: Iterable[int], package: str = "dvs_msgs", size: tuple[int, int] = (6, 9)
) -> bytes:
    """Serialised EventArray: one event a millisecond up to the stamp, in row 1 of a sensor of (H, W) pixels."""
    kind = f"{package}/msg/EventArray"
    store = _store_of(kind)
    time = store.types["builtin_interfaces/msg/Time"]
    columns = list(columns)
    first_ns = stamp_ns - len(columns) * 1_000_000
    times = [time(*divmod(first_ns + k * 1_000_000, NS_PER_S)) for k in range(len(columns))]
    event = store.types[f"{package}/msg/Event"]
    events = [event(x, 1, at, True) for x, at in zip(columns, times, strict=True)]
    header = store.types["std_msgs/msg/Header"](time(*divmod(stamp_ns, NS_PER_S)), "dvs")
    return bytes(store.serialize_cdr(store.types[kind](header, *size, events), kind))


def event_packet(stamp_ns: int, seq: int, data: bytes, size: tuple[int, int], encoding: str = "evt3") -> bytes:
    """Serialised event_camera_msgs/EventPacket of a sensor of (H, W) pixels."""
    store = _store_of(PACKET)
    stamp = store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S))
    header = store.types["std_msgs/msg/Header"](stamp, "dvs")
    message = store.types[PACKET](header, *size, seq, 0, encoding, False, np.frombuffer(data, np.uint8))
    return bytes(store.serialize_cdr(message, PACKET))


def livox_cloud(points: np.ndarray, stamp_ns: int, frame_id: str, package: str = LIVOX[0]) -> bytes:
    """Serialised CustomMsg of (N, 4) points x, y, z in metres and intensity 0..1."""
    kind = f"{package}/msg/CustomMsg"
    store = _store_of(kind)
    header = store.types["std_msgs/msg/Header"](
        store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S)), frame_id
    )
    make = store.types[f"{package}/msg/CustomPoint"]
    rows = [make(100 * k, float(x), float(y), float(z), round(255 * float(i)), 16, k % 6)
            for k, (x, y, z, i) in enumerate(points)]  # fmt: skip
    message = store.types[kind](header, stamp_ns, len(rows), 0, np.zeros(3, np.uint8), rows)
    return bytes(store.serialize_cdr(message, kind))


def compressed_image(rgb: np.ndarray, stamp_ns: int, frame_id: str, suffix: str = ".jpg") -> bytes:
    """Serialised CompressedImage of (H, W, 3) uint8, as image_transport writes it."""
    format_ = f"bgr8; {'jpeg' if suffix == '.jpg' else suffix[1:]} compressed bgr8"
    return compressed_pixels(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), stamp_ns, frame_id, suffix, format_)


def compressed_pixels(pixels: np.ndarray, stamp_ns: int, frame_id: str, suffix: str, format_: str) -> bytes:
    """Serialised CompressedImage of whatever OpenCV can write."""
    make = STORE.types
    header = make["std_msgs/msg/Header"](make["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S)), frame_id)
    data = cv2.imencode(suffix, pixels)[1].reshape(-1)
    return bytes(STORE.serialize_cdr(make[COMPRESSED](header, format_, data), COMPRESSED))


def write_ros1(path: Path, entries: Iterable[Entry], compression: str = "") -> Path:
    """A ROS 1 bag of the same messages."""
    noetic = get_typestore(Stores.ROS1_NOETIC)
    tf_definition = "geometry_msgs/TransformStamped[] transforms\n"  # not among rosbags' types of ROS 1
    noetic.register(get_types_from_msg(tf_definition, "tf2_msgs/msg/TFMessage"))
    writer = Ros1Writer(path)
    writer.chunk_threshold = 2000
    if compression:
        writer.set_compression(getattr(Ros1Writer.CompressionFormat, compression))
    with writer:
        connections = {}
        for time_ns, topic, kind, data in entries:
            store, known = (STORE, noetic) if kind in STORE.fielddefs else (_store_of(kind), _store_of(kind))
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=known)
            writer.write(connections[topic], time_ns, bytes(store.cdr_to_ros1(data, kind)))
    return path


def without_definitions(bag: Path) -> Path:
    """A sqlite3 recording as Humble wrote it: no definition of any type is in it."""
    (storage,) = bag.glob("*.db3")
    with sqlite3.connect(storage) as database:
        database.execute("DROP TABLE message_definitions")
        database.execute("DROP TABLE schema")
    database.close()
    return bag


def write_split(path: Path, parts: list[list[Entry]], storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """A folder with one file per part and a common metadata.yaml."""
    path.mkdir()
    names, document = [], None
    for index, entries in enumerate(parts):
        part = write_bag(path.parent / f"{path.name}_{index}", entries, storage)
        file = next(file for file in part.iterdir() if file.name != "metadata.yaml")
        names.append(file.name)
        document = yaml.safe_load((part / "metadata.yaml").read_text())
        shutil.move(file, path / file.name)
        shutil.rmtree(part)
    document["rosbag2_bagfile_information"]["relative_file_paths"] = names
    (path / "metadata.yaml").write_text(yaml.safe_dump(document))
    return path


def small_entries(count: int = 3, topic: str = "/camera/image_raw", start_ns: int = START_NS) -> list[Entry]:
    """Grey 7x5 images of noise whose first pixel is their number; received 10 ns after their stamp."""
    entries = []
    for index in range(count):
        stamp_ns = start_ns + index * NS_PER_S // 10
        pixels = np.random.default_rng(index).integers(0, 256, (5, 7), np.uint8)
        pixels[0, 0] = index % 256
        entries.append((stamp_ns + 10, topic, IMAGE, serialise.image(pixels, "mono8", stamp_ns, "camera")))
    return entries


def scan(seed: int, points: int = 4000) -> np.ndarray:
    """(N, 4) points of a 64-beam spinning LiDAR over flat ground and a wall."""
    random = np.random.default_rng(seed)
    azimuth = random.uniform(-np.pi, np.pi, points)
    elevation = np.radians(random.choice(np.linspace(-24.8, 2.0, 64), points))
    range_m = np.minimum(1.73 / np.maximum(np.sin(-elevation), 1e-3), random.uniform(8.0, 60.0, points))
    flat = range_m * np.cos(elevation)
    x, y, z = flat * np.cos(azimuth), flat * np.sin(azimuth), range_m * np.sin(elevation)
    return np.column_stack([x, y, z, random.uniform(0, 1, points)]).astype(np.float32)


def _transform(parent: str, child: str, matrix: np.ndarray, stamp_ns: int):
    make = STORE.types
    qx, qy, qz, qw = (float(v) for v in serialise._quaternion(matrix[:3, :3]))
    return make["geometry_msgs/msg/TransformStamped"](
        make["std_msgs/msg/Header"](make["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S)), parent),
        child,
        make["geometry_msgs/msg/Transform"](
            make["geometry_msgs/msg/Vector3"](*(float(v) for v in matrix[:3, 3])),
            make["geometry_msgs/msg/Quaternion"](qx, qy, qz, qw),
        ),
    )


def tf_message(edges: Iterable[tuple[str, str, np.ndarray]], stamp_ns: int) -> bytes:
    """Serialised tf2_msgs/TFMessage of (parent, child, child_to_parent)."""
    transforms = [_transform(parent, child, matrix, stamp_ns) for parent, child, matrix in edges]
    return bytes(STORE.serialize_cdr(STORE.types["tf2_msgs/msg/TFMessage"](transforms), "tf2_msgs/msg/TFMessage"))


def kitti_entries(count: int = 8, camera: CameraModel = KITTI_CAMERA, with_tf: bool = True) -> list[Entry]:
    """Topics of the KITTI conversions: colour camera, its camera_info, Velodyne, static transforms; 10 Hz."""
    entries: list[Entry] = []
    base = "/kitti/camera_color_left"
    if with_tf:
        lidar_to_base = np.eye(4)
        lidar_to_base[:3, 3] = (0.8, 0.1, 1.0)
        camera_to_base = lidar_to_base @ np.linalg.inv(LIDAR_TO_CAMERA)
        edges = [("base_link", "velo_link", lidar_to_base), ("base_link", camera.frame_id, camera_to_base)]
        entries.append((START_NS, "/tf_static", "tf2_msgs/msg/TFMessage", tf_message(edges, START_NS)))
    random = np.random.default_rng(7)
    for index in range(count):
        stamp_ns = START_NS + index * NS_PER_S // 10
        picture = random.integers(0, 256, (camera.height // 25, camera.width // 27, 3), np.uint8)
        picture = np.ascontiguousarray(np.kron(picture, np.ones((25, 27, 1), np.uint8)))
        picture = np.ascontiguousarray(np.resize(picture, (camera.height, camera.width, 3)))
        arrival_ns = stamp_ns + 12_000_000
        entries += [
            (arrival_ns, f"{base}/image", IMAGE, serialise.image(picture, "rgb8", stamp_ns, camera.frame_id)),
            (arrival_ns, f"{base}/camera_info", INFO, serialise.camera_info(camera, stamp_ns)),
        ]
        sweep_ns = stamp_ns - 30_000_000
        if sweep_ns > START_NS:
            cloud = serialise.point_cloud(scan(index), sweep_ns, "velo_link")
            entries.append((sweep_ns + 20_000_000, "/kitti/velo/pointcloud", CLOUD, cloud))
    return sorted(entries, key=lambda entry: entry[0])


def labelled_kitti_entries(count: int = 8, camera: CameraModel = KITTI_CAMERA) -> list[Entry]:
    """The same with a label image 40 ms after each picture: 20 rows of 255, then ids that grow to the right."""
    entries = kitti_entries(count, camera)
    for index in range(count):
        labels = (np.arange(camera.width) // 60 + index)[None] % 25 + np.zeros((camera.height, 1))
        labels[:20] = 255
        stamp_ns = START_NS + index * NS_PER_S // 10 + 1_000_000
        message = serialise.image(labels.astype(np.uint8), "mono8", stamp_ns, camera.frame_id)
        entries.append((stamp_ns + 40_000_000, "/semantic/labels", IMAGE, message))
    return sorted(entries, key=lambda entry: entry[0])


def lidar_entries(count: int = 8) -> list[Entry]:
    """A LiDAR and nothing else, 10 Hz."""
    entries = []
    for index in range(count):
        stamp_ns = START_NS + index * NS_PER_S // 10
        cloud = serialise.point_cloud(scan(index), stamp_ns, "os_sensor")
        entries.append((stamp_ns + 5_000_000, "/ouster/points", CLOUD, cloud))
    return entries


def lidar_calibration() -> Calibration:
    """A virtual camera plane for the LiDAR-only bag, not square."""
    return Calibration(CameraModel.from_fov(160, 96, 91.0, "virtual"), lidar_to_camera=LIDAR_TO_CAMERA)


PAN_CAMERA = CameraModel.from_fov(96, 64, 91.0, "cam_optical")


def pan_mount(stamp_ns: int, rate_deg_s: float = 40.0) -> np.ndarray:
    """(4, 4) LiDAR to camera of the panning head at a time: yaw about the head's axis."""
    yaw = np.radians(rate_deg_s) * (stamp_ns - START_NS) / NS_PER_S
    head = np.eye(4)
    head[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    return LIDAR_TO_CAMERA @ head


def pan_entries(count: int = 12) -> list[Entry]:
    """A car whose LiDAR head pans: jpeg camera, evt3 packets of a small sensor, LiDAR, static frames, /tf at 50 Hz.

    Each transform is recorded 150 ms before its stamp, as a controller that publishes its set point: it is known when
    a set needs it, however fast that comes.
    """
    to_base = np.linalg.inv(LIDAR_TO_CAMERA)
    edges = [("base", PAN_CAMERA.frame_id, to_base), ("head", "lidar", np.eye(4)), ("base", "dvs", to_base)]
    tf = "tf2_msgs/msg/TFMessage"
    entries: list[Entry] = [(START_NS - NS_PER_S, "/tf_static", tf, tf_message(edges, START_NS - NS_PER_S))]
    for k in range(-10, 5 * count + 10):
        stamp_ns = START_NS + k * NS_PER_S // 50
        move = [("base", "head", to_base @ pan_mount(stamp_ns))]
        entries.append((stamp_ns - 150_000_000, "/tf", tf, tf_message(move, stamp_ns)))
    for index in range(count):
        stamp_ns = START_NS + index * NS_PER_S // 10
        random = np.random.default_rng(index)
        rgb = cv2.resize(random.integers(0, 256, (8, 12, 3), np.uint8), (96, 64), interpolation=cv2.INTER_CUBIC)
        sweep_ns = stamp_ns - 20_000_000
        rows = np.stack([random.integers(0, 76, 200), random.integers(0, 60, 200)], 1)
        words = []
        for k, (x, y) in enumerate(rows):
            time_us = (sweep_ns // 1000 + 100 * k) & 0xFFFFFF
            words += [0x8000 | time_us >> 12, 0x6000 | time_us & 0xFFF, int(y), 0x2800 | int(x)]
        events = event_packet(sweep_ns, index, np.array(words, "<u2").tobytes(), (60, 76))
        entries += [
            (stamp_ns + 2_000_000, "/cam/image/compressed", COMPRESSED,
             compressed_image(rgb, stamp_ns, PAN_CAMERA.frame_id)),
            (stamp_ns + 1_000_000, "/cam/camera_info", INFO, serialise.camera_info(PAN_CAMERA, stamp_ns)),
            (sweep_ns + 5_000_000, "/lidar/points", CLOUD, serialise.point_cloud(scan(index), sweep_ns, "lidar")),
            (stamp_ns + 1_500_000, "/dvs/events", PACKET, events),
            (stamp_ns + 1_000_000, "/dvs/camera_info", INFO,
             serialise.camera_info(CameraModel.from_fov(76, 60, 91.0, "dvs"), stamp_ns)),
        ]  # fmt: skip
    return sorted(entries, key=lambda entry: entry[0])
