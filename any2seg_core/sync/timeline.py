"""What the synchroniser knows about the time of its output."""

from __future__ import annotations

from dataclasses import dataclass, field

from any2seg_core.sync.clock import BACKWARD_JUMP_NS
from any2seg_core.sync.stream import Entry


@dataclass
class OpenSet:
    """A set that waits for more streams; `earliest_ns`: it does not go out before."""

    reference: str
    entry: Entry
    stamp_ns: int
    deadline_ns: int
    earliest_ns: int


@dataclass
class Timeline:
    """All that a jump in time resets.

    Attributes:
        started_ns: first arrival. emitted_ns: when the last set went out.
        horizon_ns: time of the newest set that was decided.
        reference: stream of the moment that opens sets.
        open_sets: ordered by stamp.
    """

    started_ns: int | None = None
    horizon_ns: int | None = None
    reference: str | None = None
    open_sets: list[OpenSet] = field(default_factory=list)
    emitted_ns: int | None = None

    def shift_clock(self, delta_ns: int) -> None:
        """The clock of arrivals was set back or forth: durations stay as they were."""
        for open_set in self.open_sets:
            open_set.deadline_ns += delta_ns
            open_set.earliest_ns += delta_ns
        if self.started_ns is not None:
            self.started_ns += delta_ns
        if self.emitted_ns is not None:
            self.emitted_ns += delta_ns

    def decided(self, time_ns: int) -> None:
        """The set of that time was decided."""
        self.horizon_ns = time_ns if self.horizon_ns is None else max(time_ns, self.horizon_ns)

    def is_past(self, time_ns: int) -> bool:
        """Whether a newer set, or the one of that time, was decided."""
        return self.horizon_ns is not None and time_ns <= self.horizon_ns

    def is_behind(self, time_ns: int) -> bool:
        """Whether a set at that time would be a jump back."""
        return self.horizon_ns is not None and time_ns < self.horizon_ns - BACKWARD_JUMP_NS

    def is_ahead(self, time_ns: int, jump_reset_ns: int) -> bool:
        """Whether a set at that time would be a jump forward."""
        return self.horizon_ns is not None and time_ns - self.horizon_ns > jump_reset_ns

    def is_far(self, time_ns: int, jump_reset_ns: int) -> bool:
        """Whether a set at that time would be a jump from the last one."""
        return self.is_behind(time_ns) or self.is_ahead(time_ns, jump_reset_ns)
