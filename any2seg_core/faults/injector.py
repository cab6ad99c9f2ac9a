"""FaultInjector: recorded messages in, recorded messages out, as a vehicle with these faults would have sent them."""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from any2seg_core.bags.codec import common_codec
from any2seg_core.bags.reader import Recorded, header_stamp_ns
from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.faults.kinds import KINDS, Delay, Drop, Duplicate, Fault, Freeze, Jitter, Reorder, Skew
from any2seg_core.faults.payloads import change_payload, shift_events
from any2seg_core.messages import event_array_from_cdr
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, THERMAL8, THERMAL16, Sensor
from any2seg_core.vocabulary.topics import TopicMap

_STAMP_OFFSET = 4  # of a serialised std_msgs/Header: after the CDR encapsulation
_EVENT_ARRAY = "/EventArray"
_RANK = {cls: rank for rank, cls in enumerate(KINDS.values())}


class FaultInjector:
    """Applies faults to a stream of messages in order of log time.

    What is random about a message depends on `seed`, the fault and the message's own stamp: not on other faults, not on
    the order of messages, not on where a replay began. Faults act on one message in the order of `KINDS`. A message
    that cannot be read passes unchanged and is counted in `unreadable`; what cannot be done to a whole topic
    `check_faults` refuses before the run. Memory: the messages of the longest delay.

    Args:
        faults: the plan. topics: which topic is which sensor; losses and delays take a sensor's camera_info with them.
        seed: of all draws. start_ns: log time that the windows count from; None: its first message.
        suite: the sensors that the plan and the topics are of.

    Attributes:
        counts: text of the fault -> sensor -> number of messages that it changed.
        unreadable: the same of messages that it should have changed and that could not be read.

    Examples:
        >>> injector = FaultInjector(read_plan(["camera@4:8"]), carla_bridge())
        >>> for message in injector(bag.messages()): ...
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        topics: TopicMap,
        seed: int = 0,
        start_ns: int | None = None,
        suite: SensorSuite = VEHICLE,
    ) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: _RANK[type(fault)]))
        self.counts: dict[str, Counter[str]] = {str(fault): Counter() for fault in faults}
        self.unreadable: dict[str, Counter[str]] = {str(fault): Counter() for fault in faults}
        self._topics, self._seed, self._suite = topics, seed, suite
        self._start_ns, self._passed_s = start_ns, 0.0
        self._delayed: list[tuple[int, int, Recorded]] = []  # heap of (arrival, number, message)
        self._number = 0
        self._overtaken: dict[tuple[Fault, str], Recorded] = {}
        self._frozen: dict[tuple[Fault, str], Recorded] = {}
        self._streams = {topic: name for name, topic in topics.streams.items()}

    def __call__(self, messages: Iterable[Recorded]) -> Iterator[Recorded]:
        """The messages that arrive, in order of arrival; `time_ns` is the time of arrival."""
        if not self.faults:
            yield from messages
            return
        last_ns = 0
        for message in messages:
            last_ns = message.time_ns
            yield from self._push(message)
        for message in self._overtaken.values():
            self._delay(replace(message, time_ns=max(message.time_ns, last_ns)))
        self._overtaken.clear()
        yield from self._arrived(None)

    def idle(self) -> list[str]:
        """One line for each fault that has hit nothing although it was its time."""
        idle = [fault for fault in self.faults if not self.counts[str(fault)] and not self.unreadable[str(fault)]]
        return [f"fault {fault} hit no message" for fault in idle if fault.start_s <= self._passed_s]

    def _push(self, message: Recorded) -> Iterator[Recorded]:
        if self._start_ns is None:
            self._start_ns = message.time_ns
        yield from self._arrived(message.time_ns)
        sensor = self._topics.sensor_of(message.topic)
        if sensor is None:
            yield message
            return
        for faulty in self._apply(message, sensor):
            if faulty.time_ns > message.time_ns:
                self._delay(faulty)
            else:
                yield faulty

    def _delay(self, message: Recorded) -> None:
        self._number += 1
        heapq.heappush(self._delayed, (message.time_ns, self._number, message))

    def _arrived(self, now_ns: int | None) -> Iterator[Recorded]:
        while self._delayed and (now_ns is None or self._delayed[0][0] <= now_ns):
            yield heapq.heappop(self._delayed)[2]

    def _apply(self, message: Recorded, sensor: str) -> list[Recorded]:
        try:
            stamp_ns = header_stamp_ns(message.data)
        except MessageError:
            return [message]
        time_s = self._passed_s = (message.time_ns - (self._start_ns or 0)) / NS_PER_S
        passing = [message]
        for fault in self.faults:
            if sensor not in fault.sensors:
                continue
            if isinstance(fault, Reorder):
                passing = self._release_overtaken(fault, message.topic, passing)
            if not fault.is_active(time_s):
                if isinstance(fault, Freeze) and time_s < fault.start_s:
                    self._frozen[fault, message.topic] = message
                continue
            rng = np.random.default_rng([self._seed, fault.seed, self._suite.members.index(sensor), stamp_ns])
            if rng.random() >= fault.probability or not passing:
                continue
            try:
                changed = self._act(fault, message.topic, passing, time_s, rng)
            except MessageError:
                self.unreadable[str(fault)][sensor] += message.topic in self._streams
                continue
            if changed != passing:
                self.counts[str(fault)][sensor] += message.topic in self._streams
                passing = changed
        return passing

    def _act(
        self, fault: Fault, topic: str, passing: list[Recorded], time_s: float, rng: np.random.Generator
    ) -> list[Recorded]:
        """What becomes of the copies of one message; the same list when nothing does."""
        if isinstance(fault, Drop):
            return []
        if isinstance(fault, Delay | Jitter):
            late_s = fault.delay_s if isinstance(fault, Delay) else rng.uniform(0.0, fault.max_s)
            return [replace(each, time_ns=each.time_ns + round(late_s * NS_PER_S)) for each in passing]
        if topic not in self._streams:
            return passing  # the rest is about measurements
        if isinstance(fault, Duplicate):
            return [each for each in passing for _ in range(1 + fault.copies)]
        if isinstance(fault, Reorder):
            return self._hold(fault, topic, passing)
        if isinstance(fault, Freeze):
            frozen = self._frozen.setdefault((fault, topic), passing[0])
            return [self._restamped(frozen, header_stamp_ns(each.data), each, is_repeated=True) for each in passing]
        if isinstance(fault, Skew):
            shift_ns = round((fault.offset_s + (time_s - fault.start_s) * fault.drift_ppm * 1e-6) * NS_PER_S)
            return [self._restamped(each, header_stamp_ns(each.data) + shift_ns, each) for each in passing]
        # One broken beam stays broken: the draw is the fault's, not the message's.
        own = np.random.default_rng([self._seed, fault.seed]) if "share" in fault.parameters() else rng
        counts = is_counts(self._suite.sensor(self._streams[topic]))
        return [with_changed_payload(each, fault, own, counts) for each in passing]

    def _release_overtaken(self, fault: Fault, topic: str, passing: list[Recorded]) -> list[Recorded]:
        held = self._overtaken.pop((fault, topic), None) if passing else None
        return passing if held is None else [*passing, replace(held, time_ns=passing[-1].time_ns)]

    def _hold(self, fault: Fault, topic: str, passing: list[Recorded]) -> list[Recorded]:
        if len({header_stamp_ns(each.data) for each in passing}) > 1:
            return passing  # it has just overtaken the one before
        self._overtaken[fault, topic] = passing[0]
        return passing[1:]

    def _restamped(self, source: Recorded, stamp_ns: int, carrier: Recorded, is_repeated: bool = False) -> Recorded:
        """`carrier` with the content of `source` and a stamp of its own; event times move along with the stamp."""
        data = bytearray(source.data)
        shift_ns = stamp_ns - header_stamp_ns(source.data)
        order = "<" if data[1] & 1 else ">"
        struct.pack_into(f"{order}iI", data, _STAMP_OFFSET, *divmod(stamp_ns, NS_PER_S))
        moved = replace(carrier, data=bytes(data))
        if shift_ns and self._suite.sensor(self._streams[carrier.topic]).kind == EVENTS:
            moved = with_shifted_events(moved, shift_ns, is_repeated)
        return moved


def is_counts(sensor: Sensor) -> bool:
    """Whether its images hold counts and no display values, see `change_payload`."""
    return sensor.format in (THERMAL8, THERMAL16)


def with_changed_payload(message: Recorded, fault: Fault, rng: np.random.Generator, counts: bool = False) -> Recorded:
    """See `change_payload`; MessageError where it cannot be done."""
    return _decoded(message, lambda decoded: change_payload(decoded, fault, rng, counts))


def with_shifted_events(message: Recorded, shift_ns: int, is_repeated: bool) -> Recorded:
    """See `shift_events`; MessageError where it cannot be done."""
    return _decoded(message, lambda decoded: shift_events(decoded, shift_ns, is_repeated))


def _decoded(message: Recorded, change: Callable[[Any], Any]) -> Recorded:
    """The message with `change` applied to its decoded form."""
    try:
        if message.kind.endswith(_EVENT_ARRAY):
            return replace(message, data=change(event_array_from_cdr(message.data)).cdr)
        codec = message.codec or common_codec(message.kind)
        decoded = codec.decode(message.data)
        changed = change(decoded)
        return message if changed is decoded else replace(message, data=codec.encode(changed))
    except MessageError:
        raise
    except (LookupError, ValueError) as error:  # fields that contradict each other, found by NumPy
        raise MessageError(f"{message.kind}: {error}", "value") from None
