"""A car of small noise images for the ROS tests: 10 Hz sensors, non-square camera, as messages, stream or recording."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_core.vocabulary.topics import carla_bridge

NS_PER_S = 1_000_000_000
START_NS = 100 * NS_PER_S
PERIOD_NS = NS_PER_S // 10
WIDTH, HEIGHT = 96, 64
CAMERA = CameraModel.from_fov(WIDTH, HEIGHT, 91.0, "ego_vehicle/rgb_front")
EVENT_CAMERA = CameraModel.from_fov(76, 60, 91.0, "ego_vehicle/dvs_front")
TOPICS = carla_bridge()
OFFSETS_NS = {"rgb": 0, "depth": 3_000_000, "event": 0, "lidar": -15_000_000}
TYPES = {
    "rgb": "sensor_msgs/msg/Image",
    "depth": "sensor_msgs/msg/Image",
    "event": "sensor_msgs/msg/PointCloud2",
    "lidar": "sensor_msgs/msg/PointCloud2",
}
LIDAR_TO_CAMERA = [[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1]]


def write_calibration(path: Path) -> Path:
    """The car's geometry as a YAML file."""
    save_calibration(path, Calibration(CAMERA, CAMERA, EVENT_CAMERA, LIDAR_TO_CAMERA, np.eye(4), np.eye(4)))
    return path


def message(sensor: str, stamp_ns: int) -> bytes:
    """Serialised message of one sensor; its content depends on the stamp alone."""
    random = np.random.default_rng(stamp_ns)
    if sensor == "rgb":
        pixels = random.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
        return serialise.image(pixels, "bgra8", stamp_ns, CAMERA.frame_id)
    if sensor == "depth":
        depth_m = random.uniform(2.0, 60.0, (HEIGHT, WIDTH)).astype(np.float32)
        return serialise.image(depth_m, "32FC1", stamp_ns, CAMERA.frame_id)
    if sensor == "event":
        events = np.zeros(500, EVENT_DTYPE)
        events["x"], events["y"] = random.integers(0, 76, 500), random.integers(0, 60, 500)
        events["t"] = np.sort(random.integers(stamp_ns - 49_000_000, stamp_ns, 500))
        events["p"] = random.choice([-1, 1], 500)
        return serialise.event_cloud(events, stamp_ns, EVENT_CAMERA.frame_id)
    points = random.uniform([2, -8, -2, 0], [40, 8, 2, 1], (800, 4)).astype(np.float32)
    return serialise.point_cloud(points, stamp_ns, "ego_vehicle/lidar")


def spoiled(sensor: str, spoil: Callable[[Any], Any], stamp_ns: int) -> bytes:
    """A good message of a sensor after `spoil` has changed its fields."""
    store = serialise.typestore()
    good = store.deserialize_cdr(message(sensor, stamp_ns), TYPES[sensor])
    spoil(good)
    return bytes(store.serialize_cdr(good, TYPES[sensor]))


def broken_image(stamp_ns: int) -> bytes:
    """An image whose step contradicts its width."""
    return spoiled("rgb", lambda image: setattr(image, "step", 7), stamp_ns)


def black_image(stamp_ns: int) -> bytes:
    """What a camera with its cap on sends: noise. Zeros alone would be an empty plane, whatever is checked."""
    noise = np.random.default_rng(stamp_ns).integers(0, 4, (HEIGHT, WIDTH, 4), np.uint8)
    return serialise.image(noise, "bgra8", stamp_ns, CAMERA.frame_id)


def truth(stamp_ns: int) -> bytes:
    """Ground truth: road below, sky above."""
    labels = np.full((HEIGHT, WIDTH), 6, np.uint8)
    labels[: HEIGHT // 2] = 12
    return serialise.image(labels, "mono8", stamp_ns, "ego_vehicle/semantic_front")


def write_bag(path: Path, seconds: float) -> Path:
    """A recording with all sensors, camera_info, truth and calibration."""
    store = serialise.typestore()
    entries = []
    for index in range(round(seconds * 10)):
        stamp_ns = START_NS + index * PERIOD_NS
        for sensor in VEHICLE.members:
            own_ns = stamp_ns + OFFSETS_NS[sensor]
            if own_ns >= START_NS:
                entries.append((own_ns, TOPICS.streams[sensor], TYPES[sensor], message(sensor, own_ns)))
        entries.append((stamp_ns, TOPICS.truth, "sensor_msgs/msg/Image", truth(stamp_ns)))
        for sensor, camera in (("rgb", CAMERA), ("event", EVENT_CAMERA)):
            info = serialise.camera_info(camera, stamp_ns)
            entries.append((stamp_ns, TOPICS.camera_infos[sensor], "sensor_msgs/msg/CameraInfo", info))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for stamp_ns, topic, kind, data in sorted(entries):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], stamp_ns, data)
    write_calibration(path / "calibration.yaml")
    return path


class Sensors(NamedTuple):
    """What a car sends: sensor -> topic, type and shift of its stamps, and the message of a stamp."""

    topics: Mapping[str, str]
    types: Mapping[str, str]
    offsets_ns: Mapping[str, int]
    message: Callable[[str, int], bytes]


CAR = Sensors(TOPICS.streams, TYPES, OFFSETS_NS, message)


class FakeCar:
    """Publishes at 10 Hz from a thread; `silent` and `instead` may be changed while it drives.

    Args:
        node: rclpy node that gets the publishers. silent: sensors that send nothing. sensors: what it has.

    Attributes:
        instead: sensor -> what makes its messages of a stamp, in place of `message`.
        sent_ns: stamp of the camera -> steady clock when everything of that moment was sent.
    """

    def __init__(self, node, silent: tuple[str, ...] = (), sensors: Sensors = CAR) -> None:
        from sensor_msgs.msg import Image, PointCloud2

        kinds = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/PointCloud2": PointCloud2}
        self._publishers = {
            name: node.create_publisher(kinds[sensors.types[name]], topic, 10) for name, topic in sensors.topics.items()
        }
        self._sensors = sensors
        self._order = sorted(sensors.topics, key=sensors.offsets_ns.__getitem__)  # as their stamps are
        self.silent = set(silent)
        self.instead: dict[str, Callable[[int], bytes]] = {}
        self.stamp_ns = START_NS
        self.sent_ns: dict[int, int] = {}
        self._running = True
        self._thread = threading.Thread(target=self._drive, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._running = False
        self._thread.join(2.0)

    def listeners(self) -> dict[str, int]:
        """How many subscriptions the publisher of each sensor knows of."""
        return {name: publisher.get_subscription_count() for name, publisher in self._publishers.items()}

    def _drive(self) -> None:
        due_s = time.monotonic()
        while self._running:
            stamp_ns = self.stamp_ns
            for sensor in self._order:
                if sensor not in self.silent:
                    own_ns = stamp_ns + self._sensors.offsets_ns[sensor]
                    make = self.instead.get(sensor, partial(self._sensors.message, sensor))
                    self._publishers[sensor].publish(make(own_ns))
            self.sent_ns[stamp_ns] = time.monotonic_ns()
            if self.stamp_ns == stamp_ns:  # a test may have set the time back meanwhile
                self.stamp_ns = stamp_ns + PERIOD_NS
            due_s += 0.1
            time.sleep(max(0.0, due_s - time.monotonic()))
