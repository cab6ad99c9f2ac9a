"""A van of five sensors for tests: two cameras, a thermal one, LiDAR and radar, as suite, messages and recording."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from bag_files import CLOUD, IMAGE, INFO, NS_PER_S, Entry, tf_message, write_bag

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.messages import serialise
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.sensors.calibration import save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite

START_NS = 100 * NS_PER_S
PERIOD_NS = NS_PER_S // 10
VAN = SensorSuite.of_document({
    "name": "van",
    "sensors": {
        "front": {"kind": "image", "letter": "F", "title": "front camera"},
        "left": {"kind": "image", "letter": "S", "format": "grey"},
        "thermal": {"kind": "image", "letter": "T", "format": "thermal16", "range": [28000, 32000]},
        "lidar": {"kind": "points", "letter": "L", "title": "LiDAR"},
        "radar": {"kind": "points", "letter": "R", "range": [-20, 40], "topic": "/ars/detections"},
    },
})  # fmt: skip
TOPICS = {
    "front": "/van/front/image_raw", "left": "/van/left/image_raw", "thermal": "/flir_thermal/image",
    "lidar": "/van/lidar/points", "radar": "/ars/detections",
}  # fmt: skip
"""The radar's name says nothing: its topic is in the suite."""

TYPES = {name: CLOUD if VAN.sensor(name).kind == "points" else IMAGE for name in VAN.members}
CAMERAS = {
    "front": CameraModel.from_fov(96, 64, 91.0, "front_optical"),
    "left": CameraModel.from_fov(80, 60, 80.0, "left_optical"),
    "thermal": CameraModel.from_fov(64, 48, 70.0, "thermal_optical"),
}
FRAMES = {name: camera.frame_id for name, camera in CAMERAS.items()} | {"lidar": "velodyne", "radar": "ars"}
OFFSETS_NS = {"front": 0, "left": 2_000_000, "thermal": 5_000_000, "lidar": -15_000_000, "radar": -20_000_000}
POINTS_TO_CAMERA = np.array([[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1]])


def turned(degrees: float) -> np.ndarray:
    """(4, 4) of a camera that looks so far to the left."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, 0, -sine, -0.2], [0, 1, 0, 0], [sine, 0, cosine, 0], [0, 0, 0, 1.0]])


TO_CAMERA = {"left": turned(20.0), "thermal": turned(0.0), "lidar": POINTS_TO_CAMERA, "radar": POINTS_TO_CAMERA}


def message(sensor: str, stamp_ns: int) -> bytes:
    """Serialised message of one sensor; its content depends on the stamp alone."""
    random = np.random.default_rng(stamp_ns)
    frame = FRAMES[sensor]
    if sensor in CAMERAS:
        shape = CAMERAS[sensor].height, CAMERAS[sensor].width
        if sensor == "front":
            return serialise.image(random.integers(0, 256, (*shape, 3), np.uint8), "rgb8", stamp_ns, frame)
        if sensor == "left":
            return serialise.image(random.integers(0, 256, shape, np.uint8), "mono8", stamp_ns, frame)
        return serialise.image(random.integers(27000, 33000, shape, np.uint16), "mono16", stamp_ns, frame)
    count, strength = (800, (0.0, 1.0)) if sensor == "lidar" else (60, (-20.0, 40.0))
    low, high = [2, -8, -2, strength[0]], [40, 8, 2, strength[1]]
    return serialise.point_cloud(random.uniform(low, high, (count, 4)).astype(np.float32), stamp_ns, frame)


def entries(seconds: float, with_truth: bool = False) -> list[Entry]:
    """A recording of all sensors at 10 Hz with camera_info, static transforms and, if wanted, truth."""
    edges = [(FRAMES["front"], FRAMES[name], pose) for name, pose in TO_CAMERA.items()]
    found: list[Entry] = [(START_NS, "/tf_static", "tf2_msgs/msg/TFMessage", tf_message(edges, START_NS))]
    for index in range(round(seconds * 10)):
        stamp_ns = START_NS + index * PERIOD_NS
        for name, topic in TOPICS.items():
            own_ns = stamp_ns + OFFSETS_NS[name]
            if own_ns >= START_NS:
                found.append((own_ns, topic, TYPES[name], message(name, own_ns)))
        for name, camera in CAMERAS.items():
            info = f"{TOPICS[name].rpartition('/')[0]}/camera_info"
            found.append((stamp_ns, info, INFO, serialise.camera_info(camera, stamp_ns)))
        if with_truth:
            labels = np.full((64, 96), index % 2, np.uint8)
            found.append((stamp_ns, "/truth/label", IMAGE, serialise.image(labels, "mono8", stamp_ns, "front_optical")))
    return sorted(found, key=lambda entry: entry[0])


def checkpoint(path: Path, suite: SensorSuite = VAN) -> Path:
    """MiT-B0 with random weights for the sensors of a suite."""
    torch.manual_seed(0)
    contract = InputContract(suite=suite, height=64, width=96)
    save_checkpoint(path, Any2Seg(ModelConfig(modalities=suite.members)), contract, {"note": "random weights"})
    return path


def write_calibration(path: Path) -> Path:
    """Geometry of the van, as its recording says it."""
    with TemporaryDirectory() as folder:
        bag = write_bag(Path(folder) / "bag", entries(0.2))
        with open_bag(bag, BagOptions(suite=VAN)) as opened:
            save_calibration(path, opened.calibration.calibration)
    return path
