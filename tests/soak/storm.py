"""Sensors whose drivers die and come back at random: a schedule out of a seed, and the publishers that follow it.

A sensor dies with its publisher, or with its whole process: then its DDS participant leaves too.
"""

from __future__ import annotations

import random
import threading
import time
from typing import NamedTuple

import fake_car
import rclpy
from fake_car import NS_PER_S, OFFSETS_NS, PERIOD_NS, START_NS, TOPICS, TYPES
from sensor_msgs.msg import Image, PointCloud2

from any2seg_core.vocabulary.modalities import VEHICLE

_KINDS = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/PointCloud2": PointCloud2}
_MEAN_S = 0.5  # between two events of any sensor
_ESTABLISHED_S = 2.0  # so long a sensor must have been there before it may be the only one
_PARTICIPANT_SHARE = 0.2
_JITTER_S = 0.005
LISTENERS = 2  # the node and the bare one


class Event(NamedTuple):
    """At `at_s` a sensor is killed or revived; `whole`: its participant with it."""

    at_s: float
    sensor: str
    is_alive: bool
    whole: bool


def schedule(seed: int, seconds: float) -> list[Event]:
    """Kills and revivals in order; all are alive at first, and always one that has been for two seconds."""
    rng, events, now_s = random.Random(seed), [], 0.0
    since_s = dict.fromkeys(VEHICLE.members, -_ESTABLISHED_S)  # sensor -> alive since, None: dead
    whole = dict.fromkeys(VEHICLE.members, False)
    while (now_s := now_s + rng.expovariate(1.0 / _MEAN_S)) < seconds:
        sensor = rng.choice(VEHICLE.members)
        if since_s[sensor] is None:
            since_s[sensor] = now_s
            events.append(Event(now_s, sensor, True, whole[sensor]))
            continue
        others = [since_s[name] for name in VEHICLE.members if name != sensor and since_s[name] is not None]
        if any(now_s - began_s >= _ESTABLISHED_S for began_s in others):
            since_s[sensor], whole[sensor] = None, rng.random() < _PARTICIPANT_SHARE
            events.append(Event(now_s, sensor, False, whole[sensor]))
    return events


class Driver:
    """One sensor at 10 Hz in a thread of its own, with a participant of its own.

    Args:
        sensor: modality. events: what becomes of it. begin_s: steady clock of time 0. domain: of ROS.

    Attributes:
        sent_ns: stamp -> steady clock when it was published, of messages for which both listeners were matched.
    """

    def __init__(self, sensor: str, events: list[Event], seed: int, domain: int) -> None:
        self.sensor = sensor
        self.sent_ns: dict[int, int] = {}
        self.kills = 0
        self._events, self._domain = list(reversed(events)), domain
        self._rng = random.Random(f"{seed} {sensor}")
        self._running, self._thread = True, None
        self._context = self._node = self._publisher = None
        self._create()

    @property
    def listeners(self) -> int:
        """Subscriptions that the publisher knows of."""
        return 0 if self._publisher is None else self._publisher.get_subscription_count()

    def start(self, begin_s: float) -> None:
        """Drive from time 0 on."""
        self._thread = threading.Thread(target=self._drive, args=(begin_s,), name=f"driver-{self.sensor}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and leave the graph."""
        self._running = False
        if self._thread is not None:
            self._thread.join(5.0)
        self._destroy(whole=True)

    def _drive(self, begin_s: float) -> None:
        number = 0
        while self._running:
            now_s = time.monotonic() - begin_s
            while self._events and self._events[-1].at_s <= now_s:
                self._happen(self._events.pop())
            due_s = number * PERIOD_NS / NS_PER_S + self._rng.uniform(0.0, _JITTER_S)
            next_s = min(due_s, self._events[-1].at_s) if self._events else due_s
            if next_s > now_s:
                time.sleep(next_s - now_s)
                continue
            if self._publisher is not None:
                self._publish(START_NS + number * PERIOD_NS + OFFSETS_NS[self.sensor])
            number = max(number + 1, int((time.monotonic() - begin_s) * NS_PER_S / PERIOD_NS))

    def _publish(self, stamp_ns: int) -> None:
        data = fake_car.message(self.sensor, stamp_ns)
        now_ns, is_matched = time.monotonic_ns(), self.listeners == LISTENERS
        self._publisher.publish(data)
        if is_matched:
            self.sent_ns[stamp_ns] = now_ns

    def _happen(self, event: Event) -> None:
        if event.is_alive:
            self._create()
        else:
            self.kills += 1
            self._destroy(event.whole)

    def _create(self) -> None:
        if self._node is None:
            self._context = rclpy.Context()
            rclpy.init(args=[], context=self._context, domain_id=self._domain)
            self._node = rclpy.create_node(f"driver_{self.sensor}", context=self._context)
        self._publisher = self._node.create_publisher(_KINDS[TYPES[self.sensor]], TOPICS.streams[self.sensor], 10)

    def _destroy(self, whole: bool) -> None:
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None
        if whole and self._node is not None:
            self._node.destroy_node()
            self._node = None
            rclpy.shutdown(context=self._context)
            self._context.destroy()
