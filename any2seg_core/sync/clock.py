"""What the clock of one stream does: which of its messages are new, told apart from repetition and other clocks.

A stream may hold several tracks: sequences of stamps that go on, as one publisher with one clock sends them. One of
them is followed; a message of another one is kept apart until it is clear whether the clock was set or somebody else
sends.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from types import MappingProxyType
from typing import Any, NamedTuple

from any2seg_core.base.units import NS_PER_S
from any2seg_core.sync.track import CLOSE_NS, DEAD_AFTER_PERIODS, MS, Track, distance_between, fits_better

BACKWARD_JUMP_NS = 500 * MS
_LONGEST_USUAL_STEP_NS = 10_000 * MS
_MOST_TRACKS = 3
_REMEMBERED_STAMPS = 512
_SHORTEST_LOOP = 8  # a recording that starts again is longer than the ring of a driver that hangs
_TELLING = 3  # so many in a row are no accident
_RARE_PERIODS = 2  # of what is followed: a track that is slower than that is no second publisher
_TOLD_FOR_NS = 2_000 * MS
_ERRATIC_MOVES, _ERRATIC_NS = 3, 4_000 * MS
_STEADY_MESSAGES = 5

SYNC_REASONS = MappingProxyType({
    "repeats": "the same stamps again and again: a frozen buffer",
    "backwards": "every stamp is older than the one before",
    "two_publishers": "two sequences of stamps on one topic; one of them is followed",
    "jumping": "the clock was set",
    "future": "single stamps are newer than the clock of the stream allows",
    "past": "single stamps are far older than the clock of the stream",
    "other_clock": "the stamps are far from those of the other streams",
    "drift": "the clock runs fast or slow against the other streams",
    "unusable": "the content of the messages could not be used",
})  # fmt: skip
"""Keys of what is wrong with a stream whose messages arrive, with their meaning; stable."""


class StreamFault(NamedTuple):
    """What is wrong with a stream: key of SYNC_REASONS and one line for people, without the stream's name."""

    reason: str
    text: str


def seconds_text(time_ns: int) -> str:
    """A duration for people, without its sign: ``0.45 s``, ``9.5 s``, ``3600 s``."""
    seconds = abs(time_ns) / NS_PER_S
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.2g} s"


class Reading(NamedTuple):
    """What a message is: "new", "behind" (reordered), "apart" (of another clock) or "repeat"; and its track."""

    kind: str
    track: Track | None


