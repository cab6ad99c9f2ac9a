"""Watches a running demonstration: labels, what was fused, ground truth. Spins in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from any2seg_core.demo.scoring import LabelRecord
from any2seg_core.messages import image_to_array, stamp_ns
from any2seg_ros import qos

_QUEUE = QoSProfile(depth=50)  # reliable: a label that the node sent must be counted
_WINDOW_S = 2.0


@dataclass(frozen=True)
class LiveState:
    """What the live view shows: newest truth stamp, fused sensors, labels per second, p50 of the node's latency."""

    stamp_ns: int | None
    used: tuple[str, ...]
    label_rate_hz: float
    latency_p50_ms: float
    labels: int


class Monitor:
    """Subscribes to a segmentation node and to a ground-truth topic.

    Args:
        node_name: of the segmentation node. truth_topic: mono8 train ids.

    Attributes:
        node: the rclpy node that spins, for further subscriptions and publishers.
    """

    def __init__(self, node_name: str, truth_topic: str) -> None:
        rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
        self.node = rclpy.create_node("any2seg_monitor")
        self._lock = threading.Lock()
        self._labels: list[tuple[int, int, np.ndarray]] = []
        self._status: dict[int, dict[str, str]] = {}
        self._truths: list[tuple[int, np.ndarray]] = []
        self._recent_latency_ms: list[tuple[float, float]] = []
        self.node.create_subscription(Image, f"/{node_name}/out/label", self._on_label, _QUEUE)
        self.node.create_subscription(DiagnosticArray, f"/{node_name}/out/modalities", self._on_status, _QUEUE)
        self.node.create_subscription(Image, truth_topic, self._on_truth, qos.REPLAY)
        self._get_state = self.node.create_client(GetState, f"/{node_name}/get_state")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="any2seg-monitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and leave the ROS graph."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        rclpy.try_shutdown()

    def lifecycle_state(self, timeout_s: float) -> str | None:
        """State of the segmentation node, such as "active"; None when it does not answer in time."""
        deadline_s = time.monotonic() + timeout_s
        if not self._get_state.wait_for_service(timeout_s):
            return None
        future = self._get_state.call_async(GetState.Request())
        while not future.done() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        return future.result().current_state.label if future.done() else None

    def state(self) -> LiveState:
        """The present state, for the live view."""
        now_s = time.monotonic()
        with self._lock:
            recent = [entry for entry in self._recent_latency_ms if entry[0] > now_s - _WINDOW_S]
            self._recent_latency_ms = recent
            last = self._status.get(self._labels[-1][0], {}) if self._labels else {}
            return LiveState(
                stamp_ns=self._truths[-1][0] if self._truths else None,
                used=_names(last),
                label_rate_hz=len(recent) / _WINDOW_S,
                latency_p50_ms=float(np.median([ms for _, ms in recent])) if recent else float("nan"),
                labels=len(self._labels),
            )

    def recorded(self) -> tuple[list[LabelRecord], list[tuple[int, np.ndarray]]]:
        """All labels in order of arrival, joined with what was said about them, and all truth images."""
        with self._lock:
            records = [
                _record(stamp, received, pixels, self._status.get(stamp, {}))
                for stamp, received, pixels in self._labels
            ]
            return records, list(self._truths)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _on_label(self, message: Image) -> None:
        received_ns = time.monotonic_ns()
        with self._lock:
            self._labels.append((stamp_ns(message.header), received_ns, image_to_array(message)))

    def _on_truth(self, message: Image) -> None:
        with self._lock:
            self._truths.append((stamp_ns(message.header), image_to_array(message)))

    def _on_status(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        with self._lock:
            self._status[stamp_ns(message.header)] = values
            self._recent_latency_ms.append((time.monotonic(), float(values["latency_ms"])))


def _names(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in values.get("used", "").split(",") if name)


def _record(stamp: int, received_ns: int, pixels: np.ndarray, values: Mapping[str, str]) -> LabelRecord:
    used = _names(values)
    return LabelRecord(
        stamp_ns=stamp,
        received_ns=received_ns,
        labels=pixels,
        used=used,
        reference=values.get("reference", ""),
        stamps_ns={name: tuple(int(text) for text in values[f"{name}.stamps_ns"].split(",")) for name in used},
        inference_ms=float(values.get("inference_ms", "nan")),
    )
