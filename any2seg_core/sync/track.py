"""A sequence of stamps that go on as one clock does."""

from __future__ import annotations

from collections import deque
from statistics import median_low
from typing import Any

MS = 1_000_000
DEAD_AFTER_PERIODS = 2.5
CLOSE_NS = 100 * MS  # clocks that differ by less are not told apart
SAME_TIME_NS = 1_000 * MS  # latencies of sensors on one clock differ by less
_LONGEST_SILENCE_NS = 300 * MS
_OBSERVED_INTERVALS = 7
_OBSERVED_OFFSETS = 16
_ANCHOR_MESSAGES = 5
_LONGEST_STEP_PERIODS = 1.6
_OVERDUE_PERIODS = 1.5
_LEAST_SLACK_NS, _MOST_SLACK_NS = 20 * MS, 100 * MS
_MOST_PENDING = 2


def longest_silence_ns(usual_ns: int, least_ns: int) -> int:
    """How long a stream may be silent: as usual, but at least `least_ns`, and 0.3 s at most unless that is more."""
    return max(min(usual_ns, _LONGEST_SILENCE_NS), least_ns)


class Track:
    """Messages whose stamps go on as one clock does. All times in nanoseconds.

    Attributes:
        count: messages. last_stamp_ns, last_arrival_ns: of the newest. first_arrival_ns: of the first.
        period_ns, arrival_period_ns: median distance of stamps and of arrivals; None before two messages.
        offset_ns: how far its stamps are ahead of the clock of arrivals, at least latency: the largest of the last few.
        latencies: arrival minus stamp of the last few.
        set_ahead_ns: how far the clock was set ahead of what it was while the stream kept the time of the others.
        pending: what waits for the decision whether this track is followed.
        given_up: counts as dead until its next message.
    """

    def __init__(self, stamp_ns: int, now_ns: int) -> None:
        self.count = 1
        self.last_stamp_ns, self.last_arrival_ns, self.first_arrival_ns = stamp_ns, now_ns, now_ns
        self.previous_arrival_ns = now_ns
        self.period_ns: int | None = None
        self.arrival_period_ns: int | None = None
        self.offset_ns = stamp_ns - now_ns
        self._usual_silence_ns = _LONGEST_SILENCE_NS  # of a slow stream: the second message tells its period
        self._stamp_steps: deque[int] = deque(maxlen=_OBSERVED_INTERVALS)
        self._arrival_steps: deque[int] = deque(maxlen=_OBSERVED_INTERVALS)
        self.latencies: deque[int] = deque([now_ns - stamp_ns], _OBSERVED_INTERVALS)
        self._offsets: deque[int] = deque([stamp_ns - now_ns], _OBSERVED_OFFSETS)
        self._anchor_ns = stamp_ns - now_ns
        self.set_ahead_ns = 0
        self.pending: list[Any] = []

    @property
    def drift_ns(self) -> int:
        """How far the clock has moved against that of arrivals since the first messages."""
        return 0 if self.count <= _ANCHOR_MESSAGES else self.offset_ns - self._anchor_ns

    def dead_at_ns(self, least_silence_ns: int) -> int:
        """Moment at which the track counts as dead if it stays silent."""
        return self.last_arrival_ns + longest_silence_ns(self._usual_silence_ns, least_silence_ns)

    def is_overdue(self, now_ns: int, unknown_period_ns: int) -> bool:
        """Whether the next message should have come by now."""
        period_ns = unknown_period_ns if self.arrival_period_ns is None else self.arrival_period_ns
        return now_ns - self.last_arrival_ns >= _OVERDUE_PERIODS * period_ns

    def accepts(self, stamp_ns: int, now_ns: int, usual_step_ns: int | None) -> bool:
        """Whether the stamp goes on as this clock does: not faster than time, or by a usual number of periods.

        Time alone misleads when a recording is played faster than it was made, periods after lost messages.
        """
        step_ns = stamp_ns - self.last_stamp_ns
        if step_ns <= 0:
            return False
        period_ns = self.period_ns
        slack_ns = _MOST_SLACK_NS if period_ns is None else period_ns * 3 // 4
        if stamp_ns - now_ns <= self.offset_ns + min(max(slack_ns, _LEAST_SLACK_NS), _MOST_SLACK_NS):
            return True
        usual_ns = usual_step_ns if period_ns is None else period_ns
        return usual_ns is not None and step_ns <= _LONGEST_STEP_PERIODS * usual_ns

    def error_ns(self, stamp_ns: int, now_ns: int) -> int:
        """How far a stamp is ahead of what time would have made of the newest one."""
        return stamp_ns - self.last_stamp_ns - (now_ns - self.last_arrival_ns)

    def add(self, stamp_ns: int, now_ns: int) -> None:
        """Takes a message that `accepts` allows."""
        self.count += 1
        self._stamp_steps.append(stamp_ns - self.last_stamp_ns)
        self._arrival_steps.append(now_ns - self.last_arrival_ns)
        self.period_ns, self.arrival_period_ns = median_low(self._stamp_steps), median_low(self._arrival_steps)
        self._usual_silence_ns = int(DEAD_AFTER_PERIODS * max(self.period_ns, self.arrival_period_ns))
        self.latencies.append(now_ns - stamp_ns)
        self._offsets.append(stamp_ns - now_ns)
        self.offset_ns = max(self._offsets)
        if self.count <= _ANCHOR_MESSAGES:
            self._anchor_ns = max(self._anchor_ns, stamp_ns - now_ns)
        self.previous_arrival_ns = self.last_arrival_ns
        self.last_stamp_ns, self.last_arrival_ns = stamp_ns, now_ns

    def take_over(self, before: Track) -> int:
        """Notes that the clock of a track was set to that of this one; returns by how much.

        Farther than sensors on one time can be apart it tells nothing: the other streams say which time is right.
        """
        moved_ns = distance_between(self, before)
        is_near = abs(moved_ns) <= SAME_TIME_NS
        self.set_ahead_ns = max(before.set_ahead_ns + moved_ns, 0) if is_near else 0
        return moved_ns

    def hold(self, item: Any) -> list[Any]:
        """Keeps a message for later; returns those that had to go for it."""
        self.pending.append(item)
        dropped, self.pending = self.pending[:-_MOST_PENDING], self.pending[-_MOST_PENDING:]
        return dropped

    def shift_clock(self, delta_ns: int) -> None:
        """The clock of arrivals was set: durations stay as they were."""
        self.last_arrival_ns += delta_ns
        self.previous_arrival_ns += delta_ns
        self.first_arrival_ns += delta_ns
        self._anchor_ns -= delta_ns
        self.latencies = deque((latency + delta_ns for latency in self.latencies), _OBSERVED_INTERVALS)
        self._offsets = deque((offset - delta_ns for offset in self._offsets), _OBSERVED_OFFSETS)
        self.offset_ns -= delta_ns


def distance_between(track: Track, other: Track) -> int:
    """How far the stamps of one clock are ahead of those of another at the same moment."""
    return track.last_stamp_ns - other.last_stamp_ns - (track.last_arrival_ns - other.last_arrival_ns)


def fits_better(track: Track, followed: Track, others_ns: list[int]) -> bool:
    """Whether a clock is nearer to those of the other streams than the one that is followed."""
    if not others_ns:
        return False
    distances = [sum(min(abs(each.last_stamp_ns - other_ns), 1000 * MS) for other_ns in others_ns)
                 for each in (track, followed)]  # fmt: skip
    return distances[0] + CLOSE_NS * len(others_ns) < distances[1]
