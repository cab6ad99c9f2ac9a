"""One stream of the synchroniser: its settings, its buffer, and what its clock says of each message."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, NamedTuple

from any2seg_core.base.errors import UserError
from any2seg_core.sync.clock import BACKWARD_JUMP_NS, MS, StreamClock, StreamFault

_UNUSABLE_FOR_NS = 1_000 * MS
_DOUBTED_FOR_NS = 9_000 * MS  # each time that it displaces another for nothing, labels fail to come for two sets
_CLOCK_SLACK_NS = 100 * MS
_UNUSABLE_SETS = 2  # in a row; one bad message is an accident


@dataclass(frozen=True)
class StreamConfig:
    """How one stream takes part. All times in nanoseconds.

    Attributes:
        offset_ns: expected stamp of this stream minus the time of the set: shutter against sweep phase, or a clock
            that is wrong by a constant. The window of a "window" stream, and the times of its events, move with it.
        noise_window_ns: a sample this near to its target needs no better one. Packets that are stamped at their begin
            need their length here: the window then waits for the packet that holds its end.
        max_age_ns: a sample farther than this from its target is not used.
        required: without this stream a set is not emitted.
        enabled: False: switched off; its messages are dropped and nobody waits for it.
        kind: "sample" (the nearest one is taken) or "window" (all packets that reach into the window before the set).
        window_ns: length of that window.
        buffer: most samples held; the oldest goes first.

    Examples:
        >>> from any2seg_core import StreamConfig
        >>> StreamConfig(kind="window", window_ns=33_000_000).oldest_ns  # the window and the noise before it
        53000000
    """

    offset_ns: int = 0
    noise_window_ns: int = 20 * MS
    max_age_ns: int = 150 * MS
    required: bool = False
    enabled: bool = True
    kind: str = "sample"
    window_ns: int = 50 * MS
    buffer: int = 30

    def __post_init__(self) -> None:
        if self.kind not in ("sample", "window"):
            raise UserError(f"stream kind {self.kind!r}: use 'sample' or 'window'", "value-unknown")
        if not 0 <= self.noise_window_ns <= self.max_age_ns:
            raise UserError(
                f"noise_window_ns {self.noise_window_ns} must lie between 0 and max_age_ns {self.max_age_ns}",
                "value-range",
            )
        if self.window_ns <= 0 or self.buffer < 2:
            raise UserError(
                f"window_ns must be positive and buffer at least 2, got {self.window_ns} and {self.buffer}",
                "value-range",
            )

    @property
    def oldest_ns(self) -> int:
        """How far behind its target a sample may lie."""
        return self.window_ns + self.noise_window_ns if self.kind == "window" else self.max_age_ns


@dataclass(frozen=True)
class Sample:
    """One message: its own stamp, when it arrived, and what it carries."""

    stamp_ns: int
    arrival_ns: int
    payload: Any


class Gap(NamedTuple):
    """How far the nearest message of a stream is from its target, negative when it is older, and how far it may be."""

    distance_ns: int
    limit_ns: int

    def text(self, limit: str) -> str:
        """One line for people; `limit`: name of the setting, or settings, that allow `limit_ns`."""
        side = "older" if self.distance_ns < 0 else "newer"
        return f"nearest message is {abs(self.distance_ns) / MS:.0f} ms {side}, {limit} is {self.limit_ns / 1e9:g}"


class Entry:
    """A sample on its way through the synchroniser; ends as used or as dropped, never as both."""

    __slots__ = ("held", "late", "sample", "stamp_ns", "used")

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.stamp_ns = sample.stamp_ns
        self.used = False
        self.held = False  # reference of an open set
        self.late = False  # older than the newest decided set when it came


@dataclass
class StreamStats:
    """Counts since construction, never reset: added == used + sum(dropped.values()) + buffered.

    Attributes:
        state: "never_seen", "alive", "dead" or "disabled". Alive is who sends something new, not who sends.
        fault: what is wrong with the messages that come, None when nothing is.
    """

    added: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    buffered: int = 0
    state: str = "never_seen"
    last_stamp_ns: int | None = None
    period_ns: int | None = None
    fault: StreamFault | None = None


class Stream:
    """Buffer ordered by stamp, plus what was observed about clock, rate and life."""

    def __init__(self, config: StreamConfig, least_silence_ns: int) -> None:
        self.config = config
        self.clock = StreamClock(least_silence_ns)
        self.entries: list[Entry] = []
        self.added = 0
        self.used = 0
        self.dropped: Counter[str] = Counter()
        self.fault: StreamFault | None = None  # found in comparison with other streams
        self._unusable = 0
        self._unusable_until_ns: int | None = None

    def reconfigure(self, config: StreamConfig, least_silence_ns: int) -> None:
        if self.config.enabled and not config.enabled:
            self._switch_off()
        self.config = config
        self.clock.least_silence_ns = least_silence_ns

    @property
    def may_start(self) -> bool:
        """Whether it was never seen and is not switched off."""
        return not self.seen and self.config.enabled

    @property
    def seen(self) -> bool:
        return self.clock.followed is not None

    @property
    def last_stamp_ns(self) -> int | None:
        """Newest stamp of the clock that is followed."""
        return self.clock.track.last_stamp_ns if self.seen else None

    @property
    def time_ns(self) -> int:
        """Time of a set that the newest message would open."""
        return self.clock.track.last_stamp_ns - self.config.offset_ns

    @property
    def has_news(self) -> bool:
        """Whether its newest message is there and in no set yet."""
        newest = self.find(self.last_stamp_ns)
        return newest is not None and not newest.used

    @property
    def period_ns(self) -> int | None:
        """Median distance of stamps, None before two messages."""
        return self.clock.track.period_ns if self.seen else None

    @property
    def dead_at_ns(self) -> int:
        """Moment at which a stream that was seen counts as dead if nothing new comes."""
        return self.clock.dead_at_ns

    def is_alive(self, now_ns: int) -> bool:
        return self.clock.is_alive(now_ns)

    def is_usable(self, now_ns: int) -> bool:
        """Whether its content is not known to be unusable."""
        return self._unusable_until_ns is None or now_ns >= self._unusable_until_ns

    def is_sound(self, now_ns: int) -> bool:
        """Whether it may displace another stream by its clock: its content was not found unusable for a while."""
        return self._unusable_until_ns is None or now_ns >= self._unusable_until_ns + _DOUBTED_FOR_NS

    @property
    def usable_at_ns(self) -> int | None:
        """When an unusable stream gets another chance."""
        return self._unusable_until_ns

    def judge(self, usable: bool, now_ns: int) -> None:
        """Notes whether its content could be used in the set that was made last."""
        self._unusable = 0 if usable else self._unusable + 1
        self._unusable_until_ns = now_ns + _UNUSABLE_FOR_NS if self._unusable >= _UNUSABLE_SETS else None

    def why_at_fault(self, now_ns: int) -> StreamFault | None:
        """What is wrong with the messages that come, None when nothing is."""
        if not self.config.enabled:
            return None
        fault = self.clock.fault(now_ns) or self.fault
        if fault is None and not self.is_usable(now_ns):
            return StreamFault("unusable", "its content could not be used")
        return fault

    def state(self, now_ns: int) -> str:
        """In one word, see `StreamStats`."""
        if not self.config.enabled:
            return "disabled"
        return "never_seen" if not self.seen else "alive" if self.is_alive(now_ns) else "dead"

    def why_missing(self, was_awaited: bool, now_ns: int) -> str:
        """Why a set lacks it: its state, or of one that is alive "timeout" (it was waited for) or "stale"."""
        state = self.state(now_ns)
        return state if state != "alive" else "timeout" if was_awaited else "stale"

    def find(self, stamp_ns: int | None) -> Entry | None:
        """The buffered entry with exactly this stamp."""
        if stamp_ns is None:
            return None
        index = bisect_left(self.entries, stamp_ns, key=_stamp)
        return self.entries[index] if index < len(self.entries) and self.entries[index].stamp_ns == stamp_ns else None

    def insert(self, entry: Entry) -> None:
        self.entries.insert(bisect_right(self.entries, entry.stamp_ns, key=_stamp), entry)

    def matches(self, time_ns: int) -> list[Entry]:
        """Entries for a set at `time_ns`: the nearest one, or all packets of the window; empty when none fits."""
        target, config = time_ns + self.config.offset_ns, self.config
        if config.kind == "window":
            first = bisect_right(self.entries, target - config.oldest_ns, key=_stamp)
            return self.entries[first : bisect_right(self.entries, target + config.noise_window_ns, key=_stamp)]
        index = bisect_left(self.entries, target, key=_stamp)
        around = self.entries[max(index - 1, 0) : index + 1]
        nearest = min(around, key=lambda entry: abs(entry.stamp_ns - target), default=None)
        return [nearest] if nearest is not None and abs(nearest.stamp_ns - target) <= config.max_age_ns else []

    def believed(self, entries: list[Entry], arrival_ns: int, patience_ns: int, now_ns: int) -> list[Entry]:
        """Those whose stamps, which say that they are near, can be believed.

        A stamp must not be newer than the clock of the stream allows; of a clock that is not known, or is no more, the
        arrival must be near too: within the oldest age and the patience of `arrival_ns`.
        """
        newest_ns = self.clock.track.offset_ns + _CLOCK_SLACK_NS
        oldest_ns = arrival_ns - self.config.oldest_ns - patience_ns
        is_known = self.is_alive(now_ns) and self.clock.is_steady(now_ns)
        return [
            entry
            for entry in entries
            if entry.stamp_ns - entry.sample.arrival_ns <= newest_ns
            and (is_known or entry.sample.arrival_ns >= oldest_ns)
        ]

    def gap(self, time_ns: int) -> Gap | None:
        """Why nothing matches a set at `time_ns`; None before the first message."""
        target, config = time_ns + self.config.offset_ns, self.config
        stamps = [entry.stamp_ns for entry in self.entries]
        if self.last_stamp_ns is not None:
            stamps.append(self.last_stamp_ns)
        distance_ns = min((stamp_ns - target for stamp_ns in stamps), key=abs, default=None)
        if distance_ns is None:
            return None
        newest_ns = config.noise_window_ns if config.kind == "window" else config.max_age_ns
        return Gap(distance_ns, config.oldest_ns if distance_ns < 0 else newest_ns)

    def expects_better(self, time_ns: int, deadline_ns: int) -> bool:
        """Whether a set at `time_ns` gains by waiting until the deadline, given that the stream is alive."""
        target, noise = time_ns + self.config.offset_ns, self.config.noise_window_ns
        found = self.matches(time_ns)
        if not found and self.clock.may_move_to(target):
            return True
        if found and abs(found[-1].stamp_ns - target) <= noise:
            return False
        track = self.clock.track
        if track.last_stamp_ns >= target - (noise if self.config.kind == "window" else 0):
            return False  # messages come in order: all that follow are farther away
        period = track.period_ns
        if period is None:
            return True
        if self.config.kind == "window":
            return self._earliest_arrival_ns(-(-(target - noise - track.last_stamp_ns) // period)) <= deadline_ns
        best = abs(found[0].stamp_ns - target) if found else self.config.max_age_ns
        steps = max(round((target - track.last_stamp_ns) / period), 1)  # to the nearest one; those before come earlier
        while steps > 0 and abs(track.last_stamp_ns + steps * period - target) < best:
            if self._earliest_arrival_ns(steps) <= deadline_ns:
                return True
            steps -= 1
        return False

    def _earliest_arrival_ns(self, steps: int) -> int:
        """When the message after `steps` periods comes, by the usual latency or by the usual distance of arrivals.

        Latency alone misleads when a recording is played faster than it was made, distance after one late message.
        """
        track = self.clock.track
        assert track.period_ns is not None and track.arrival_period_ns is not None  # it has two messages
        by_latency = track.last_stamp_ns + steps * track.period_ns + median_low(track.latencies)
        return min(by_latency, track.last_arrival_ns + steps * track.arrival_period_ns)

    def use(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not entry.used:
                entry.used = True
                self.used += 1

    def remove_before(self, time_ns: int) -> None:
        """Drops what no set later than `time_ns` can use."""
        end = bisect_right(self.entries, time_ns + self.config.offset_ns - self.config.oldest_ns, key=_stamp)
        for entry in self.entries[:end]:
            if not entry.held:
                self._drop(entry, "late" if entry.late else "unmatched")
        self.entries[:end] = [entry for entry in self.entries[:end] if entry.held]

    def remove_of_other_clock(self, stamp_ns: int) -> None:
        """Drops the entry with a stamp that is new to the clock that is followed: another clock brought it before."""
        entry = self.find(stamp_ns)
        if entry is not None and not entry.held:
            self.entries.remove(entry)
            self._drop(entry, "other_clock")

    def remove_ahead(self) -> None:
        """Drops what is newer than the clock that is followed now: another one brought it, and it would stay for long,
        in the place of what comes.
        """
        end = bisect_right(self.entries, self.clock.track.last_stamp_ns, key=_stamp)
        for entry in self.entries[end:]:
            if not entry.held:
                self._drop(entry, "other_clock")
        self.entries[end:] = [entry for entry in self.entries[end:] if entry.held]

    def remove_oldest(self) -> None:
        self._drop(self.entries.pop(0), "queue")

    def keep_around(self, stamp_ns: int) -> None:
        """After a jump: drops all that is far from the new time."""
        for entry in self.entries:
            if abs(entry.stamp_ns - stamp_ns) > BACKWARD_JUMP_NS:
                self._drop(entry, "jump")
            entry.late = False
        self.entries = [entry for entry in self.entries if abs(entry.stamp_ns - stamp_ns) <= BACKWARD_JUMP_NS]

    def restart(self, time_ns: int) -> None:
        """Time has jumped: follows the clock that is near, where there is one, else it was never seen."""
        held = self.clock.restart(time_ns + self.config.offset_ns)
        self.drop_forgotten()
        for entry in held:
            self.insert(entry)

    def drop_forgotten(self) -> None:
        """Counts what was held of clocks that are not followed any more."""
        self.drop_held(self.clock.forgotten())

    def drop_held(self, entries: list[Entry]) -> None:
        """Counts messages that were held in case their clock would be followed."""
        for entry in entries:
            self.drop("late" if entry.late else "other_clock")

    def drop(self, reason: str, count: int = 1) -> None:
        """Counts messages that will be in no set."""
        if count:
            self.dropped[reason] += count

    def shift_clock(self, delta_ns: int) -> None:
        self.clock.shift_clock(delta_ns)
        if self._unusable_until_ns is not None:
            self._unusable_until_ns += delta_ns

    def _switch_off(self) -> None:
        """Lets go of everything, as if no message had come."""
        for entry in self.entries:
            self._drop(entry, "disabled")
        self.entries = []
        self.clock.forget()
        self.drop("disabled", len(self.clock.forgotten()))
        self.fault, self._unusable, self._unusable_until_ns = None, 0, None

    def _drop(self, entry: Entry, reason: str) -> None:
        if not entry.used:
            self.dropped[reason] += 1

    def stats(self, now_ns: int) -> StreamStats:
        buffered = sum(not entry.used for entry in self.entries) + self.clock.pending
        return StreamStats(
            self.added, self.used, self.dropped.copy(), buffered, self.state(now_ns), self.last_stamp_ns,
            self.period_ns, self.why_at_fault(now_ns),
        )  # fmt: skip


def _stamp(entry: Entry) -> int:
    return entry.stamp_ns
