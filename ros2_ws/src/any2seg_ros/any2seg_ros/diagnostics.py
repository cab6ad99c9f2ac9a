"""/diagnostics after REP 107: rates, drops with reasons and errors of the node, once per second."""

from __future__ import annotations

import time
from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from any2seg_core.sync import StreamStats, SyncStats
from any2seg_ros.segmenter import LiveResult

_STALLED_S = 1.0


def _status(level: bytes, name: str, message: str, values: dict[str, object]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)


def _stream_values(name: str, stats: StreamStats) -> dict[str, object]:
    values = {f"{name}.state": stats.state, f"{name}.received": stats.added, f"{name}.used": stats.used}
    if stats.period_ns:
        values[f"{name}.rate_hz"] = f"{1e9 / stats.period_ns:.2f}"
    return values | {f"{name}.dropped.{reason}": count for reason, count in sorted(stats.dropped.items()) if count}


class Monitor:
    """Counts what happens in the node and turns it into a diagnostics message. Counters only grow."""

    def __init__(self) -> None:
        self._bad_messages: Counter[str] = Counter()
        self._published = 0
        self._failed = 0
        self._last_error = ""
        self._last: LiveResult | None = None
        self._last_published_s = time.monotonic()
        self._reported = (time.monotonic(), 0)

    def bad_message(self, name: str) -> None:
        """A message of a modality could not be read."""
        self._bad_messages[name] += 1

    def failed(self, error: Exception) -> None:
        """A set gave no label."""
        self._failed += 1
        self._last_error = repr(error)

    def published(self, result: LiveResult) -> None:
        """A label went out."""
        self._published += 1
        self._last = result
        self._last_published_s = time.monotonic()

    def message(self, stats: SyncStats, overrun: int, node_name: str) -> DiagnosticArray:
        """Everything known now; the stamp is left to the caller."""
        now_s = time.monotonic()
        then_s, count = self._reported
        self._reported = (now_s, self._published)
        last = self._last
        values: dict[str, object] = {
            "labels": self._published,
            "label_rate_hz": f"{(self._published - count) / max(now_s - then_s, 1e-9):.2f}",
            "used": ",".join(last.used) if last else "",
            "inference_ms": f"{last.inference_ms:.1f}" if last else "",
            "reference": stats.reference or "",
            "sets": stats.sets_emitted,
            "sets_incomplete": stats.sets_incomplete,
            "sets_overrun": overrun,
            "sets_failed": self._failed,
            "last_error": self._last_error,
            "time_jumps": stats.resets,
        }
        for name, stream in stats.streams.items():
            values |= _stream_values(name, stream)
            values[f"{name}.bad_messages"] = self._bad_messages[name]
        level, text = self._level(now_s)
        return DiagnosticArray(status=[_status(level, f"{node_name}: fusion", text, values)])

    def _level(self, now_s: float) -> tuple[bytes, str]:
        silence_s = now_s - self._last_published_s
        if silence_s > _STALLED_S:
            return DiagnosticStatus.ERROR, f"no label for {silence_s:.1f} s"
        if self._last is not None and self._last.missing:
            return DiagnosticStatus.WARN, f"partial: without {', '.join(self._last.missing)}"
        return DiagnosticStatus.OK, "all sensors fused"
