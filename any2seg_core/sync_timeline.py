"""What the synchroniser knows about time, and what tells it that a new time has begun."""

from __future__ import annotations

from dataclasses import dataclass, field

from any2seg_core.sync_stream import BACKWARD_JUMP_NS, Entry, Stream


@dataclass
class OpenSet:
    """A set that waits for more streams."""

    reference: str
    entry: Entry
    stamp_ns: int
    deadline_ns: int


@dataclass
class Timeline:
    """All that a jump in time resets.

    Attributes:
        started_ns: first arrival.
        horizon_ns: time of the newest set that was decided.
        reference: stream of the moment that opens sets.
        open_sets: ordered by stamp.
    """

    started_ns: int | None = None
    horizon_ns: int | None = None
    reference: str | None = None
    open_sets: list[OpenSet] = field(default_factory=list)

    def shift_clock(self, delta_ns: int) -> None:
        """The clock of arrivals was set back or forth: durations stay as they were."""
        for open_set in self.open_sets:
            open_set.deadline_ns += delta_ns
        if self.started_ns is not None:
            self.started_ns += delta_ns

    def decided(self, time_ns: int) -> None:
        """The set of that time was decided."""
        self.horizon_ns = time_ns if self.horizon_ns is None else max(time_ns, self.horizon_ns)

    def is_past(self, time_ns: int) -> bool:
        """Whether a newer set, or the one of that time, was decided."""
        return self.horizon_ns is not None and time_ns <= self.horizon_ns

    def is_far(self, time_ns: int, jump_reset_ns: int) -> bool:
        """Whether a set at that time would be a jump from the last one."""
        horizon = self.horizon_ns
        return horizon is not None and not -BACKWARD_JUMP_NS <= time_ns - horizon <= jump_reset_ns

    def has_looped(self, stream: Stream, stamp_ns: int) -> bool:
        """Whether a stream fell behind both itself and the output: a recording started again.

        A clock that is wrong by a constant does not fall behind itself, so it resets nothing.
        """
        own = stream.last_stamp_ns
        if own is None or stamp_ns >= own - BACKWARD_JUMP_NS:
            return False
        return self.horizon_ns is None or stamp_ns - stream.config.offset_ns < self.horizon_ns - BACKWARD_JUMP_NS
