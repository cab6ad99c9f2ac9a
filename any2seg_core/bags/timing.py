"""When messages come: rates, jitter, gaps, latency and phases of the streams of a recording. Bounded memory."""

from __future__ import annotations

import math
import zlib
from array import array
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_LOGGED = 20_000  # per topic: more than ten minutes of a 30 Hz camera
_GAP_PERIODS = 2.5
_LARGEST_NS = 2**63 - 1
_STAMP_END = 12  # of a serialised header: what is behind it are frame and content
_FROZEN_MESSAGES = 5
FROZEN_S = 1.0
"""A camera whose pictures repeat for longer is frozen: the noise of a real one never repeats."""
OTHER_CLOCK_MS = 1000.0
"""Stamps that are further away are of another clock."""
TAI_AHEAD_MS = 37_000.0
"""Leap seconds between the time of PTP and UTC, since 2017."""
CLOCKS_APART_NS = 5_000_000_000
"""A first stamp that lies further outside of the log times is of another clock, such as a simulation's."""


def clock_offset_ns(first_stamp_ns: int, start_ns: int, end_ns: int) -> int:
    """What to add to stamps to have log times: 0, or where stamps are of another clock, such as a simulation's, what
    brings the first one to the start.
    """
    is_one_clock = start_ns - CLOCKS_APART_NS <= first_stamp_ns <= end_ns + CLOCKS_APART_NS
    return 0 if is_one_clock else start_ns - first_stamp_ns


class StreamLog:
    """Notes the messages of one topic.

    Counts, sizes, first and last time and the longest gap are of the whole recording; everything that needs the single
    stamps is of the first 20 000 messages.
    """

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self.bad_stamps = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.longest_gap_ns = 0
        self.longest_gap_at_ns: int | None = None
        self._stamps, self._times = array("q"), array("q")

    def add(self, time_ns: int, stamp_ns: int | None, size: int, is_bad: bool = False) -> None:
        """One message: log time, its header stamp (None without one), its bytes."""
        time_ns = min(time_ns, _LARGEST_NS)
        self.count += 1
        self.bytes += size
        self.bad_stamps += is_bad
        if self.last_ns is None:
            self.first_ns = time_ns
        elif time_ns - self.last_ns > self.longest_gap_ns:
            self.longest_gap_ns, self.longest_gap_at_ns = time_ns - self.last_ns, self.last_ns
        self.last_ns = time_ns
        if len(self._times) < _LOGGED and not is_bad:
            self._times.append(time_ns)
            self._stamps.append(time_ns if stamp_ns is None else stamp_ns)

    @property
    def stamps_ns(self) -> np.ndarray:
        """(N,) int64 header stamps (bag times where there is none), in order of arrival."""
        return np.frombuffer(self._stamps, np.int64) if self._stamps else np.empty(0, np.int64)

    @property
    def times_ns(self) -> np.ndarray:
        """(N,) int64 bag times of the same messages."""
        return np.frombuffer(self._times, np.int64) if self._times else np.empty(0, np.int64)


class RepeatLog:
    """Finds the longest time for which the messages of one topic have one content, whatever their stamps.

    Attributes:
        longest_ns: 0 where fewer than five in a row repeat. at_ns: log time at which it begins; None without one.
    """

    def __init__(self) -> None:
        self.longest_ns = 0
        self.at_ns: int | None = None
        self._content: tuple[int, int] | None = None
        self._since_ns, self._count = 0, 0

    def add(self, time_ns: int, data: bytes) -> None:
        """One message: log time, and CDR that begins with a header."""
        content = len(data), zlib.crc32(memoryview(data)[_STAMP_END:])
        if content != self._content:
            self._content, self._since_ns, self._count = content, time_ns, 0
        self._count += 1
        if self._count >= _FROZEN_MESSAGES and time_ns - self._since_ns > self.longest_ns:
            self.longest_ns, self.at_ns = time_ns - self._since_ns, self._since_ns

    def note(self, name: str, start_ns: int) -> list[str]:
        """A line for people where it is frozen; `start_ns`: where the recording begins."""
        if self.at_ns is None or self.longest_ns < FROZEN_S * 1e9:
            return []
        at_s = (self.at_ns - start_ns) / 1e9
        return [f"{name}: frozen, its messages have the same content for {self.longest_ns / 1e9:.1f} s at {at_s:.1f} s"]


