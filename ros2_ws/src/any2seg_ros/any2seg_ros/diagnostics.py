"""/diagnostics after REP 107: rates, drops with reasons and errors of the node, once per second."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from any2seg_core.errors import MESSAGE_REASONS
from any2seg_core.sensors.health import HEALTH_REASONS
from any2seg_core.sync import StreamStats, SyncConfig, SyncStats
from any2seg_core.units import NS_PER_S
from any2seg_ros.segmenter import LiveResult

_STALLED_TIMEOUTS = 3
_DROPS = {"unmatched": "no_match"}  # the synchroniser's word -> the key of the message


@dataclass(frozen=True)
class Snapshot:
    """What the node knows at the moment of a report.

    Attributes:
        stats, config: of the synchroniser. overrun: sets replaced by newer ones before the model was free.
        publishers, incompatible: modality -> publishers of its topic, and those whose quality of service did not match.
        enabled: as set by ~/enable. model, device, precision: of the loaded model.
        event_counts: of the decoder of event packets. lacks_clock: time is simulated and nobody has told it.
        mounts: as the segmenter has them.
    """

    stats: SyncStats
    config: SyncConfig
    overrun: int
    publishers: dict[str, int]
    incompatible: dict[str, int]
    enabled: bool
    model: str
    device: str
    precision: str
    event_counts: dict[str, int]
    mounts: dict[str, str]
    lacks_clock: bool


def pairs(values: dict[str, object]) -> list[KeyValue]:
    """Values as diagnostics carry them."""
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]


class Monitor:
    """Counts what happens in the node and turns it into a diagnostics message. Any thread.

    Counters only grow; a node that is configured anew starts a new monitor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left_out: dict[str, Counter[str]] = defaultdict(Counter)
        self._published = self._failed = self._idle = 0
        self._last_error = ""
        self._latency_ms = 0.0
        self.begin()

    def begin(self) -> None:
        """Labels are expected from now on: silence before is none."""
        with self._lock:
            self._last: LiveResult | None = None
            self._last_sign_s = time.monotonic()  # of a label, or of the reason why there is none
            self._reported = (self._last_sign_s, self._published, self._failed, self._idle)

    def left_out(self, name: str, reason: str) -> None:
        """A message of a modality could not be used, or its sensor is ill."""
        with self._lock:
            self._left_out[name][reason] += 1

    def failed(self, error: Exception) -> None:
        """A set gave no label."""
        with self._lock:
            self._failed += 1
            self._last_error = repr(error)

    def idle(self) -> None:
        """A set was not segmented, because nobody listens or the node is disabled."""
        with self._lock:
            self._idle += 1
            self._last_sign_s = time.monotonic()

    def published(self, result: LiveResult) -> None:
        """A label went out."""
        with self._lock:
            self._published += 1
            self._last = result
            self._last_sign_s = time.monotonic()
            self._latency_ms = (time.monotonic_ns() - result.received_ns) / 1e6

    def message(self, snapshot: Snapshot, node_name: str) -> DiagnosticArray:
        """Everything known now; the stamp is left to the caller."""
        with self._lock:
            now_s = time.monotonic()
            then_s, *before = self._reported
            self._reported = (now_s, self._published, self._failed, self._idle)
            published, failed, idle = (now - then for now, then in zip(self._reported[1:], before, strict=True))
            level, state, text = self._judge(snapshot, now_s, published, failed, idle)
            values = self._values(snapshot, published / max(now_s - then_s, 1e-9), state)
        status = DiagnosticStatus(level=level, name=f"{node_name}: fusion", message=text, values=pairs(values))
        return DiagnosticArray(status=[status])

    def _values(self, snapshot: Snapshot, label_rate_hz: float, state: str) -> dict[str, object]:
        last, stats = self._last, snapshot.stats
        stamps_ns = [stamp for own in last.stamps_ns.values() for stamp in own] if last else []
        values: dict[str, object] = {
            "fusion_state": state,
            "enabled": snapshot.enabled,
            "reference_stream": stats.reference or "",
            "reference_timestamp_min": _seconds(min(stamps_ns, default=None)),
            "reference_timestamp_max": _seconds(max(stamps_ns, default=None)),
            "used": ",".join(last.used) if last else "",
            "labels": self._published,
            "label_rate_hz": f"{label_rate_hz:.2f}",
            "inference_ms": f"{last.inference_ms:.1f}" if last else "",
            "pipeline_latency_ms": f"{self._latency_ms:.1f}" if last else "",
            "sets": stats.sets_emitted,
            "sets_incomplete": stats.sets_incomplete,
            "sets_overrun": snapshot.overrun,
            "sets_failed": self._failed,
            "sets_idle": self._idle,
            "last_error": self._last_error,
            "time_jumps": stats.resets,
            "model": snapshot.model,
            "device": snapshot.device,
            "precision": snapshot.precision,
        }
        values |= {f"event.{key}": count for key, count in sorted(snapshot.event_counts.items())}
        for name, stream in stats.streams.items():
            values |= {f"{name}.{key}": value for key, value in self._stream_values(name, stream).items()}
            values[f"{name}.publishers"] = snapshot.publishers.get(name, 0)
            if name in snapshot.mounts:
                values[f"{name}.mount"] = snapshot.mounts[name]
            values[f"{name}.incompatible_qos"] = snapshot.incompatible.get(name, 0)
        return values

    def _stream_values(self, name: str, stats: StreamStats) -> dict[str, object]:
        last, left_out = self._last, self._left_out[name]
        is_used = last is not None and name in last.used
        values: dict[str, object] = {"state": stats.state, "used": is_used, "timestamp": _seconds(stats.last_stamp_ns)}
        if is_used:
            values["age_ms"] = f"{last.ages_ns[name] / 1e6:.2f}"
        elif last is not None:
            values["missing"] = last.missing.get(name, "")
        if stats.period_ns:
            values["interval_ms"] = f"{stats.period_ns / 1e6:.2f}"
            values["rate_hz"] = f"{1e9 / stats.period_ns:.2f}"
        values |= {"received": stats.added, "fused": stats.used}
        for kind, known in (("malformed", MESSAGE_REASONS), ("ill", HEALTH_REASONS)):
            counts = {reason: count for reason, count in sorted(left_out.items()) if reason in known}
            values |= {kind: sum(counts.values())} | {f"{kind}.{reason}": count for reason, count in counts.items()}
        dropped = dict.fromkeys(("unmatched", "late", "queue", "jump"), 0) | dict(stats.dropped)
        return values | {f"drops_{_DROPS.get(reason, reason)}": count for reason, count in dropped.items()}

    def _judge(
        self, snapshot: Snapshot, now_s: float, published: int, failed: int, idle: int
    ) -> tuple[bytes, str, str]:
        """Level, fusion_state and message; the counts are those since the last report."""
        if not snapshot.enabled:
            return DiagnosticStatus.OK, "disabled", "disabled by ~/enable"
        if failed:
            return DiagnosticStatus.ERROR, "stalled" if not published else "degraded", f"model: {self._last_error}"
        silence_s, config, last = now_s - self._last_sign_s, snapshot.config, self._last
        patience_s = config.timeout_without_reference_ns / NS_PER_S + (last.inference_ms / 1e3 if last else 0.0)
        if silence_s > _STALLED_TIMEOUTS * patience_s:
            return DiagnosticStatus.ERROR, "stalled", self._why_stalled(snapshot, silence_s)
        if idle and not published:
            return DiagnosticStatus.OK, "idle", "nobody listens, nothing is computed"
        if last is None:
            return DiagnosticStatus.OK, "idle", "waiting for the first label"
        if last.missing:
            has_reference = last.reference == config.reference_priority[0]
            text = f"partial: without {', '.join(last.missing)}"
            return DiagnosticStatus.WARN, "partial" if has_reference else "degraded", text
        return DiagnosticStatus.OK, "ok", "all sensors fused"

    def _why_stalled(self, snapshot: Snapshot, silence_s: float) -> str:
        text = f"no label for {silence_s:.1f} s"
        if snapshot.lacks_clock:
            return f"{text}: use_sim_time is true and nothing comes on /clock"
        streams = snapshot.stats.streams
        required = [name for name, config in snapshot.config.streams.items() if config.required]
        lacking = [f"{name} is {streams[name].state}" for name in required if streams[name].state != "alive"]
        if lacking:
            return f"{text}: required {', '.join(lacking)}"
        unmatched = [name for name in streams if snapshot.incompatible.get(name)]
        if unmatched:
            return f"{text}: incompatible quality of service on {', '.join(unmatched)}"
        stamps = [self._left_out[name]["stamp"] + stream.dropped["bad_stamp"] for name, stream in streams.items()]
        unusable = [
            f"{name} ({count} messages)"
            for (name, stream), count in zip(streams.items(), stamps, strict=True)
            if count and stream.state != "alive"
        ]
        if unusable:
            return f"{text}: stamps that are zero or negative come from {', '.join(unusable)}"
        silent = [name for name, stream in streams.items() if stream.state != "alive"]
        return f"{text}: nothing comes from {', '.join(silent)}" if silent else text


def _seconds(time_ns: int | None) -> str:
    return "" if time_ns is None else f"{time_ns // NS_PER_S}.{time_ns % NS_PER_S:09d}"
