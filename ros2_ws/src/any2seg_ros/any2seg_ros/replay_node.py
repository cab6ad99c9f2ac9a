"""Replay a rosbag2 recording at its own pace, with faults on a schedule. Needs no rosbag2, only rosbags.

    python -m any2seg_ros.replay_node --ros-args -p bag:=runs/demo/bag -p schedule:=runs/demo/schedule.json

Messages go out as the recorded CDR bytes. Disk, decompression and faults run ahead in a thread of their own.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock

from any2seg_core.bags.reader import Bag, Recorded
from any2seg_core.errors import UserError
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.faults.kinds import Fault, load_faults
from any2seg_core.prefetch import Prefetched
from any2seg_core.topics import carla_bridge
from any2seg_core.units import NS_PER_S
from any2seg_ros import qos

_PREFETCHED_MESSAGES = 400
_CLOCK = "/clock"
_CLOCK_PERIOD_NS = 10_000_000
_ACKNOWLEDGE_S = 1.0


def message_class(kind: str) -> Any | None:
    """Python class of ``package/msg/Name``; None where the package is not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None


class ReplayNode(Node):
    """Publishes a recording; parameters are described at their declaration."""

    def __init__(self) -> None:
        super().__init__("replay")
        for name, default, description in (
            ("bag", "", "rosbag2 folder or .mcap file."),
            ("rate", 1.0, "Speed factor."),
            ("loops", 1, "How often the bag is played; time jumps back in between."),
            ("schedule", "", "File with a list of faults (YAML or JSON); empty: none."),
            ("log_file", "", "JSON lines {sensor, stamp_ns, published_ns}; published_ns is CLOCK_MONOTONIC."),
            ("wait_s", 0.0, "Wait so long for a subscriber on each sensor and truth topic before the start."),
        ):
            self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True))
        self._topics = carla_bridge()
        self._outgoing: dict[str, Publisher | None] = {}
        self._last_clock_ns: int | None = None

    def run(self) -> int:
        """Play until the end; returns the number of messages published."""
        path, rate = Path(self._value("bag")), self._value("rate")
        if rate <= 0:
            raise UserError(f"parameter rate is {rate}: give a positive speed factor")
        schedule = self._value("schedule")
        plan = load_faults(Path(schedule)) if schedule else ()
        self._create_publishers(path)
        self._wait_for_subscribers(self._value("wait_s"))
        log = open(self._value("log_file"), "w") if self._value("log_file") else None  # noqa: SIM115 closed below
        try:
            return sum(self._play(path, rate, plan, log) for _ in range(self._value("loops")))
        finally:
            if log is not None:
                log.close()
            self._wait_until_delivered()

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _create_publishers(self, path: Path) -> None:
        with Bag(path) as bag:
            kinds = {topic.name: topic.kind for topic in bag.topics.values()}
            for warning in bag.warnings:
                self.get_logger().warning(warning)
        for topic, kind in kinds.items():
            cls = message_class(kind)
            if cls is None:
                self.get_logger().warning(f"{topic} is left out: {kind} is not installed here")
                continue
            profile = qos.LATCHED if topic == "/tf_static" else qos.REPLAY
            self._outgoing[topic] = self.create_publisher(cls, topic, profile)
        if _CLOCK not in kinds:
            self._outgoing[_CLOCK] = self.create_publisher(Clock, _CLOCK, qos.REPLAY)
            self._last_clock_ns = 0

    def _wait_for_subscribers(self, wait_s: float) -> None:
        wanted = [topic for topic in (*self._topics.streams.values(), self._topics.truth) if topic in self._outgoing]
        deadline_s = time.monotonic() + wait_s
        while time.monotonic() < deadline_s and rclpy.ok():
            if all(self._outgoing[topic].get_subscription_count() for topic in wanted):
                return
            time.sleep(0.05)
        lonely = [topic for topic in wanted if not self._outgoing[topic].get_subscription_count()]
        if wait_s and lonely:
            self.get_logger().warning(f"nobody subscribes to {', '.join(lonely)}; starting nevertheless")

    def _play(self, path: Path, rate: float, plan: tuple[Fault, ...], log: IO[str] | None) -> int:
        start_ns = bag_start_ns = None
        published = 0
        with ExitStack() as stack:
            bag = stack.enter_context(Bag(path))
            faulty = FaultInjector(plan, self._topics)(bag.messages())
            for message in stack.enter_context(Prefetched(faulty, _PREFETCHED_MESSAGES)):
                if start_ns is None:
                    start_ns, bag_start_ns = time.monotonic_ns(), message.time_ns
                _sleep_until(start_ns + (message.time_ns - bag_start_ns) / rate)
                if not rclpy.ok():
                    break
                published += self._publish(message, self._topics.sensor_of(message.topic), log)
        return published

    def _publish(self, message: Recorded, sensor: str | None, log: IO[str] | None) -> int:
        publisher = self._outgoing.get(message.topic)
        if publisher is None:
            return 0
        published_ns = time.monotonic_ns()
        publisher.publish(message.data)
        if self._last_clock_ns is not None and abs(message.time_ns - self._last_clock_ns) >= _CLOCK_PERIOD_NS:
            self._last_clock_ns = message.time_ns
            clock = Clock()
            clock.clock.sec, clock.clock.nanosec = divmod(message.time_ns, NS_PER_S)
            self._outgoing[_CLOCK].publish(clock)
        if log is not None and message.topic in self._topics.streams.values():
            entry = {"sensor": sensor, "stamp_ns": message.stamp_ns, "published_ns": published_ns}
            log.write(json.dumps(entry) + "\n")
        return 1

    def _wait_until_delivered(self) -> None:
        if not rclpy.ok():
            return
        deadline_s = time.monotonic() + _ACKNOWLEDGE_S
        for publisher in self._outgoing.values():
            remaining_s = max(0.0, deadline_s - time.monotonic())
            publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=remaining_s))


def _sleep_until(monotonic_ns: float) -> None:
    remaining_s = (monotonic_ns - time.monotonic_ns()) / NS_PER_S
    if remaining_s > 0:
        time.sleep(remaining_s)


def main(args: list[str] | None = None) -> None:
    """Entry point; one line and exit code 2 for bad input."""
    rclpy.init(args=args)
    node = None
    try:
        node = ReplayNode()
        count = node.run()
        node.get_logger().info(f"replayed {count} messages")
    except UserError as error:
        sys.stderr.write(f"replay_node: {error}\n")
        raise SystemExit(2) from None
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
