"""A part of a recording whose frames are judged as they are when all of it is.

What a frame is compared with has no end in the past: clocks, usual rates, decoders of events, scales of images and
counts of frozen messages go back to the first message. So the messages before a part are read, synchronised, decoded
and projected too; only the network, which costs most, does not run on them. It runs on the last frame before the part,
as the flicker of the first one is counted against its labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from any2seg_core.evaluation.recording.prepared import PreparedSet

PASSED, LEAD_IN, JUDGED = "passed", "lead-in", "judged"
"""What becomes of a set: it is counted, it is segmented for the one after it, or it comes out."""


@dataclass(frozen=True)
class RecordingSpan:
    """Log times [start_ns, end_ns) of a recording; None: from its first message, to its end.

    A moment without a set has a log time that is estimated, and may lie before that of the one before it: it counts at
    the newest log time so far, so that the spans of a recording cut the same sequence.
    """

    start_ns: int | None = None
    end_ns: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the recording."""
        return self.start_ns is None and self.end_ns is None

    def roles(self, items: Iterable[PreparedSet]) -> Iterator[tuple[PreparedSet, str]]:
        """Each set up to the end of the span with PASSED, LEAD_IN or JUDGED; of those before it no skipped ones."""
        newest_ns = 0
        held: PreparedSet | None = None
        for item in items:
            newest_ns = max(newest_ns, item.time_ns)
            if self.end_ns is not None and newest_ns >= self.end_ns:
                return
            is_before = self.start_ns is not None and newest_ns < self.start_ns
            if is_before and item.frame is None and item.missed_ns is None:
                continue
            if held is not None:
                yield held, PASSED if is_before else LEAD_IN
                held = None
            if is_before:
                held = item
            else:
                yield item, JUDGED


WHOLE = RecordingSpan()
