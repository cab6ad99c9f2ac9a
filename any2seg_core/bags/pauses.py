"""Stretches of a recording in which nothing was recorded: the clock was set forward, or the recorder was stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from any2seg_core.bags.codec import Recorded
from any2seg_core.base.units import NS_PER_S, duration_text

PAUSE_NS = 10 * NS_PER_S
"""What is longer and holds no message of any topic is a pause; the synchroniser starts anew after as much."""


class Pause(NamedTuple):
    """From the log time of one message to that of the next, nanoseconds."""

    before_ns: int
    after_ns: int

    def text(self, start_ns: int) -> str:
        """For people; `start_ns`: where the recording begins."""
        at_s = (self.before_ns - start_ns) / NS_PER_S
        length = duration_text(self.after_ns - self.before_ns)
        return f"the clock jumps forward by {length} at {at_s:.1f} s, or recording was paused"


class PauseLog:
    """Notes the messages of some topics, and finds the pauses in which the others have none either.

    Args:
        others: log times of the messages of all other topics, in order; read when the noted ones leave a gap.

    Attributes:
        pauses: those found so far.
    """

    def __init__(self, others: Iterable[int] = ()) -> None:
        self.pauses: list[Pause] = []
        self._others = others
        self._silences: list[Pause] | None = None
        self._last_ns: int | None = None

    def note(self, time_ns: int) -> None:
        """The next message."""
        last_ns, self._last_ns = self._last_ns, time_ns
        if last_ns is None or time_ns - last_ns <= PAUSE_NS:
            return
        if self._silences is None:
            self._silences = _silences(self._others)
        for silence in self._silences:
            pause = Pause(max(silence.before_ns, last_ns), min(silence.after_ns, time_ns))
            if pause.after_ns - pause.before_ns > PAUSE_NS:
                self.pauses.append(pause)

    def watched(self, messages: Iterable[Recorded]) -> Iterator[Recorded]:
        """Notes messages that pass."""
        for message in messages:
            self.note(message.time_ns)
            yield message

    def within_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of an interval of log time is paused."""
        return sum(max(min(p.after_ns, end_ns) - max(p.before_ns, start_ns), 0) for p in tuple(self.pauses))

    def until_ns(self, start_ns: int, end_ns: int) -> int:
        """How far recording went on from one log time towards another."""
        return min((p.before_ns for p in self.pauses if p.after_ns > start_ns and p.before_ns < end_ns), default=end_ns)


def _silences(times_ns: Iterable[int]) -> list[Pause]:
    """The intervals between the messages that are long enough for a pause, those before and after all of them too."""
    found, last_ns = [], -(2**63)
    for time_ns in times_ns:
        if time_ns - last_ns > PAUSE_NS:
            found.append(Pause(last_ns, time_ns))
        last_ns = time_ns
    return [*found, Pause(last_ns, 2**64)]
