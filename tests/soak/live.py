"""The node's process over DDS while its sensors die and come back: memory, latency and the longest silence."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "ros")]

import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from acceptance import START_TIMEOUT_S, wait_for  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from fake_car import NS_PER_S, PERIOD_NS, TOPICS, write_calibration  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from resources import held_by  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from storm import LISTENERS, Driver, schedule  # noqa: E402
from trend import Trend, trend  # noqa: E402

from any2seg_core.base.shipped import default_checkpoint  # noqa: E402
from any2seg_core.messages import stamp_ns  # noqa: E402
from any2seg_core.sync.parameters import SYNC_DEFAULTS  # noqa: E402
from any2seg_core.vocabulary.modalities import VEHICLE  # noqa: E402
from any2seg_ros.processes import RosProcess, private_domain, ros_arguments, use_large_message_profile  # noqa: E402

CHECKPOINT = default_checkpoint()
BOUNDS = {"memory_mb": 6.0, "threads": 0.5, "descriptors": 0.5}  # what counts as flat, per hour
_SAMPLE_S = 2.0
_SPOKEN_S = 10.0


@dataclass
class Storm:
    """What was measured. Times in milliseconds, of labels in the order in which they came.

    Attributes:
        curve: what the node held, about every two seconds; `bare_memory_mb` is that of a node without any code of ours.
        latency_ms: from when the newest message that was used was published until the label was received.
        inference_ms: of that, what the node says for projection and model.
        gap_ms: from one label to the next. late_ms: how much longer than a period the sensor that went on best paused
            in that time or half a second before it; only messages count for which the node was matched.
        bound_ms: what the promise allows for each gap. used: sensors of each label, joined by a comma.
        at_s: when each label came. kills: how many sensors died. tracebacks: how many are in the node's log.
        told: what the node's diagnostics said, and from when on.
    """

    seconds: float
    seed: int
    curve: list[dict[str, float]] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    inference_ms: list[float] = field(default_factory=list)
    gap_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    bound_ms: list[float] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    kills: int = 0
    tracebacks: int = 0
    told: list[tuple[float, str]] = field(default_factory=list)

    @property
    def broken(self) -> list[int]:
        """Labels that came later than the promise allows."""
        return [index for index, gap in enumerate(self.gap_ms) if gap > self.bound_ms[index]]

    def told_during(self, index: int) -> list[str]:
        """What the diagnostics said in the time before a label."""
        end_s = self.at_s[index]
        begin_s = end_s - self.gap_ms[index] / 1000.0
        return [text for at_s, text in self.told if begin_s <= at_s <= end_s]

    def trends(self) -> list[Trend]:
        """Slopes per hour; the bare node's memory last."""
        x = [point["at_s"] / 3600 for point in self.curve]
        bounds = BOUNDS | {"bare_memory_mb": BOUNDS["memory_mb"]}
        return [trend(name, x, [point[name] for point in self.curve], bound) for name, bound in bounds.items()]


