"""The node in this process with a network that costs nothing, fed through its callbacks: to measure and to wear out."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import rclpy
from sensor_msgs.msg import Image, PointCloud2, PointField

from any2seg_core.base.stream_modes import OFF
from any2seg_core.messages import array_to_image_fields
from any2seg_core.runtime.array_io import label_maps, planes_to_images
from any2seg_core.runtime.pipeline import FairLock
from any2seg_core.runtime.predictor import Segmentation
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_ros.processes import ros_arguments
from any2seg_ros.segment_node import SegmentNode

_LEAST_WORK_S = 0.2
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0.0], [0, 0, -1, -0.1], [1, 0, 0, -0.3], [0, 0, 0, 1]])
_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<f8"), ("pol", "i1")])
_EVENT_FIELDS = (("x", 0, PointField.UINT16), ("y", 2, PointField.UINT16), ("t", 4, PointField.FLOAT64),
                 ("pol", 12, PointField.INT8))  # fmt: skip


def blocks_of_classes(num_classes: int, height: int, width: int) -> np.ndarray:
    """Logits (1, K, H, W) float32, channels last in memory, of square blocks of one class each.

    Four neighbours agree on a class at 77 % of the places, as many as with the shipped checkpoint (79 % on val towns).
    """
    random = np.random.default_rng(0)
    classes = random.integers(num_classes, size=(height // 8, width // 8)).repeat(8, axis=0).repeat(8, axis=1)
    logits = 10.0 * np.eye(num_classes)[classes] + random.normal(size=(height, width, num_classes))  # (H, W, K)
    return logits.astype(np.float32).transpose(2, 0, 1)[None]  # (1, K, H, W)


class FreePredictor:
    """All of a Predictor but the network: planes become its input, labels are made of always the same logits."""

    engine = SimpleNamespace(facts={"name": "none", "version": "0", "precision": "float32"})
    stream = OFF

    def __init__(self) -> None:
        self.contract = InputContract()
        self.label_space = self.contract.label_space
        self._logits = blocks_of_classes(len(self.label_space), self.contract.height // 4, self.contract.width // 4)

    def new_memory(self) -> None:
        """It continues no stream."""

    def __call__(
        self,
        samples: dict[str, np.ndarray],
        rig: SensorRig | None = None,
        stamp_ns: int = 0,
        size: tuple[int, int] | None = None,
        with_confidence: bool = True,
        compared: str | None = None,
        features: object = None,
        memory: None = None,
        camera: object = None,
    ) -> Segmentation:
        height, width = size or next(iter(samples.values())).shape[:2]
        planes_to_images(samples, self.contract)
        labels, confidence = label_maps(self._logits, height, width, with_confidence)
        return Segmentation(labels[0], None if confidence is None else confidence[0], VEHICLE.canonical(samples))


class StandInNode:
    """A configured and active node whose label topic counts as wanted; `frame` pushes one set through.

    Args:
        folder: for the calibration. side: of the square images. points, events: per frame.
        predictor: what segments; by default one whose network costs nothing.
    """

    def __init__(self, folder: Path, side: int, points: int, events: int, predictor: Any = None) -> None:
        camera = CameraModel.from_fov(side, side, 91.0, "camera")
        save_calibration(folder / "c.yaml", Calibration(camera, camera, camera, LIDAR_TO_CAMERA, np.eye(4), np.eye(4)))
        model = FreePredictor() if predictor is None else predictor
        pool: Any = SimpleNamespace(turns=FairLock(), get=lambda *_: model)
        # A busy machine must not look like dead sensors, nor may what it takes long for be dropped as too old.
        parameters = {
            "calibration_file": folder / "c.yaml",
            "timeout_without_reference_s": 5.0,
            "max_label_age_s": 3600.0,
        }
        rclpy.init(args=ros_arguments(parameters))
        self.node = cast(Any, SegmentNode(pool=pool))  # its inner parts are taken hold of
        self.node.trigger_configure()
        self.node.trigger_activate()
        self.node._outputs._wanted = lambda name: name in ("label", "modalities")
        self._published = threading.Event()
        publish = self.node._outputs.publish

        def publish_and_note(result: Any) -> None:
            publish(result)
            self._note(result)

        self.node._outputs.publish = publish_and_note
        self.used: tuple[str, ...] = ()
        self._side, self._points, self._events = side, points, events
        self._random = np.random.default_rng(0)

    def _note(self, result: Any) -> None:
        self.used = result.used
        self._published.set()

    def messages(self, count: int) -> list[dict[str, object]]:
        """Frames of random content, 10 Hz."""
        return [self._frame() for _ in range(count)]

    def push(self, frame: dict[str, object], patience_s: float = 60.0) -> None:
        """One stamped frame through the callbacks, until its label was handed to the middleware.

        Raises:
            TimeoutError: no label, and the process did next to nothing for so long; slow work is waited for.
        """
        self._published.clear()
        before_s = time.process_time()
        for name in ("lidar", "event", "depth", "rgb"):
            self.node._inputs._receive(name, frame[name], {})
        while not self._published.wait(patience_s):
            spent_s = time.process_time() - before_s
            if spent_s < _LEAST_WORK_S:
                raise TimeoutError(f"no label came out, and nothing was computed for {patience_s:.0f} s")
            before_s += spent_s

    def look(self) -> None:
        """What the node's timer does five times in a second: see whether there is something to report."""
        self.node._publish_diagnostics()

    def close(self) -> None:
        self.node.trigger_deactivate()
        self.node.trigger_cleanup()
        self.node.destroy_node()
        rclpy.shutdown()

    def _frame(self) -> dict[str, object]:
        random, side = self._random, self._side
        pixels = random.integers(0, 256, (side, side, 4), np.uint8)
        depth_m = random.uniform(2, 80, (side // 8, side // 8)).astype(np.float32).repeat(8, 0).repeat(8, 1)
        frame = {
            "rgb": Image(**array_to_image_fields(pixels, "bgra8")),
            "depth": Image(**array_to_image_fields(depth_m, "32FC1")),
            "event": self._event_cloud(),
            "lidar": self._point_cloud(),
        }
        for message in frame.values():
            message.header.frame_id = "camera"
        return frame

    def _event_cloud(self) -> PointCloud2:
        events = np.zeros(self._events, _EVENT)
        events["x"], events["y"] = self._random.integers(0, self._side, (2, self._events))
        events["t"], events["pol"] = 0.0, self._random.choice([-1, 1], self._events)
        return _cloud(events, _EVENT_FIELDS)

    def _point_cloud(self) -> PointCloud2:
        points = self._random.uniform([2, -30, -2, 0], [60, 30, 4, 1], (self._points, 4)).astype(np.float32)
        fields = [(name, 4 * index, PointField.FLOAT32) for index, name in enumerate(("x", "y", "z", "intensity"))]
        return _cloud(points, fields)


def _cloud(records: np.ndarray, fields: Any) -> PointCloud2:
    data = array.array("B")
    data.frombytes(records.tobytes())
    step = len(data) // max(len(records), 1)
    return PointCloud2(
        height=1,
        width=len(records),
        fields=[PointField(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in fields],
        point_step=step,
        row_step=len(data),
        data=data,
        is_dense=True,
    )


def stamp(frame: dict[str, Any], stamp_ns: int) -> None:
    """Put a time into the headers of a frame, and times before it into its events."""
    times = np.frombuffer(frame["event"].data, _EVENT)["t"]
    times[:] = np.linspace(stamp_ns - 49_000_000, stamp_ns, len(times))
    for message in frame.values():
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)


def steady_stamps(period_ns: int = 100_000_000) -> Iterator[int]:
    """Stamps of frames, one period apart, without an end."""
    stamp_ns = 10**18
    while True:
        stamp_ns += period_ns
        yield stamp_ns
