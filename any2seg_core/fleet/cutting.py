"""Where long recordings are cut, so that several workers share one."""

from __future__ import annotations

import math

from any2seg_core.base.units import NS_PER_S
from any2seg_core.evaluation.recording.span import WHOLE, RecordingSpan

_MOST_SPANS = 8
"""Every part reads all that lies before it, without the network: of n parts that is (n - 1) / 2 times the recording."""


def spans_of(start_ns: int | None, end_ns: int | None, cut_s: float) -> list[RecordingSpan]:
    """The parts of a recording, in order and of about one length; together they are the whole.

    Args:
        start_ns, end_ns: log time of the first and the last message; None where nobody knows.
        cut_s: a recording that is not longer stays whole; 0: all do.
    """
    if not cut_s or start_ns is None or end_ns is None or end_ns - start_ns <= cut_s * NS_PER_S:
        return [WHOLE]
    count = min(math.ceil((end_ns - start_ns) / (cut_s * NS_PER_S)), _MOST_SPANS)
    borders = [None, *(start_ns + (end_ns - start_ns) * k // count for k in range(1, count)), None]
    return [RecordingSpan(first, last) for first, last in zip(borders[:-1], borders[1:], strict=True)]
