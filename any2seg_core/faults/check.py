"""Checks a fault plan against a recording before the run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from any2seg_core.bags.reader import Recorded, Recording
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.faults.injector import is_counts, with_changed_payload, with_shifted_events
from any2seg_core.faults.kinds import KINDS, Fault, Freeze, Skew
from any2seg_core.faults.payloads import CONTENT_FAULTS
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, Sensor
from any2seg_core.vocabulary.topics import TopicMap

_TRIES = 5  # a recording may begin with a broken message


def check_faults(
    faults: Sequence[Fault], bag: Recording, topics: TopicMap, suite: SensorSuite = VEHICLE
) -> list[str]:
    """Try each fault on the first messages of its sensors, which are those of a suite.

    Returns:
        What should be known before the run, one line each: faults that never act.

    Raises:
        UserError: a fault none of whose sensors is recorded, or that cannot be done to messages of such a type; it
            names the topic.
    """
    trials: list[tuple[Fault, Sensor]] = []
    for fault in faults:
        there = [name for name in fault.sensors if name in topics.streams]
        if not there:
            has = ", ".join(topics.streams) or "none of the sensors"
            raise UserError(
                f"fault {fault}: the recording has no {', '.join(fault.sensors)}; it has {has}", "sensor-absent"
            )
        for name in there:
            sensor = suite.sensor(name)
            moves_events = sensor.kind == EVENTS and isinstance(fault, Freeze | Skew)
            if isinstance(fault, CONTENT_FAULTS) or moves_events:
                trials.append((fault, sensor))
    for fault, sensor in trials:
        _try(fault, bag, topics.streams[sensor.name], sensor)
    length_s = 0.0 if bag.start_ns is None or bag.end_ns is None else (bag.end_ns - bag.start_ns) / NS_PER_S
    return [
        f"fault {fault} never acts: the recording lasts {length_s:.1f} s"
        for fault in faults if fault.start_s > length_s
    ]  # fmt: skip


def _try(fault: Fault, bag: Recording, topic: str, sensor: Sensor) -> None:
    problem = ""
    for number, message in enumerate(bag.messages([topic])):
        try:
            _act(fault, message, sensor)
            return
        except MessageError as error:
            problem = str(error)
        if number + 1 == _TRIES:
            break
    if problem:
        others = [kind for kind, cls in KINDS.items() if cls not in CONTENT_FAULTS and not isinstance(fault, cls)]
        raise UserError(
            f"fault {fault}: cannot be done to {topic} ({bag.topics[topic].kind}): {problem}; choose among "
            f"{', '.join(kind for kind in others if kind not in ('freeze', 'skew'))}, or leave this sensor out",
            "fault-impossible",
        )


def _act(fault: Fault, message: Recorded, sensor: Sensor) -> None:
    if isinstance(fault, CONTENT_FAULTS):
        with_changed_payload(message, fault, np.random.default_rng(0), is_counts(sensor))
    else:
        with_shifted_events(message, NS_PER_S, is_repeated=isinstance(fault, Freeze))