@dataclass(frozen=True)
class Timing:
    """Figures of one stream; None where too few messages tell.

    Attributes:
        rate_hz, period_ms: from the median distance of stamps.
        jitter_p50_ms, jitter_p95_ms: how far distances of stamps are from their median.
        gaps: distances of more than 2.5 periods. longest_gap_s, longest_gap_at_s: by log time, from its start.
        latency_p50_ms, latency_p95_ms: bag time minus stamp; negative or huge means that clocks differ.
        repeated, backwards: stamps equal to, or before, the one before. bad_stamps: that are zero or
            make no sense; no other figure counts them.
    """

    rate_hz: float | None = None
    period_ms: float | None = None
    jitter_p50_ms: float | None = None
    jitter_p95_ms: float | None = None
    gaps: int = 0
    longest_gap_s: float | None = None
    longest_gap_at_s: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    repeated: int = 0
    backwards: int = 0
    bad_stamps: int = 0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def timing_of(log: StreamLog, start_ns: int) -> Timing:
    """Figures of a stream; `start_ns`: where the recording begins."""
    stamps_ns, times_ns = log.stamps_ns, log.times_ns
    if not len(stamps_ns):
        return Timing(bad_stamps=log.bad_stamps)
    latency_ms = (times_ns - stamps_ns) / 1e6
    latencies: dict[str, Any] = {
        "latency_p50_ms": _percentile(latency_ms, 50), "latency_p95_ms": _percentile(latency_ms, 95)
    }  # fmt: skip
    steps_ms = np.diff(stamps_ns) / 1e6
    forward_ms = steps_ms[steps_ms > 0]
    if not len(forward_ms):
        return Timing(**latencies, repeated=int((steps_ms == 0).sum()), bad_stamps=log.bad_stamps)
    period_ms = float(np.median(forward_ms))
    jitter_ms = np.abs(forward_ms - period_ms)
    gap_at_ns = log.longest_gap_at_ns
    return Timing(
        rate_hz=1e3 / period_ms,
        period_ms=period_ms,
        jitter_p50_ms=_percentile(jitter_ms, 50),
        jitter_p95_ms=_percentile(jitter_ms, 95),
        gaps=int((forward_ms > _GAP_PERIODS * period_ms).sum()),
        longest_gap_s=log.longest_gap_ns / 1e9,
        longest_gap_at_s=None if gap_at_ns is None else (gap_at_ns - start_ns) / 1e9,
        **latencies,
        repeated=int((steps_ms == 0).sum()),
        backwards=int((steps_ms < 0).sum()),
        bad_stamps=log.bad_stamps,
    )


@dataclass(frozen=True)
class Phase:
    """A stream against the reference.

    Attributes:
        offset_ms: median of stamp minus nearest stamp of the reference, taken at the messages of the slower of both;
            nearest in time, where the two clocks differ.
        spread_ms: 95 % of the differences lie so near to it. drifts: the rates have no common beat.
        wait_p95_ms: how much later than its reference message the stream's message arrives; negative: earlier.
        next_p95_ms: from a stamp of the reference to the next stamp of the stream, by one clock.
        clock_ms: how far its clock is ahead of the reference's, by the log times; 0: less than a second.
    """

    offset_ms: float
    spread_ms: float
    drifts: bool
    wait_p95_ms: float
    next_p95_ms: float
    clock_ms: float = 0.0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def phase_of(log: StreamLog, reference: StreamLog) -> Phase | None:
    """Phase of a stream; None when either has fewer than two messages."""
    order, reference_order = np.argsort(log.stamps_ns), np.argsort(reference.stamps_ns)
    own_ns, base_ns = log.stamps_ns[order], reference.stamps_ns[reference_order]
    if len(own_ns) < 2 or len(base_ns) < 2:
        return None
    clock_ms = _clock_ms(log, reference)
    own_ns = own_ns - round(clock_ms * 1e6)
    arrivals_ns, base_arrivals_ns = log.times_ns[order], reference.times_ns[reference_order]
    if len(own_ns) <= len(base_ns):
        own, base = np.arange(len(own_ns)), _nearest(base_ns, own_ns)
    else:
        own, base = _nearest(own_ns, base_ns), np.arange(len(base_ns))
    offsets_ms = (own_ns[own] - base_ns[base]) / 1e6
    slower_ms = max(float(np.median(np.diff(own_ns))), float(np.median(np.diff(base_ns)))) / 1e6
    is_partner = np.abs(offsets_ms) <= 0.5 * max(slower_ms, 1e-3)  # the others' lie outside the recording
    if is_partner.any():
        own, base, offsets_ms = own[is_partner], base[is_partner], offsets_ms[is_partner]
    offset_ms = float(np.median(offsets_ms))
    spread_ms = _percentile(np.abs(offsets_ms - offset_ms), 95)
    period_ms = min(float(np.median(np.diff(own_ns))), float(np.median(np.diff(base_ns)))) / 1e6
    following = np.searchsorted(own_ns, base_ns)
    known = following < len(own_ns)
    next_ms = (own_ns[following[known]] - base_ns[known]) / 1e6
    return Phase(
        offset_ms=clock_ms + offset_ms,
        spread_ms=spread_ms,
        drifts=spread_ms > 0.35 * max(period_ms, 1e-3),
        wait_p95_ms=_percentile((arrivals_ns[own] - base_arrivals_ns[base]) / 1e6, 95),
        next_p95_ms=_percentile(next_ms, 95) if len(next_ms) else 0.0,
        clock_ms=clock_ms,
    )


def _clock_ms(log: StreamLog, reference: StreamLog) -> float:
    """How far the stamps of a stream are ahead of the reference's at one log time; 0 for what latencies explain."""
    ahead_ns = np.median(log.stamps_ns - log.times_ns) - np.median(reference.stamps_ns - reference.times_ns)
    clock_ms = float(ahead_ns) / 1e6
    if abs(clock_ms) < OTHER_CLOCK_MS:
        return 0.0
    is_tai = abs(abs(clock_ms) - TAI_AHEAD_MS) < OTHER_CLOCK_MS
    return math.copysign(TAI_AHEAD_MS, clock_ms) if is_tai else clock_ms


def _nearest(sorted_ns: np.ndarray, wanted_ns: np.ndarray) -> np.ndarray:
    """(N,) index into `sorted_ns` of the entry nearest to each of `wanted_ns`."""
    after = np.clip(np.searchsorted(sorted_ns, wanted_ns), 1, len(sorted_ns) - 1)
    is_before = wanted_ns - sorted_ns[after - 1] <= sorted_ns[after] - wanted_ns
    return after - is_before


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent))