class _Ear:
    """Listens to labels and to what they were made of, in a thread of its own."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self._node = rclpy.create_node("soak_ear", context=self._context)
        self.labels: list[tuple[int, int]] = []  # received, steady clock; stamp
        self.values: dict[int, dict[str, str]] = {}
        self.told: list[tuple[int, str]] = []  # steady clock and message of /diagnostics, where it is another one
        self._node.create_subscription(Image, "/segment/out/label", self._on_label, 50)
        self._node.create_subscription(DiagnosticArray, "/segment/out/modalities", self._on_modalities, 50)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="soak-ear", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(2.0)
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _on_label(self, message: Image) -> None:
        self.labels.append((time.monotonic_ns(), stamp_ns(message.header)))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        text = message.status[0].message
        if not self.told or self.told[-1][1] != text:
            self.told.append((time.monotonic_ns(), text))

    def _on_modalities(self, message: DiagnosticArray) -> None:
        kept = ("used", "inference_ms", *(f"{name}.stamps_ns" for name in VEHICLE.members))
        pairs = {pair.key: pair.value for pair in message.status[0].values}
        self.values[stamp_ns(message.header)] = {key: pairs[key] for key in kept if key in pairs}


def run(seconds: float, seed: int, checkpoint: Path, say: Callable[[str], None]) -> Storm:
    """A storm of so many seconds; RuntimeError with the end of its log when the node does not start or dies."""
    use_large_message_profile()
    storm = Storm(seconds, seed)
    events = schedule(seed, seconds)
    with tempfile.TemporaryDirectory() as folder, private_domain() as domain, _processes(folder, checkpoint) as both:
        ear = _Ear(domain)
        drivers = [Driver(name, [e for e in events if e.sensor == name], seed, domain) for name in VEHICLE.members]
        node, bare = both
        ready = wait_for(lambda: all(driver.listeners == LISTENERS for driver in drivers), START_TIMEOUT_S)
        if not ready:
            raise RuntimeError(f"the node did not subscribe: {node.tail()}")
        begin_s = time.monotonic()
        for driver in drivers:
            driver.start(begin_s)
        _watch(storm, begin_s, node, bare, ear, say)
        for driver in drivers:
            driver.stop()
        ear.close()
        storm.tracebacks = node.log.read_text(errors="replace").count("Traceback")
        _join(storm, begin_s, ear, drivers)
    return storm


@contextmanager
def _processes(folder: str, checkpoint: Path) -> Iterator[tuple[RosProcess, subprocess.Popen]]:
    calibration = write_calibration(Path(folder) / "calibration.yaml")
    parameters = {"checkpoint": checkpoint, "calibration_file": calibration}
    arguments = ros_arguments(parameters, TOPICS.node_remappings())
    node = RosProcess("any2seg_ros.segment_node", arguments, Path(folder) / "node.log")
    paths = os.pathsep.join([str(ROOT / "tests" / "ros"), os.environ.get("PYTHONPATH", "")])
    program = str(Path(__file__).with_name("bare_node.py"))
    bare = subprocess.Popen([sys.executable, program], env={**os.environ, "PYTHONPATH": paths})
    try:
        yield node, bare
    finally:
        node.stop()
        bare.kill()
        bare.wait()


def _watch(storm: Storm, begin_s: float, node: RosProcess, bare: subprocess.Popen, ear: _Ear, say: Callable) -> None:
    spoken_s = 0.0
    while (now_s := time.monotonic() - begin_s) < storm.seconds:
        try:
            held = asdict(held_by(node.pid)) | {"bare_memory_mb": held_by(bare.pid).memory_mb}
        except ProcessLookupError:
            raise RuntimeError(f"the node ended: {node.tail()}") from None
        storm.curve.append({"at_s": now_s, **held})
        if now_s - spoken_s > _SPOKEN_S:
            spoken_s = now_s
            say(f"live: {now_s:.0f} of {storm.seconds:.0f} s, {len(ear.labels)} labels, {held['memory_mb']:.1f} MB")
        time.sleep(min(_SAMPLE_S, storm.seconds / 20))


def _join(storm: Storm, begin_s: float, ear: _Ear, drivers: list[Driver]) -> None:
    """Labels with what was sent for them; of the last one it may not be known what it was made of."""
    sent = {driver.sensor: driver.sent_ns for driver in drivers}
    times_ns = [np.sort(np.array(list(driver.sent_ns.values()), np.int64)) for driver in drivers]
    storm.told = [(at_ns / NS_PER_S - begin_s, text) for at_ns, text in ear.told]
    storm.kills = sum(driver.kills for driver in drivers)
    waits_ms = 1000.0 * (max(SYNC_DEFAULTS["timeout_without_reference_s"], _silence_s()) + SYNC_DEFAULTS["timeout_s"])
    for (before_ns, _), (received_ns, stamp) in zip(ear.labels, ear.labels[1:], strict=False):
        values = ear.values.get(stamp, {})
        used = tuple(name for name in values.get("used", "").split(",") if name)
        published = [sent[name][int(text)] for name in used for text in values[f"{name}.stamps_ns"].split(",")
                     if int(text) in sent[name]]  # fmt: skip
        pause_ns = min(_longest_pause_ns(own, before_ns, received_ns) for own in times_ns)
        late_ms = max(pause_ns - PERIOD_NS, 0) / 1e6
        inference_ms = float(values.get("inference_ms", "nan"))
        storm.at_s.append(received_ns / NS_PER_S - begin_s)
        storm.used.append(",".join(used))
        storm.inference_ms.append(inference_ms)
        storm.latency_ms.append((received_ns - max(published)) / 1e6 if published else float("nan"))
        storm.gap_ms.append((received_ns - before_ns) / 1e6)
        storm.late_ms.append(late_ms)
        storm.bound_ms.append(waits_ms + PERIOD_NS / 1e6 + late_ms + np.nan_to_num(inference_ms))


def _longest_pause_ns(sent_ns: np.ndarray, begin_ns: int, end_ns: int) -> int:
    """Longest time without a message of a sensor that began or ended between two moments, or half a second before."""
    begin_ns -= NS_PER_S // 2
    inside = sent_ns[(sent_ns > begin_ns) & (sent_ns < end_ns)]
    return int(np.diff([begin_ns, *inside, end_ns]).max())


def _silence_s() -> float:
    """After so long without a message the leader is dead: 2.5 of its periods, at most 0.3 s."""
    return min(2.5 * PERIOD_NS / NS_PER_S, 0.3)
