"""Serialised messages of a small car for the tests of faults."""

from __future__ import annotations

import numpy as np

from any2seg_core.bags.reader import Recorded
from any2seg_core.messages import serialise
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.vocabulary.topics import carla_bridge

TOPICS = carla_bridge()
CAMERA = CameraModel.from_fov(33, 21, 90.0, "camera")
MS = 1_000_000
START_NS = 5_000_000_000
IMAGE, CLOUD = "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2"


def decoded(message: Recorded):
    return serialise.typestore().deserialize_cdr(message.data, message.kind)


def image(stamp_ns: int, encoding: str = "bgra8") -> Recorded:
    random = np.random.default_rng(stamp_ns)
    channels = {"bgra8": 4, "rgb8": 3, "mono8": 1}[encoding]
    pixels = random.integers(0, 256, (21, 33, channels), np.uint8)
    pixels = pixels[..., 0] if channels == 1 else pixels
    return Recorded(TOPICS.streams["rgb"], IMAGE, stamp_ns, serialise.image(pixels, encoding, stamp_ns, "camera"))


def sweep(stamp_ns: int) -> Recorded:
    points = np.random.default_rng(stamp_ns).uniform([2, -8, -2, 0], [40, 8, 2, 1], (500, 4)).astype(np.float32)
    return Recorded(TOPICS.streams["lidar"], CLOUD, stamp_ns, serialise.point_cloud(points, stamp_ns, "lidar"))


def packet(stamp_ns: int) -> Recorded:
    random = np.random.default_rng(stamp_ns)
    events = np.zeros(400, EVENT_DTYPE)
    events["x"], events["y"] = random.integers(0, 76, 400), random.integers(0, 60, 400)
    events["t"] = np.sort(random.integers(stamp_ns - 50 * MS, stamp_ns, 400))
    events["p"] = random.choice([-1, 1], 400)
    return Recorded(TOPICS.streams["event"], CLOUD, stamp_ns, serialise.event_cloud(events, stamp_ns, "dvs"))


def images(count: int, period_ms: int = 100) -> list[Recorded]:
    return [image(START_NS + index * period_ms * MS) for index in range(count)]
