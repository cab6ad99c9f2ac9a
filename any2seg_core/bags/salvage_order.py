"""Messages in the order of writing brought into the order of their times, with little memory."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from any2seg_core.bags.storage import Stored, StoredTopic, run_back

_LATEST_NS = 2**63 - 1
_MOST_HELD_BYTES = 2**28


class TimeOrder:
    """Notes the times of all messages in one pass; in a second one holds each back until no earlier one can follow.

    Eight bytes are kept per message, and of the messages what disorder demands, at most 256 MiB: in a file that is
    further out of order than that, the earliest of those that are held goes first.

    Args:
        most_bytes: of messages to hold, where that is less.

    Attributes:
        is_ordered: no message that was noted so far is earlier than one before it.
    """

    def __init__(self, most_bytes: int = _MOST_HELD_BYTES) -> None:
        self._most_bytes = min(most_bytes, _MOST_HELD_BYTES)
        self._times = array("q")
        self._newest_ns = 0
        self.is_ordered = True

    def note(self, time_ns: int) -> None:
        """The next message of the first pass."""
        self.is_ordered &= time_ns >= self._newest_ns
        self._newest_ns = max(self._newest_ns, time_ns)
        self._times.append(min(time_ns, _LATEST_NS))

    def notes(self, path: Path) -> tuple[str, ...]:
        """What a user should know about the order of a file."""
        return () if self.is_ordered else run_back(path, ((time_ns, time_ns) for time_ns in self._times))

    def sorted(self, stored: Iterable[Stored], wanted: Collection[StoredTopic]) -> Iterator[Stored]:
        """The wanted ones of the same messages, of equal times in the order of writing."""
        if self.is_ordered:
            yield from (item for item in stored if item[0] in wanted)
            return
        times_ns = np.frombuffer(self._times, np.int64)
        following_ns = np.append(np.minimum.accumulate(times_ns[::-1])[::-1][1:], _LATEST_NS)
        held: list[tuple[int, int, Stored]] = []
        held_bytes = 0
        for number, item in enumerate(stored):
            if item[0] in wanted:
                heapq.heappush(held, (item[1], number, item))
                held_bytes += len(item[2])
            limit_ns = int(following_ns[number])
            while held and (held[0][0] <= limit_ns or held_bytes > self._most_bytes):
                found = heapq.heappop(held)[2]
                held_bytes -= len(found[2])
                yield found
        while held:
            yield heapq.heappop(held)[2]
