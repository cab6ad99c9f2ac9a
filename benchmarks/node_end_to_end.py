"""What does the running node take over DDS, against the sum of its parts?

    OMP_NUM_THREADS=1 python benchmarks/node_end_to_end.py

Parts: the four messages read from DDS's bytes, and the callbacks of a node in this process, with the same model, until
the label was handed to the middleware. The whole: processor time of a node of its own, by set and label, to which this
process publishes the same sets, one when the label of the one before has come. What lies between is the executor, the
transport and what the node does by time.
"""

from __future__ import annotations

import os
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_core.vocabulary.topics import node_input
from any2seg_ros import qos
from any2seg_ros.processes import RosProcess, private_domain, ros_arguments, use_large_message_profile
from any2seg_ros.stand_in_node import StandInNode, stamp, steady_stamps

SIDE, POINTS, EVENTS, SETS = 1024, 120_000, 200_000, 40
START_S, LABEL_S = 300.0, 10.0
LAST_THE_CAMERA = ("lidar", "event", "depth", "rgb")


def parts_ms(folder: Path) -> tuple[float, float, list[dict[str, Any]]]:
    """Reading four messages, and callbacks to label with the shipped model, shortest of all; and the sets."""
    node, stamps = StandInNode(folder, SIDE, POINTS, EVENTS, Predictor.load()), steady_stamps()
    frames: list[dict[str, Any]] = node.messages(4)
    data = [(serialize_message(message), type(message)) for message in frames[0].values()]
    reading_s, callbacks_s = [], []
    for _, frame in zip(range(SETS), cycle(frames), strict=False):
        stamp(frame, next(stamps))
        begin_s = time.process_time()
        node.push(frame)
        middle_s = time.process_time()
        for message, kind in data:
            deserialize_message(message, kind)
        callbacks_s.append(middle_s - begin_s)
        reading_s.append(time.process_time() - middle_s)
    node.close()
    return min(reading_s) * 1e3, min(callbacks_s) * 1e3, frames


def spent_ms(pid: int) -> float:
    """Processor time of another process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


class Sender:
    """Publishes sets and waits for their labels.

    Attributes:
        complete: labels so far that were made of all four sensors.
    """

    def __init__(self) -> None:
        rclpy.init()
        self._node = rclpy.create_node("sender")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._publishers: dict[str, Any] = {}
        self._node.create_subscription(Image, "/segment/out/label", lambda _: None, qos.OUTPUT)
        self._node.create_subscription(DiagnosticArray, "/segment/out/modalities", self._came, qos.OUTPUT)
        self._labels = 0
        self.complete = 0

    def _came(self, message: DiagnosticArray) -> None:  # is sent after the label
        self._labels += 1
        self.complete += message.status[0].message == "fused rgb, depth, event, lidar"

    def send(self, frame: dict[str, Any], patience_s: float) -> bool:
        """Whether its label came."""
        before, end_s = self._labels, time.monotonic() + patience_s
        stamp(frame, time.time_ns())
        for name, message in frame.items():
            if name not in self._publishers:
                topic, profile = f"/segment/in/{node_input(VEHICLE, name)}", qos.sensor_input("reliable", 2)
                self._publishers[name] = self._node.create_publisher(type(message), topic, profile)
        for name in LAST_THE_CAMERA:
            self._publishers[name].publish(frame[name])
        while self._labels == before and time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.1)
        return self._labels > before

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown()


def whole_ms(folder: Path, frames: list[dict[str, Any]]) -> float:
    """Processor time of a node by label, without those with which it begins."""
    parameters = {"calibration_file": folder / "c.yaml", "max_label_age_s": 60.0, "timeout_without_reference_s": 5.0}
    process, sender = RosProcess("any2seg_ros.segment_node", ros_arguments(parameters), folder / "node.log"), Sender()
    try:
        end_s = time.monotonic() + START_S
        while not sender.send(frames[0], 1.0):
            if time.monotonic() > end_s:
                raise SystemExit(f"no label came: {process.tail()}")
        for frame in frames:
            sender.send(frame, LABEL_S)
        begin_ms, sender.complete = spent_ms(process.pid), 0
        labels = sum(sender.send(frame, LABEL_S) for _, frame in zip(range(SETS), cycle(frames), strict=False))
        print(f"{labels} labels of {SETS} sets, {sender.complete} of all sensors")
        return (spent_ms(process.pid) - begin_ms) / labels
    finally:
        process.stop()
        sender.close()


def main() -> None:
    keep_freed_memory()
    use_large_message_profile()
    with private_domain(), tempfile.TemporaryDirectory() as name:
        reading, callbacks, frames = parts_ms(Path(name))
        whole = whole_ms(Path(name), frames)
    print(f"reading {reading:.1f} ms, callbacks with the network to the label {callbacks:.1f} ms")
    print(f"node over DDS {whole:.1f} ms per label: {whole / (reading + callbacks):.2f} of its parts")


if __name__ == "__main__":
    main()
