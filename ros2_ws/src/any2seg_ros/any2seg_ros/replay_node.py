"""Replay a recording at its own pace, with faults on a schedule. Needs no rosbag2.

    any2seg bag replay runs/drive --rate 0.5 --drop camera@4:8
    python -m any2seg_ros.replay_node --ros-args -p bag:=runs/drive -p schedule:=runs/demo/schedule.json

Messages go out as the recorded CDR bytes, with the quality of service that was recorded. Disk, decompression and
faults run ahead in a thread of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock

from any2seg_core.bags.pauses import PauseLog
from any2seg_core.bags.reader import Recorded, Recording
from any2seg_core.bags.topics import choose_topics
from any2seg_core.base.errors import UserError
from any2seg_core.base.home import expanded_text
from any2seg_core.base.prefetch import Prefetched
from any2seg_core.base.screen import refusal
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.faults.check import check_faults
from any2seg_core.faults.grammar import read_plan
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.faults.kinds import Fault
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.topics import TopicMap
from any2seg_ros import qos
from any2seg_ros.command_line import init, node_help, require_ros_arguments
from any2seg_ros.distro import message_class
from any2seg_ros.signals import ended_by_signal

_PREFETCHED_MESSAGES = 400
_CLOCK = "/clock"
_CLOCK_PERIOD_NS = 10_000_000
_ACKNOWLEDGE_S = 1.0
_LOOK_AROUND_S = 2.0  # after the start: by then subscribers are known
_SETTLING_S = 0.5  # a subscriber that we know may not know us yet, and what is sent best-effort until then is lost
_TRUTH_WAIT_S = 10.0
_UNTIL_INTERRUPTED = 0


@dataclass(frozen=True)
class ReplayOptions:
    """What to play and how.

    Attributes:
        bag: recording. rate: speed factor. loops: how often, 0: until interrupted; time jumps back in between.
        start_s: begin so far into the recording; latched messages from before are sent all the same.
        faults, seed: what is done to the messages; windows count from the start of the recording.
        topics, rules: which topic is which sensor, as `choose_topics` takes them.
        log_file: JSON lines {sensor, stamp_ns, published_ns}, "" for none; published_ns is CLOCK_MONOTONIC.
        wait_s: longest wait for a subscriber on each sensor topic; on the truth no longer than 10 s.
        suite: the sensors that the recording can have.
    """

    bag: Path
    rate: float = 1.0
    loops: int = 1
    start_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    topics: tuple[str, ...] = ()
    rules: Path | None = None
    log_file: str = ""
    wait_s: float = 0.0
    suite: SensorSuite = VEHICLE

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf"):
            raise UserError(f"rate is {self.rate}: give a positive speed factor", "value-range")
        if self.loops < 0 or self.start_s < 0 or self.seed < 0:
            raise UserError(
                f"loops {self.loops}, start_s {self.start_s} and seed {self.seed} must not be negative", "value-range"
            )


_PARAMETERS: tuple[tuple[str, Any, str], ...] = (
    ("bag", "", "Recording: rosbag2 folder, .mcap, .db3 or ROS 1 .bag."),
    ("rate", 1.0, "Speed factor."),
    ("loops", 1, "How often the bag is played; 0: until interrupted. Time jumps back in between."),
    ("start_s", 0.0, "Begin so far into the recording; latched messages from before are sent all the same."),
    ("faults", [""], "Faults as `any2seg bag replay --fault` takes them, for example blur:rgb@2:5,length=0.08."),
    ("schedule", "", "File with a list of faults (YAML or JSON); empty: none."),
    ("seed", 0, "Of all that is random in the faults."),
    ("log_file", "", "JSON lines {sensor, stamp_ns, published_ns}; published_ns is CLOCK_MONOTONIC."),
    ("wait_s", 0.0, "Wait so long for a subscriber on each sensor topic before the start; 10 s for the truth."),
)


class ReplayNode(Node):
    """Publishes a recording.

    Args:
        options: what to play; None: as the node's parameters say.

    Attributes:
        injectors: one per round that was played; they count what the faults hit.
    """

    def __init__(self, options: ReplayOptions | None = None) -> None:
        super().__init__("replay")
        self._options = options or self._declared()
        self._topics = TopicMap({}, {})  # known when the recording is open
        self._outgoing: dict[str, Publisher] = {}
        self._latched: list[str] = []
        self._last_clock_ns: int | None = None
        self._has_looked = False
        self.injectors: list[FaultInjector] = []

    def run(self, progress: Callable[[float, float], None] | None = None) -> int:
        """Play until the end; returns the number of messages published.

        Args:
            progress: called with seconds played and seconds in all, for every message.
        """
        options = self._options
        with ExitStack() as stack:
            bag = stack.enter_context(Recording(options.bag))
            for warning in bag.warnings:
                self.get_logger().warning(warning)
            self._check_start(bag)
            self._topics = choose_topics(bag, options.rules, options.topics, options.suite).map
            for note in check_faults(options.faults, bag, self._topics, options.suite):
                self.get_logger().warning(note)
            self._create_publishers(bag)
            self._wait_for_subscribers(options.wait_s)
            log = stack.enter_context(open(options.log_file, "w")) if options.log_file else None
            stack.callback(self._wait_until_delivered)
            published, played = 0, 0
            while rclpy.ok() and (options.loops == _UNTIL_INTERRUPTED or played < options.loops):
                published += self._play(bag, log, progress)
                played += 1
        return published

    def _declared(self) -> ReplayOptions:
        for name, default, description in _PARAMETERS:
            self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True))
        values = {name: self.get_parameter(name).value for name, _, _ in _PARAMETERS}
        values |= {name: expanded_text(values[name]) for name in ("bag", "schedule", "log_file")}
        texts = [text for text in values.pop("faults") if text]
        schedule = values.pop("schedule")
        bag = Path(values["bag"])
        settings = read_settings(bag)
        faults = read_plan(faults=texts, files=[Path(schedule)] if schedule else [], suite=settings.sensors)
        topics = tuple(settings.topics_for(settings.sensors))
        own = {"bag": bag, "faults": faults, "topics": topics, "suite": settings.sensors}
        return ReplayOptions(**values | own)

    def _check_start(self, bag: Recording) -> None:
        if bag.start_ns is None or bag.end_ns is None:
            raise UserError(f"{bag.path}: holds no message; record it anew or give another bag", "bag-empty")
        length_s = (bag.end_ns - bag.start_ns) / NS_PER_S
        if self._options.start_s > length_s:
            raise UserError(
                f"start_s {self._options.start_s:g} lies behind the end: {bag.path} lasts {length_s:.1f} s",
                "value-range",
            )

    def _create_publishers(self, bag: Recording) -> None:
        for topic in bag.topics.values():
            cls = message_class(topic.kind)
            if cls is None:
                self.get_logger().warning(f"{topic.name} is left out: {topic.kind} is not installed here")
                continue
            profile = qos.as_recorded(topic.qos, is_static=topic.name == "/tf_static")
            self._outgoing[topic.name] = self.create_publisher(cls, topic.name, profile)
            if profile.durability == qos.LATCHED.durability:
                self._latched.append(topic.name)
        if _CLOCK not in bag.topics:
            self._outgoing[_CLOCK] = self.create_publisher(Clock, _CLOCK, qos.REPLAY)
            self._last_clock_ns = 0

    def _wait_for_subscribers(self, wait_s: float) -> None:
        """For all sensors; a node needs no truth, so that is waited for no longer than somebody who judges may take."""
        sensors = {topic: self._outgoing[topic] for topic in self._topics.streams.values() if topic in self._outgoing}
        truth = {topic: self._outgoing[topic] for topic in (self._topics.truth,) if topic in self._outgoing}
        unheard = [*_unheard_after(wait_s, sensors), *_unheard_after(min(wait_s, _TRUTH_WAIT_S), truth)]
        if wait_s and unheard:
            self.get_logger().warning(f"nobody subscribes to {', '.join(unheard)}; starting nevertheless")
        elif wait_s:
            time.sleep(_SETTLING_S)

    def _play(self, bag: Recording, log: IO[str] | None, progress: Callable[[float, float], None] | None) -> int:
        options, published = self._options, 0
        start_ns, end_ns = bag.start_ns or 0, bag.end_ns or 0  # None: no message, and nothing to play
        first_ns = start_ns + round(options.start_s * NS_PER_S)
        if options.start_s > 0.0 and self._latched:
            self._publish_latched(bag, first_ns)
        began_ns: int | None = None
        pauses = PauseLog()
        with Prefetched(self._faulty(bag, first_ns, pauses), _PREFETCHED_MESSAGES) as messages:
            for message in messages:
                began_ns = time.monotonic_ns() if began_ns is None else began_ns
                paused_ns = pauses.within_ns(first_ns, message.time_ns)
                _sleep_until(began_ns + (message.time_ns - first_ns - paused_ns) / options.rate)
                if not rclpy.ok():
                    break
                published += self._publish(message, log)
                if not self._has_looked and time.monotonic_ns() - began_ns > _LOOK_AROUND_S * NS_PER_S:
                    self._look_for_wall_time()
                if progress is not None:
                    progress((message.time_ns - start_ns) / NS_PER_S, (end_ns - start_ns) / NS_PER_S)
        if not self._has_looked:
            self._look_for_wall_time()
        for pause in pauses.pauses:
            self.get_logger().warning(f"{pause.text(start_ns)}: not waited for")
        return published

    def _look_for_wall_time(self) -> None:
        """At another speed than the recorded one, whoever does not follow /clock sees sensors late or dead."""
        self._has_looked = True
        if self._options.rate == 1.0:
            return
        listeners = {name for topic in self._topics.streams.values() for name in self._subscribers(topic)}
        if late := sorted(listeners - self._subscribers(_CLOCK)):
            self.get_logger().warning(
                f"at rate {self._options.rate:g} {', '.join(late)} on wall time will take sensors for late or dead: "
                "start with use_sim_time:=true (--ros-args -p use_sim_time:=true) to follow /clock"
            )

    def _subscribers(self, topic: str) -> set[str]:
        """Full names of the nodes that listen to a topic, by the name that it has after remapping."""
        name = self._outgoing[topic].topic_name if topic in self._outgoing else topic
        found = self.get_subscriptions_info_by_topic(name)
        return {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found}

    def _faulty(self, bag: Recording, first_ns: int, pauses: PauseLog) -> Iterator[Recorded]:
        options = self._options
        injector = FaultInjector(options.faults, self._topics, options.seed, bag.start_ns, options.suite)
        self.injectors.append(injector)
        return (message for message in injector(pauses.watched(bag.messages())) if message.time_ns >= first_ns)

    def _publish_latched(self, bag: Recording, before_ns: int) -> None:
        """What late joiners of the real system would have got: latched messages from before the start."""
        for message in bag.messages(self._latched):
            if message.time_ns >= before_ns:
                return
            self._outgoing[message.topic].publish(message.data)

    def _publish(self, message: Recorded, log: IO[str] | None) -> int:
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
            sensor = self._topics.sensor_of(message.topic)
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


def _unheard_after(wait_s: float, publishers: Mapping[str, Publisher]) -> list[str]:
    """Topics without a subscriber: none as soon as all have one, else those after so long."""
    deadline_s = time.monotonic() + wait_s
    while True:
        unheard = [topic for topic, publisher in publishers.items() if not publisher.get_subscription_count()]
        if not unheard or time.monotonic() >= deadline_s or not rclpy.ok():
            return unheard
        time.sleep(0.05)


def _sleep_until(monotonic_ns: float) -> None:
    remaining_s = (monotonic_ns - time.monotonic_ns()) / NS_PER_S
    if remaining_s > 0:
        time.sleep(remaining_s)


def main(args: list[str] | None = None) -> None:
    """Entry point; one line and exit code 2 for bad input."""
    declared = {parameter: (default, text) for parameter, default, text in _PARAMETERS}
    require_ros_arguments(args, node_help(__doc__ or "", declared))
    init(args)
    node = None
    try:
        with ended_by_signal():
            node = ReplayNode()
            count = node.run()
            node.get_logger().info(f"replayed {count} messages")
    except UserError as error:
        sys.stderr.write(f"replay_node: {refusal(error)}\n")
        raise SystemExit(2) from None
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
