"""What the node says of itself: level, state and one line, from everything that is wrong at the moment. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import NamedTuple

from any2seg_core.runtime.freshness import ERROR, OK, WARN
from any2seg_core.runtime.reliability import Reliability
from any2seg_core.sync import StreamStats, SyncConfig, SyncStats
from any2seg_ros.segmenter import LiveResult

ABSENT = ("never_seen", "dead")


@dataclass(frozen=True)
class Snapshot:
    """What the node knows at the moment of a report.

    Attributes:
        stats, config: of the synchroniser. fates, refused: modality -> messages outside of it, see `Accounts`.
        overrun: sets replaced by newer ones before the model was free.
        publishers, incompatible: modality -> publishers of its topic, and those whose quality of service did not match.
        enabled: as set by ~/enable. model, device: of the loaded model, engine: what runs it.
        event_counts: of the decoder of event packets. lacks_clock: time is simulated and nobody has told it.
        extrinsics: as the segmenter has them. busy_s: how long the model has been at its present set, 0: at none.
        deadline_s: for a set. patience_s: silence beyond it is an error. reliability: modality -> its score.
        encodings: modality -> how often it was encoded and reused.
    """

    stats: SyncStats
    config: SyncConfig
    overrun: int = 0
    publishers: Mapping[str, int] = field(default_factory=dict)
    incompatible: Mapping[str, int] = field(default_factory=dict)
    enabled: bool = True
    model: str = ""
    device: str = ""
    engine: Mapping[str, str] = field(default_factory=dict)
    event_counts: Mapping[str, int] = field(default_factory=dict)
    extrinsics: Mapping[str, str] = field(default_factory=dict)
    lacks_clock: bool = False
    fates: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    busy_s: float = 0.0
    deadline_s: float = 1.0
    patience_s: float = 0.6
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    encodings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def sensors(self) -> tuple[str, ...]:
        """Modalities that are not switched off."""
        return tuple(name for name, stream in self.config.streams.items() if stream.enabled)

    @property
    def leaders(self) -> tuple[str, ...]:
        """Those of them that may lead, best first."""
        return tuple(name for name in self.config.reference_priority if name in self.sensors)


@dataclass
class Counts:
    """What happened so far.

    Attributes:
        labels: published. failed: sets on which the model failed. unusable: sets without one usable message.
        idle: sets that nobody wanted. labels_too_old, sets_too_old: dropped after and before the model.
        not_finite: labels with pixels whose logits were no numbers. callback_errors: unexpected exceptions.
    """

    labels: int = 0
    failed: int = 0
    unusable: int = 0
    idle: int = 0
    labels_too_old: int = 0
    sets_too_old: int = 0
    not_finite: int = 0
    callback_errors: int = 0

    def since(self, before: Counts) -> Counts:
        """What happened after `before`."""
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


class SensorFault(NamedTuple):
    """What is wrong with a sensor: a stable key, and one line for people without its name."""

    reason: str
    text: str


class Judgement(NamedTuple):
    """Level as in DiagnosticStatus, fusion_state and message."""

    level: int
    state: str
    message: str


@dataclass(frozen=True)
class Situation:
    """All that is judged.

    Attributes:
        snapshot: of the node. new: what happened since the last report. last: newest label, None: none yet.
        silence_s: since the last label, or the last sign of why there is none.
        faults: modality -> what is wrong with it now. bad_stamps: modality -> messages without a stamp of late.
        slow: level and text of the model that is too slow.
        last_error, last_unusable, last_too_old, last_callback_error, invalid_share: the newest of each.
    """

    snapshot: Snapshot
    new: Counts
    last: LiveResult | None
    silence_s: float
    faults: Mapping[str, SensorFault]
    bad_stamps: Mapping[str, int]
    slow: tuple[int, str] = (OK, "")
    last_error: str = ""
    last_unusable: str = ""
    last_too_old: str = ""
    last_callback_error: str = ""
    invalid_share: float = 0.0


def judge(now: Situation) -> Judgement:
    """The worst of all that is wrong gives level and state; the message names everything."""
    if not now.snapshot.enabled:
        return Judgement(OK, "disabled", "disabled by ~/enable")
    if not now.snapshot.sensors:
        return Judgement(OK, "disabled", "all sensors are switched off: set SENSOR.enabled of at least one")
    is_idle = bool(now.new.idle and not now.new.labels)
    found = [*_model(now), *_silence(now)]
    if not is_idle and not any(each.state == "stalled" for each in found):
        found += _sensors(now)
    found += _callbacks(now)
    if not found or is_idle and all(each.level == OK for each in found):
        return _quiet(now, is_idle)
    worst = max(found, key=lambda each: each.level)
    return Judgement(worst.level, worst.state, "; ".join(each.message for each in found))


def _quiet(now: Situation, is_idle: bool) -> Judgement:
    if is_idle:
        return Judgement(OK, "idle", "nobody listens, nothing is computed")
    if now.last is None:
        return Judgement(OK, "idle", "waiting for the first label")
    off = [name for name in now.snapshot.config.streams if name not in now.snapshot.sensors]
    return Judgement(OK, "ok", "all sensors fused" + (f", switched off: {', '.join(off)}" if off else ""))


def _model(now: Situation) -> Iterator[Judgement]:
    """What happened to sets since the last report, and what the model is doing."""
    new, without_labels = now.new, "degraded" if now.new.labels else "stalled"
    if new.failed:
        yield Judgement(ERROR, without_labels, f"model: {now.last_error}")
    if new.unusable:
        yield Judgement(ERROR, without_labels, f"no usable message: {now.last_unusable}")
    if new.not_finite:
        yield Judgement(ERROR, "degraded", f"labels not finite: {100 * now.invalid_share:.0f} % of the pixels")
    if new.labels_too_old or new.sets_too_old:
        yield Judgement(WARN if new.labels else ERROR, without_labels, now.last_too_old)
    level, text = now.slow
    if level != OK:
        yield Judgement(level, "degraded", text)


def _callbacks(now: Situation) -> Iterator[Judgement]:
    if now.new.callback_errors:
        yield Judgement(WARN, "degraded", f"callback failed: {now.last_callback_error}")


def _silence(now: Situation) -> Iterator[Judgement]:
    """Beyond the time for which the model is busy: that is judged by its deadline."""
    if now.silence_s - now.snapshot.busy_s > now.snapshot.patience_s:
        yield Judgement(ERROR, "stalled", f"no label for {now.silence_s:.1f} s{_why_stalled(now)}")


def _why_stalled(now: Situation) -> str:
    snapshot, streams = now.snapshot, now.snapshot.stats.streams
    if snapshot.lacks_clock:
        return ": use_sim_time is true and nothing comes on /clock"
    required = [name for name, config in snapshot.config.streams.items() if config.required]
    lacking = [f"{name} is {streams[name].state}" for name in required if streams[name].state != "alive"]
    if lacking:
        return f": required {', '.join(lacking)}"
    unmatched = [name for name in streams if snapshot.incompatible.get(name)]
    if unmatched:
        return f": incompatible quality of service on {', '.join(unmatched)}"
    if not snapshot.leaders:
        return ": every sensor of reference_priority is switched off"
    if snapshot.busy_s:
        return f": the model is busy with a set for {snapshot.busy_s:.1f} s"
    stamps = [f"{name} ({now.bad_stamps[name]} messages)" for name in streams if now.bad_stamps.get(name)]
    lying = [name_fault(name, fault) for name, fault in now.faults.items() if fault.reason not in ABSENT]
    silent = [name for name in streams if name in now.faults and now.faults[name].reason in ABSENT]
    silent = [name for name in silent if not now.bad_stamps.get(name)]
    reasons = [
        *([f"stamps that are zero or negative come from {', '.join(stamps)}"] if stamps else ()),
        *lying,
        *([f"nothing comes from {', '.join(silent)}"] if silent and not stamps else ()),
    ]
    return f": {'; '.join(reasons)}" if reasons else ""


def _sensors(now: Situation) -> Iterator[Judgement]:
    """Sensors that are not in the last label, and those that are although something is wrong with them."""
    last, sensors = now.last, now.snapshot.sensors
    missing = {} if last is None else {name: why for name, why in last.missing.items() if name in sensors}
    if last is not None and missing:
        has_reference = last.reference in now.snapshot.leaders[:1]
        words = [f"{name} ({now.faults[name].text if name in now.faults else why})" for name, why in missing.items()]
        yield Judgement(WARN, "partial" if has_reference else "degraded", f"partial: without {', '.join(words)}")
    others = [
        name_fault(name, fault)
        for name, fault in now.faults.items()
        if name not in missing and fault.reason not in ABSENT
    ]
    if others:
        yield Judgement(WARN, "partial", "; ".join(others))


def name_fault(name: str, fault: SensorFault) -> str:
    """One line that names the sensor."""
    return f"{name}: {fault.text}"


def state_fault(stream: StreamStats) -> SensorFault | None:
    """What the state of a stream says by itself."""
    texts = {"never_seen": "nothing came so far", "dead": "nothing new comes any more"}
    return SensorFault(stream.state, texts[stream.state]) if stream.state in texts else None
