"""Which ground truth belongs to a label: the nearest in stamp, as far as it is near."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

TRUTH_TOLERANCE_NS = 60_000_000

Found = TypeVar("Found")


def nearest_truth(truths: Sequence[tuple[int, Found]], stamp_ns: int) -> Found | None:
    """Truth nearest to a stamp, or None if none lies within TRUTH_TOLERANCE_NS; `truths` ordered by stamp."""
    index = bisect_left(truths, stamp_ns, key=lambda truth: truth[0])
    near = min(truths[max(0, index - 1) : index + 1], key=lambda truth: abs(truth[0] - stamp_ns), default=None)
    return near[1] if near is not None and abs(near[0] - stamp_ns) <= TRUTH_TOLERANCE_NS else None
