"""/diagnostics after REP 107: rates, drops with reasons and errors of the node, once per second and at every change."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.base.units import NS_PER_S
from any2seg_core.runtime.accounts import FUSED, WAITING
from any2seg_core.runtime.freshness import DeadlineWatch
from any2seg_core.runtime.reliability import Reliability
from any2seg_core.sensors.health import HEALTH_REASONS
from any2seg_core.sync import StreamStats
from any2seg_ros.judgement import Counts, Judgement, SensorFault, Situation, Snapshot, judge, state_fault
from any2seg_ros.segmenter import LiveResult

_DROPS = {"unmatched": "no_match"}  # the synchroniser's word -> the key of the message
_ALWAYS_TOLD = ("unmatched", "late", "queue", "jump", "overrun", "too_old", "failed", "idle", "disabled")
_NEW_S = 1.0
_RECENT_S = 1.5  # so long what was wrong with a message is wrong with its sensor
_RECENT_WHEN_DEAD_S = 0.5
_RECENT_PERIODS = 2.5
_LONGEST_INTERVAL_S = 2.0


def pairs(values: Mapping[str, object]) -> list[KeyValue]:
    """Values as diagnostics carry them."""
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]


def reliability_values(reliability: Reliability) -> dict[str, str]:
    """Score and parts, 0 to 1."""
    parts = {f"reliability.{part}": f"{value:.2f}" for part, value in reliability.parts.items()}
    return {"reliability": f"{reliability.score:.2f}", **parts}


class _Content(NamedTuple):
    """What was wrong with the newest message that could not be used, when, and how long after the one before."""

    fault: SensorFault
    at_s: float
    interval_s: float

    def lasts_s(self, stream: StreamStats) -> float:
        """How long it explains the state of its sensor: once nothing comes any more, that is the reason."""
        least_s = _RECENT_S if stream.state == "alive" else _RECENT_WHEN_DEAD_S
        period_s = max((stream.period_ns or 0) / NS_PER_S, self.interval_s)
        return max(least_s, _RECENT_PERIODS * period_s)


class Monitor:
    """Counts what happens in the node and turns it into a diagnostics message. Any thread.

    Counters only grow; a node that is configured anew starts a new monitor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()
        self._last_error = self._last_unusable = self._last_too_old = self._last_callback_error = ""
        self._invalid_share = 0.0
        self._latency_ms = 0.0
        self._refused_infos: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        """Labels are expected from now on: silence before is none."""
        with self._lock:
            self._last: LiveResult | None = None
            self._last_sign_s = time.monotonic()  # of a label, or of the reason why there is none
            self._reported = (self._last_sign_s, self._counts.labels)
            self._history = deque([(self._last_sign_s, replace(self._counts))])
            self._reported_as: tuple[object, ...] = ()
            self._watch = DeadlineWatch()
            self._faults: dict[str, _Content] = {}
            self._bad_stamps: dict[str, tuple[float, int]] = {}

    def expect_labels(self) -> None:
        """Silence before now is none: the node or its sensors were switched off."""
        with self._lock:
            self._last_sign_s = time.monotonic()

    def camera_info_refused(self, name: str) -> None:
        """A camera_info of a modality could not be used."""
        with self._lock:
            self._refused_infos[name] += 1

    def at_fault(self, name: str, reason: str, text: str) -> None:
        """A message of a modality could not be used, or its sensor is ill."""
        with self._lock:
            now_s = time.monotonic()
            before_s = self._faults[name].at_s if name in self._faults else now_s
            fault = SensorFault(reason, text.removeprefix(f"{name}: "))
            self._faults[name] = _Content(fault, now_s, min(now_s - before_s, _LONGEST_INTERVAL_S))

    def failed(self, error: Exception) -> None:
        """A set gave no label."""
        with self._lock:
            self._counts.failed += 1
            self._last_error = repr(error)

    def unusable(self, text: str) -> None:
        """A set gave no label, because no message of it could be used."""
        with self._lock:
            self._counts.unusable += 1
            self._last_unusable = text

    def idle(self) -> None:
        """A set was not segmented, because nobody listens."""
        with self._lock:
            self._counts.idle += 1
            self._last_sign_s = time.monotonic()

    def took(self, inference_s: float, deadline_s: float) -> None:
        """The model has finished a set."""
        with self._lock:
            self._watch.done(inference_s, deadline_s)

    def too_old(self, age_s: float, limit_s: float, was_computed: bool) -> str:
        """A label was dropped before it was published, or its set before it was computed; returns the line to log."""
        with self._lock:
            self._counts.labels_too_old += was_computed
            self._counts.sets_too_old += not was_computed
            what = "label" if was_computed else "set"
            self._last_too_old = f"{what} dropped: {age_s:.1f} s old, max_label_age_s is {limit_s:.1f}"
            return self._last_too_old

    def published(self, result: LiveResult) -> None:
        """A label went out."""
        with self._lock:
            self._counts.labels += 1
            self._last = result
            self._last_sign_s = time.monotonic()
            self._latency_ms = (time.monotonic_ns() - result.received_ns) / 1e6
            if result.invalid_share > 0.0:
                self._counts.not_finite += 1
                self._invalid_share = result.invalid_share

    def callback_failed(self, name: str, error: Exception) -> None:
        """A callback raised what nobody expected."""
        with self._lock:
            self._counts.callback_errors += 1
            self._last_callback_error = f"{name}: {error!r}"

    def is_due(self, snapshot: Snapshot, period_s: float) -> bool:
        """Whether a report is to be made: a period has passed, or what is wrong is no longer what was reported last."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._reported[0] >= period_s:
                return True
            situation = self._situation(snapshot, now_s)
            return self._reported_as != _kind(situation, judge(situation))

    def message(self, snapshot: Snapshot, node_name: str) -> DiagnosticArray:
        """Everything known now; the stamp is left to the caller."""
        with self._lock:
            now_s = time.monotonic()
            situation = self._situation(snapshot, now_s)
            judgement = judge(situation)
            then_s, labels = self._reported
            rate_hz = (self._counts.labels - labels) / max(now_s - then_s, 1e-9)
            values = self._values(snapshot, situation, rate_hz, judgement.state)
            self._reported = (now_s, self._counts.labels)
            self._reported_as = _kind(situation, judgement)
        level = bytes((judgement.level,))
        status = DiagnosticStatus(
            level=level, name=f"{node_name}: fusion", message=judgement.message, values=pairs(values)
        )
        return DiagnosticArray(status=[status])

    def _situation(self, snapshot: Snapshot, now_s: float) -> Situation:
        bad_stamps = self._recent_bad_stamps(snapshot, now_s)
        streams = snapshot.stats.streams
        faults = {name: self._fault(name, stream, now_s) for name, stream in streams.items()}
        return Situation(
            snapshot=snapshot,
            new=self._new(now_s),
            last=self._last,
            silence_s=now_s - self._last_sign_s,
            faults={name: fault for name, fault in faults.items() if fault is not None},
            bad_stamps={name: count for name, count in bad_stamps.items() if streams[name].state != "alive"},
            slow=self._watch.judge(snapshot.busy_s, snapshot.deadline_s),
            last_error=self._last_error,
            last_unusable=self._last_unusable,
            last_too_old=self._last_too_old,
            last_callback_error=self._last_callback_error,
            invalid_share=self._invalid_share,
        )

    def _new(self, now_s: float) -> Counts:
        """What happened in the last second, or since the look before it."""
        while len(self._history) > 1 and self._history[1][0] <= now_s - _NEW_S:
            self._history.popleft()
        new = self._counts.since(self._history[0][1])
        self._history.append((now_s, replace(self._counts)))
        return new

    def _recent_bad_stamps(self, snapshot: Snapshot, now_s: float) -> dict[str, int]:
        """Modality -> messages without a usable stamp, where one came of late: older ones explain nothing."""
        recent = {}
        for name, stream in snapshot.stats.streams.items():
            count = stream.dropped["bad_stamp"] + snapshot.fates.get(name, {}).get("stamp", 0)
            changed_s, before = self._bad_stamps.get(name, (now_s, 0))
            if count != before:
                changed_s = now_s
            self._bad_stamps[name] = changed_s, count
            if count and now_s - changed_s < _RECENT_S:
                recent[name] = count
        return recent

    def _fault(self, name: str, stream: StreamStats, now_s: float) -> SensorFault | None:
        """What is wrong with a sensor now: its messages as they come, what they hold, or that none comes."""
        known = self._faults.get(name)
        recent = known if known is not None and now_s - known.at_s < known.lasts_s(stream) else None
        if stream.fault is not None and not (recent and stream.fault.reason == "unusable"):
            return SensorFault(*stream.fault)
        if recent:
            return recent.fault
        return state_fault(stream)

    def _values(self, snapshot: Snapshot, now: Situation, label_rate_hz: float, state: str) -> dict[str, object]:
        last, stats, counts = self._last, snapshot.stats, self._counts
        stamps_ns = [stamp for own in last.stamps_ns.values() for stamp in own] if last else []
        values: dict[str, object] = {
            "fusion_state": state,
            "enabled": snapshot.enabled,
            "reference_stream": stats.reference or "",
            "reference_timestamp_min": _seconds(min(stamps_ns, default=None)),
            "reference_timestamp_max": _seconds(max(stamps_ns, default=None)),
            "used": ",".join(last.used) if last else "",
            "unlike_training": ",".join(name for name, score in last.novelty.items() if score > 1.0) if last else "",
            "labels": counts.labels,
            "label_rate_hz": f"{label_rate_hz:.2f}",
            "inference_ms": f"{last.inference_ms:.1f}" if last else "",
            "inference_deadline_ms": f"{1e3 * snapshot.deadline_s:.0f}",
            "inference_busy_ms": f"{1e3 * snapshot.busy_s:.0f}",
            "pipeline_latency_ms": f"{self._latency_ms:.1f}" if last else "",
            "sets": stats.sets_emitted,
            "sets_incomplete": stats.sets_incomplete,
            "sets_overrun": snapshot.overrun,
            "sets_failed": counts.failed,
            "sets_unusable": counts.unusable,
            "sets_idle": counts.idle,
            "sets_too_old": counts.sets_too_old,
            "sets_slow": self._watch.slow,
            "labels_too_old": counts.labels_too_old,
            "labels_not_finite": counts.not_finite,
            "last_error": self._last_error,
            "callback_errors": counts.callback_errors,
            "last_callback_error": self._last_callback_error,
            "time_jumps": stats.resets,
            "model": snapshot.model,
            "device": snapshot.device,
            "runtime": snapshot.engine.get("name", ""),
            "runtime_version": snapshot.engine.get("version", ""),
            "precision": snapshot.engine.get("precision", ""),
        }
        values |= {f"event.{key}": count for key, count in sorted(snapshot.event_counts.items())}
        for name, stream in stats.streams.items():
            own = self._stream_values(name, stream, now.faults.get(name))
            own |= account(stream, snapshot.fates.get(name, {}), snapshot.refused.get(name, 0))
            if name in snapshot.reliability:
                own |= reliability_values(snapshot.reliability[name])
            own |= {"encoded": 0, "reused": 0} | dict(snapshot.encodings.get(name, {}))
            values |= {f"{name}.{key}": value for key, value in own.items()}
            values[f"{name}.camera_info_refused"] = self._refused_infos[name]
            values[f"{name}.publishers"] = snapshot.publishers.get(name, 0)
            if name in snapshot.extrinsics:
                values[f"{name}.extrinsics"] = snapshot.extrinsics[name]
            values[f"{name}.incompatible_qos"] = snapshot.incompatible.get(name, 0)
        return values

    def _stream_values(self, name: str, stats: StreamStats, fault: SensorFault | None) -> dict[str, object]:
        last = self._last
        is_used = last is not None and name in last.used
        values: dict[str, object] = {"state": stats.state, "used": is_used, "timestamp": _seconds(stats.last_stamp_ns)}
        values |= {"fault": fault.reason if fault else "", "fault_text": fault.text if fault else ""}
        if last is not None and is_used:
            values["age_ms"] = f"{last.ages_ns[name] / 1e6:.2f}"
            values |= {"novelty": f"{last.novelty[name]:.3f}"} if name in last.novelty else {}
        elif last is not None:
            values["missing"] = last.missing.get(name, "")
        if stats.period_ns:
            values["interval_ms"] = f"{stats.period_ns / 1e6:.2f}"
            values["rate_hz"] = f"{1e9 / stats.period_ns:.2f}"
        return values


def account(stats: StreamStats, fates: Mapping[str, int], refused: int) -> dict[str, int]:
    """What became of every message: received = fused + waiting + malformed + ill + all drops, exactly."""
    left = dict(fates)
    values = {
        "received": stats.added + refused,
        "fused": left.pop(FUSED, 0),
        "waiting": left.pop(WAITING, 0) + stats.buffered,
    }
    for kind, known in (("malformed", MESSAGE_REASONS), ("ill", HEALTH_REASONS)):
        counts = {reason: left.pop(reason) for reason in sorted(left) if reason in known}
        values |= {kind: sum(counts.values())} | {f"{kind}.{reason}": count for reason, count in counts.items()}
    dropped = dict.fromkeys(_ALWAYS_TOLD, 0) | dict(stats.dropped) | left
    return values | {f"drops_{_DROPS.get(reason, reason)}": count for reason, count in dropped.items()}


def _kind(situation: Situation, judgement: Judgement) -> tuple[object, ...]:
    """What makes a report another one than the last: figures in the texts do not."""
    faults = {name: fault.reason for name, fault in situation.faults.items()}
    return judgement.level, judgement.state, tuple(sorted(faults.items()))


def _seconds(time_ns: int | None) -> str:
    return "" if time_ns is None else f"{time_ns // NS_PER_S}.{time_ns % NS_PER_S:09d}"
