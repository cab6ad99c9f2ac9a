"""Faults as text of the command line.

    --drop camera@4:8,lidar@10:          sensors that are silent: from 4 to 8 s, and from 10 s to the end
    --fault blur:rgb@2:5,length=0.08     kind:sensors@start:end,parameter=value
    --fault delay:lidar+camera,delay_s=0.2    several sensors; no window: the whole recording
    --fault noise                        no sensor: all that can have this fault
    --faults plan.yaml                   a list of {kind, sensors, start_s, end_s, ...}

Seconds count from the first message of the recording. Sensors are subsets of a suite as everywhere (`parse_subset`):
camera, rgb, R, RL, camera+lidar, all. A comma separates subsets, so a fault, which has one, is written
delay:lidar+camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_core.faults.kinds import KINDS, Fault, load_faults, make_fault
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.subsets import parse_subset


def parse_drop(text: str, suite: SensorSuite = VEHICLE) -> tuple[Fault, ...]:
    """Read ``camera@4:8,lidar@10:`` as drops; UserError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    faults = []
    for part in parts:
        sensors, at, window = part.partition("@")
        try:
            start_s, end_s = _window(window if at else ":")
            faults.append(make_fault("drop", suite, sensors=sensors, start_s=start_s, end_s=end_s))
        except UserError as error:
            raise UserError(f"drop {part!r}: {error}; write for example camera@4:8,lidar@10:", error.code) from None
    return tuple(faults)


def parse_fault(text: str, suite: SensorSuite = VEHICLE) -> Fault:
    """Read ``blur:rgb@2:5,length=0.08``; UserError for anything else."""
    head, *pairs = (part.strip() for part in text.split(","))
    target, at, window = head.partition("@")
    kind, _, sensors = target.partition(":")
    example = "write for example blur:rgb@2:5,length=0.08"
    if kind not in KINDS:
        raise UserError(
            f"fault {text!r}: unknown kind {kind!r}, known are {', '.join(KINDS)}; {example}", "value-unknown"
        )
    fields: dict[str, object] = {}
    try:
        fields["start_s"], fields["end_s"] = _window(window if at else ":")
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals and _is_subset(more := pair.partition("@")[0], suite):
                sensors += f",{more}"  # two subsets, which `parse_subset` refuses with the words for it
                continue
            if not equals or name not in KINDS[kind].parameters():
                known = ", ".join(KINDS[kind].parameters())
                raise UserError(f"{pair!r} is no name=value with one of {known}", "value-format")
            fields[name] = value
        return make_fault(kind, suite, sensors=sensors or "all", **fields)
    except UserError as error:
        raise UserError(f"fault {text!r}: {error}; {example}", error.code) from None


def read_plan(
    drops: Sequence[str] = (),
    faults: Sequence[str] = (),
    files: Sequence[Path] = (),
    suite: SensorSuite = VEHICLE,
) -> tuple[Fault, ...]:
    """All faults that a command line names, in the order drops, faults, files; of the sensors of a suite."""
    plan = [fault for text in drops for fault in parse_drop(text, suite)]
    plan += [parse_fault(text, suite) for text in faults]
    plan += [fault for path in files for fault in load_faults(path, suite)]
    return tuple(plan)


def _is_subset(text: str, suite: SensorSuite) -> bool:
    try:
        return bool(parse_subset(text, suite))
    except UserError:
        return False


def _window(text: str) -> tuple[float, float | None]:
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return (float(start) if start.strip() else 0.0), (float(end) if end.strip() else None)
    except ValueError:
        raise UserError(f"window {text!r} is not start:end in seconds", "value-format") from None