class StreamClock:
    """Tracks of one stream, and which of them is followed.

    Args:
        least_silence_ns: least silence after which a track counts as dead.

    Attributes:
        followed: the track whose messages are used; None before the first message.
    """

    def __init__(self, least_silence_ns: int) -> None:
        self.least_silence_ns = least_silence_ns
        self.followed: Track | None = None
        self._others: list[Track] = []
        self._forgotten: list[Any] = []  # messages of tracks that ended
        self._stamps: OrderedDict[int, int] = OrderedDict()  # stamp -> number of the message that brought it
        self._number = 0
        self._newest_raw_ns: int | None = None
        self._usual_step_ns: int | None = None
        self._repeats = self._lap = self._backwards = 0
        self._heard_ns: int | None = None  # arrival of the last message, new or not
        self._wrong: tuple[int, int] | None = None  # arrival and distance of the last single wrong stamp
        self._moves: deque[tuple[int, int]] = deque(maxlen=_ERRATIC_MOVES)  # arrival and distance

    @property
    def track(self) -> Track:
        """The track that is followed, of a stream that was seen."""
        assert self.followed is not None
        return self.followed

    def is_alive(self, now_ns: int) -> bool:
        return self.followed is not None and now_ns < self.dead_at_ns

    @property
    def dead_at_ns(self) -> int:
        """Moment at which a stream that was seen counts as dead if nothing new comes."""
        return self.track.dead_at_ns(self.least_silence_ns)

    @property
    def pending(self) -> int:
        """How many messages of other tracks are held."""
        return sum(len(track.pending) for track in self._others) + len(self._forgotten)

    def was_set(self, now_ns: int) -> bool:
        """Whether another track is followed since a moment ago."""
        return bool(self._moves) and now_ns - self._moves[-1][0] < _TOLD_FOR_NS

    def is_erratic(self, now_ns: int) -> bool:
        """Whether its stamps jump so often that they mean nothing."""
        return len(self._moves) == _ERRATIC_MOVES and now_ns - self._moves[0][0] < _ERRATIC_NS

    def is_steady(self, now_ns: int) -> bool:
        """Whether the clock is known: what it says of a message counts more than when that arrived."""
        return self.track.count > _STEADY_MESSAGES and not self.was_set(now_ns)

    def may_move_to(self, stamp_ns: int) -> bool:
        """Whether messages that are held tell that the clock may have been set to about that time."""
        held = (entry for track in self._others for entry in track.pending)
        return any(abs(entry.stamp_ns - stamp_ns) <= BACKWARD_JUMP_NS for entry in held)

    def observe(self, stamp_ns: int, now_ns: int) -> Reading:
        """Notes an arrival, says what the message is. Neither repetition nor a clock running back is a sign of life."""
        is_after_pause = self._heard_ns is not None and now_ns - self._heard_ns > _TOLD_FOR_NS
        self._heard_ns = now_ns
        self._note_order(stamp_ns)
        if self._is_repeat(stamp_ns, is_after_pause):
            return Reading("repeat", None)
        track = self._fitting(stamp_ns, now_ns)
        if track is not None:
            track.add(stamp_ns, now_ns)
        else:
            track = self._begin(stamp_ns, now_ns)
        if track is self.followed:
            self._repeats = 0
            return Reading("new", track)
        is_near = -BACKWARD_JUMP_NS <= stamp_ns - self.track.last_stamp_ns <= 0
        return Reading("behind" if is_near else "apart", track)

    @property
    def has_others(self) -> bool:
        """Whether there is a track beside the one that is followed."""
        return bool(self._others)

    def settle(self, now_ns: int, others_ns: list[int]) -> list[Any] | None:
        """Follows another track where that is right; its held messages then, None where nothing changed.

        Args:
            others_ns: where the other streams are that are alive, on the clock of the stamps of this one.
        """
        self._forget_dead(now_ns)
        for track in self._others:
            followed = self.track
            # Nearer than that it is the order of messages on the way, not the clock.
            least_ns = max(CLOSE_NS, 3 * (followed.arrival_period_ns or 0) // 2)
            is_successor = (
                track.count >= 2
                and abs(distance_between(track, followed)) > least_ns
                and followed.is_overdue(now_ns, self.least_silence_ns)
                and (not self.is_alive(now_ns) or track.previous_arrival_ns > followed.last_arrival_ns)
            )
            if is_successor or (track.count >= 2 and fits_better(track, followed, others_ns)):
                self._moves.append((now_ns, track.take_over(followed)))
                self._others = [each for each in self._others if each is not track] + [followed]
                return self._follow(track)
        return None

    def forgotten(self) -> list[Any]:
        """Messages that were held of tracks that have ended; each is returned once."""
        gone, self._forgotten = self._forgotten, []
        return gone

    def release(self) -> bool:
        """Lets go of a message that is held of another track; False when there is none."""
        held = next((track for track in self._others if track.pending), None)
        if held is not None:
            held.pending.pop(0)
        return held is not None

    def forget(self) -> None:
        """As if no message had come."""
        for track in [*self._others]:
            self._drop(track)
        self.followed = None
        self._stamps.clear()

    def restart(self, stamp_ns: int) -> list[Any]:
        """Time has jumped to `stamp_ns`: forgets tracks that are far from it; what was held of one that is near."""
        for track in [*self._others]:
            if abs(track.last_stamp_ns - stamp_ns) > BACKWARD_JUMP_NS:
                self._drop(track)
        if self.followed is None or abs(self.followed.last_stamp_ns - stamp_ns) <= BACKWARD_JUMP_NS:
            return []
        if not self._others:
            self.forget()
            return []
        self._stamps.clear()
        return self._follow(self._others.pop(0))

    def fault(self, now_ns: int) -> StreamFault | None:
        """What is wrong with the stamps at present."""
        if self._heard_ns is None or now_ns - self._heard_ns > _TOLD_FOR_NS:
            return None
        if self._backwards >= _TELLING:
            return StreamFault("backwards", "clock runs backwards")
        if self._repeats >= _TELLING:
            return StreamFault("repeats", f"repeats {self._lap} frame{'s' if self._lap > 1 else ''}")
        if not self.is_alive(now_ns):
            return None
        others = [track for track in self._others if track.count >= _TELLING and self._lives(track, now_ns)]
        apart = [track for track in others if abs(distance_between(track, self.track)) > CLOSE_NS
                 and track.last_arrival_ns > self.track.first_arrival_ns]  # else it is the past of the followed one
        if apart:
            distance_ns, period_ns = distance_between(apart[0], self.track), apart[0].arrival_period_ns
            if period_ns is not None and period_ns < _RARE_PERIODS * (self.track.arrival_period_ns or 0):
                return StreamFault("two_publishers", f"two publishers {seconds_text(distance_ns)} apart")
            return _wrong_stamps(distance_ns)
        if self.was_set(now_ns):
            verb = "jumps" if len(self._moves) > 1 and now_ns - self._moves[-2][0] < 2 * _TOLD_FOR_NS else "jumped"
            distance_ns = self._moves[-1][1]
            return StreamFault("jumping", f"clock {verb} {'-' if distance_ns < 0 else '+'}{seconds_text(distance_ns)}")
        if self._wrong is not None and now_ns - self._wrong[0] < _TOLD_FOR_NS:
            return _wrong_stamps(self._wrong[1])
        return None

    def shift_clock(self, delta_ns: int) -> None:
        """The clock of arrivals was set: durations stay as they were."""
        for track in (self.followed, *self._others):
            if track is not None:
                track.shift_clock(delta_ns)
        if self._heard_ns is not None:
            self._heard_ns += delta_ns
        self._moves = deque(((at + delta_ns, distance) for at, distance in self._moves), _ERRATIC_MOVES)
        if self._wrong is not None:
            self._wrong = (self._wrong[0] + delta_ns, self._wrong[1])

    def _lives(self, track: Track, now_ns: int) -> bool:
        """Whether a track that is not followed may go on: one of two slow publishers is silent for long."""
        usual_ns = DEAD_AFTER_PERIODS * (track.arrival_period_ns or self.least_silence_ns)
        return now_ns - track.last_arrival_ns < min(max(usual_ns, self.least_silence_ns), _TOLD_FOR_NS)

    def _is_repeat(self, stamp_ns: int, is_after_pause: bool) -> bool:
        """Whether the stamp was there before; a long way back through many stamps is a recording that starts again.

        So is one after a pause: a driver that hangs does not pause.
        """
        number, lap = self._stamps.get(stamp_ns), 0
        if number is not None:
            lap = self._number - number
            back_ns = self.track.last_stamp_ns - stamp_ns
            is_ring = lap < _SHORTEST_LOOP and not is_after_pause
            if back_ns >= 0 and (is_ring or back_ns <= BACKWARD_JUMP_NS):
                self._lap = max(lap, self._lap) if self._repeats else lap
                self._repeats += 1
                return True
            del self._stamps[stamp_ns]
        self._stamps[stamp_ns] = self._number
        self._number += 1
        if len(self._stamps) > _REMEMBERED_STAMPS:
            self._stamps.popitem(last=False)
        return False

    def _note_order(self, stamp_ns: int) -> None:
        if self._newest_raw_ns is not None:
            step_ns = stamp_ns - self._newest_raw_ns
            self._backwards = self._backwards + 1 if step_ns < 0 else 0
            if 0 < step_ns <= _LONGEST_USUAL_STEP_NS:
                self._usual_step_ns = step_ns
        self._newest_raw_ns = stamp_ns

    def _fitting(self, stamp_ns: int, now_ns: int) -> Track | None:
        """The track that goes on with a stamp: the followed one before others, of those the nearest."""
        if self.followed is not None and self.followed.accepts(stamp_ns, now_ns, self._usual_step_ns):
            return self.followed
        fitting = [track for track in self._others if track.accepts(stamp_ns, now_ns, self._usual_step_ns)]
        return min(fitting, key=lambda track: abs(track.error_ns(stamp_ns, now_ns)), default=None)

    def _begin(self, stamp_ns: int, now_ns: int) -> Track:
        """A new track; followed at once where nothing goes on and the stamp is no mere step back."""
        track, followed = Track(stamp_ns, now_ns), self.followed
        if followed is None:
            self.followed = track
            return track
        distance_ns = stamp_ns - followed.last_stamp_ns
        is_step_back = distance_ns <= 0 and (distance_ns >= -BACKWARD_JUMP_NS or self._backwards > 1)
        if not self.is_alive(now_ns) and not is_step_back:
            self._moves.append((now_ns, distance_between(track, followed)))
            self._others.append(followed)
            self.followed = track
            return track
        if not is_step_back:
            self._wrong = (now_ns, distance_between(track, followed))
        self._others.append(track)
        if len(self._others) >= _MOST_TRACKS:
            self._drop(min(self._others[:-1], key=lambda each: each.last_arrival_ns))
        return track

    def _forget_dead(self, now_ns: int) -> None:
        for track in [each for each in self._others if not self._lives(each, now_ns)]:
            self._drop(track)

    def _drop(self, track: Track) -> None:
        self._others.remove(track)
        self._forgotten += track.pending

    def _follow(self, track: Track) -> list[Any]:
        held, track.pending = track.pending, []
        self.followed, self._repeats = track, 0
        return held


def _wrong_stamps(distance_ns: int) -> StreamFault:
    reason, side = ("future", "ahead of") if distance_ns > 0 else ("past", "behind")
    return StreamFault(reason, f"single stamps are {seconds_text(distance_ns)} {side} its clock")
