"""Synchroniser: stamped messages of several streams in, sets of samples out, whichever streams are alive.

Collectors after Autoware (a reference stream, one offset and noise window per stream, a timeout, partial sets) with two
additions. Leader election: the reference is the best stream of `reference_priority` that is alive, so the loss of the
camera does not stop the output. Expectation: a set waits for a stream only while, by its observed rate, a nearer sample
than the buffered one can still come before the timeout; dead streams cost no waiting.

Pure: no ROS, no clock, no threads; integer nanoseconds. Stamps and arrival times may come from different clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from any2seg_core.errors import UserError
from any2seg_core.sync_stream import BACKWARD_JUMP_NS, MS, Entry, Gap, Sample, Stream, StreamConfig, StreamStats
from any2seg_core.sync_timeline import OpenSet, Timeline

__all__ = ["Gap", "Sample", "SampleSet", "StreamConfig", "StreamStats", "SyncConfig", "SyncStats", "Synchronizer"]

_CLOCK_SLACK_NS = 50 * MS


@dataclass(frozen=True)
class SyncConfig:
    """Settings of the synchroniser. All times in nanoseconds.

    Attributes:
        streams: settings per stream; a stream that is never published is legal.
        reference_priority: streams that may open a set, best first.
        timeout_ns: longest wait of a set after the arrival of its reference sample.
        timeout_without_reference_ns: how long a better reference is waited for at the start, and the least silence
            after which a stream counts as dead.
        min_streams: sets with fewer streams are not emitted.
        max_collectors: most sets open at a time; the oldest is emitted early.
        jump_reset_ns: a reference stamp this far after the last set is a jump in time.
        publish_late: also emit sets that are older than the last one.
    """

    streams: dict[str, StreamConfig]
    reference_priority: tuple[str, ...]
    timeout_ns: int = 50 * MS
    timeout_without_reference_ns: int = 200 * MS
    min_streams: int = 1
    max_collectors: int = 10
    jump_reset_ns: int = 10_000 * MS
    publish_late: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference_priority", tuple(self.reference_priority))
        unknown = [name for name in self.reference_priority if name not in self.streams]
        if unknown or not self.reference_priority or len(set(self.reference_priority)) < len(self.reference_priority):
            raise UserError(
                f"reference_priority {self.reference_priority}: name each of {sorted(self.streams)} at most once"
            )
        least = {"timeout_ns": 0, "timeout_without_reference_ns": 1, "min_streams": 1, "max_collectors": 1,
                 "jump_reset_ns": BACKWARD_JUMP_NS}  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name}: must be at least {low}, got {getattr(self, name)}")


@dataclass(frozen=True)
class SampleSet:
    """Samples that belong together.

    Attributes:
        stamp_ns: time of the set: stamp of the reference sample minus the offset of its stream.
        reference: stream that opened the set.
        samples: per stream that is there, one Sample, or for a "window" stream a tuple of them ordered by stamp.
        missing: per stream that is not there, "never_seen", "dead", "stale" (alive, but nothing near enough) or
            "timeout" (was waited for in vain).
        age_ns: per stream that is there, target minus stamp of the (newest) sample; negative means newer.
        offsets_ns: per stream that is there, its `StreamConfig.offset_ns` at that moment.
        gaps: per stream that is missing as "stale" or "timeout", how far away its nearest message is.
    """

    stamp_ns: int
    reference: str
    samples: dict[str, Sample | tuple[Sample, ...]]
    missing: dict[str, str]
    age_ns: dict[str, int]
    offsets_ns: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, Gap] = field(default_factory=dict)


@dataclass(frozen=True)
class SyncStats:
    """Counts since construction, and the reference stream of the moment.

    `sets_incomplete` were not emitted: a required stream was missing, or there were fewer than `min_modalities`.
    """

    streams: dict[str, StreamStats]
    sets_emitted: int
    sets_incomplete: int
    resets: int
    reference: str | None


@dataclass
class _Counters:
    emitted: int = 0
    incomplete: int = 0
    resets: int = 0


class Synchronizer:
    """Collects samples into sets with strictly increasing stamps.

    Every message ends in a set, or is counted as dropped with a reason: "bad_stamp" (zero or negative), "duplicate",
    "late" (older than what later sets can use), "queue" (buffer full), "jump" (before a jump in time) or "unmatched".
    Not thread-safe: the caller holds one lock around all calls.

    Example:
        >>> streams = {"rgb": StreamConfig(), "lidar": StreamConfig(max_age_ns=100_000_000)}
        >>> sync = Synchronizer(SyncConfig(streams, ("rgb", "lidar")))
        >>> for sample_set in sync.add("rgb", stamp_ns, image, now_ns): ...
        >>> for sample_set in sync.poll(now_ns): ...  # at the latest at sync.next_deadline_ns()
    """

    def __init__(self, config: SyncConfig) -> None:
        self.config = config
        self._streams = {
            name: Stream(stream, config.timeout_without_reference_ns) for name, stream in config.streams.items()
        }
        self._rank = {name: rank for rank, name in enumerate(config.reference_priority)}
        self._counters = _Counters()
        self._time = Timeline()
        self._now_ns: int | None = None

    def add(self, stream: str, stamp_ns: int, payload: Any, now_ns: int) -> list[SampleSet]:
        """Takes one message and returns the sets that are ready, oldest first.

        Args:
            stream: a key of `config.streams`; UserError otherwise.
            stamp_ns: acquisition time from the header.
            payload: kept and handed on as it is.
            now_ns: time of arrival on any steady clock.
        """
        if stream not in self._streams:
            raise UserError(f"unknown stream {stream!r}: the synchroniser was built for {', '.join(self._streams)}")
        now_ns = self._advance_clock(now_ns)
        state = self._streams[stream]
        state.added += 1
        if stamp_ns <= 0:
            state.dropped["bad_stamp"] += 1
            return self._decide(now_ns)
        ready = self._restart(stamp_ns, now_ns, grace=True) if self._time.has_looped(state, stamp_ns) else []
        if self._time.started_ns is None:
            self._time.started_ns = now_ns
        state.observe(stamp_ns, now_ns)
        if self._elect(now_ns) == stream and self._is_far(stamp_ns - state.config.offset_ns):
            ready += self._restart(stamp_ns, now_ns, grace=False)
        reason = self._refusal(state, stamp_ns)
        if reason is not None:
            state.dropped[reason] += 1
            return ready + self._decide(now_ns)
        entry = Entry(Sample(stamp_ns, now_ns, payload))
        entry.late = self._time.is_past(stamp_ns - state.config.offset_ns)
        state.insert(entry)
        ready += self._make_room(state, now_ns)
        if stream == self._time.reference and state.find(stamp_ns) is entry:
            ready += self._open(stream, entry, now_ns)
        return ready + self._decide(now_ns)

    def reconfigure(self, config: SyncConfig, now_ns: int) -> list[SampleSet]:
        """Other tolerances and timeouts from now on; buffers, rates and counts stay.

        Sets that are open are decided at once, as their stamps hold the old offsets.

        Raises:
            UserError: other streams, kinds or priorities: that takes a new synchroniser.
        """
        if _structure(config) != _structure(self.config):
            raise UserError("reconfigure: streams, kinds and reference_priority must be those of the construction")
        now_ns = self._advance_clock(now_ns)
        ready = self._emit_through(len(self._time.open_sets) - 1, now_ns)
        for name, stream in self._streams.items():
            stream.reconfigure(config.streams[name], config.timeout_without_reference_ns)
        self.config = config
        return ready + self._decide(now_ns)

    def jump(self, time_ns: int, now_ns: int) -> list[SampleSet]:
        """The robot's clock was set to `time_ns`: emits what is open and forgets all that lies far from there.

        Does nothing when the messages themselves have told so before: a loop must not reset twice.
        """
        now_ns = self._advance_clock(now_ns)
        if not self._is_far(time_ns):
            return self._decide(now_ns)
        return self._restart(time_ns, now_ns, grace=True) + self._decide(now_ns)

    def poll(self, now_ns: int) -> list[SampleSet]:
        """Returns the sets that time has made ready, oldest first."""
        return self._decide(self._advance_clock(now_ns))

    def next_deadline_ns(self) -> int | None:
        """When to call `poll` at the latest if no message comes; None when only a message can change anything."""
        now_ns, moments = self._now_ns, []
        if now_ns is None:
            return None
        for open_set in self._time.open_sets:
            moments.append(open_set.deadline_ns)
            moments += [self._streams[name].dead_at_ns for name in self._awaited(open_set, now_ns)
                        if self._streams[name].seen]  # fmt: skip
        if self._time.reference is not None:
            moments.append(self._streams[self._time.reference].dead_at_ns)
        if self._in_grace(now_ns):
            moments.append(self._grace_end_ns)
        return min(moments, default=None)

    @property
    def stats(self) -> SyncStats:
        """A snapshot of all counts."""
        now_ns = self._now_ns or 0
        return SyncStats(
            {name: stream.stats(now_ns) for name, stream in self._streams.items()},
            self._counters.emitted, self._counters.incomplete, self._counters.resets, self._time.reference,
        )  # fmt: skip

    def _advance_clock(self, now_ns: int) -> int:
        if self._now_ns is not None and now_ns < self._now_ns:
            delta = now_ns - self._now_ns
            if -delta <= _CLOCK_SLACK_NS:  # threads that overtake each other
                return self._now_ns
            for stream in self._streams.values():  # the clock was set back: durations stay as they were
                stream.shift_clock(delta)
            self._time.shift_clock(delta)
        self._now_ns = now_ns
        return now_ns

    def _refusal(self, stream: Stream, stamp_ns: int) -> str | None:
        if stream.find(stamp_ns) is not None:
            return "duplicate"
        return "late" if self._time.is_past(stamp_ns - stream.config.offset_ns + stream.config.oldest_ns) else None

    def _is_far(self, time_ns: int) -> bool:
        return self._time.is_far(time_ns, self.config.jump_reset_ns)

    def _restart(self, stamp_ns: int, now_ns: int, grace: bool) -> list[SampleSet]:
        """Emits what is open, then starts a new time; samples around `stamp_ns` survive."""
        ready = self._emit_through(len(self._time.open_sets) - 1, now_ns)
        self._counters.resets += 1
        self._time = Timeline(now_ns if grace else now_ns - self.config.timeout_without_reference_ns)
        for stream in self._streams.values():
            stream.keep_around(stamp_ns, BACKWARD_JUMP_NS)
        return ready

    @property
    def _grace_end_ns(self) -> int:
        return self._time.started_ns + self.config.timeout_without_reference_ns

    def _in_grace(self, now_ns: int) -> bool:
        return self._time.started_ns is not None and now_ns < self._grace_end_ns

    def _elect(self, now_ns: int) -> str | None:
        for name in self.config.reference_priority:
            stream = self._streams[name]
            if stream.is_alive(now_ns):
                return name
            if not stream.seen and self._in_grace(now_ns):
                return None  # a better one may still be starting
        return None

    def _decide(self, now_ns: int) -> list[SampleSet]:
        """Elects the reference, lets a new one open its first set, and emits what is due."""
        ready, elected = [], self._elect(now_ns)
        if elected != self._time.reference:
            ready += self._take_over(elected, now_ns) if elected is not None else []
            self._time.reference = elected
        due = -1
        for index, open_set in enumerate(self._time.open_sets):
            if now_ns >= open_set.deadline_ns or self._is_complete(open_set, now_ns):
                due = index
        return ready + self._emit_through(due, now_ns)

    def _take_over(self, name: str, now_ns: int) -> list[SampleSet]:
        """The new reference opens a set with its newest sample, if that is not part of one already."""
        stream = self._streams[name]
        newest = stream.find(stream.last_stamp_ns)
        if newest is None:
            return []
        ready = []
        if self._is_far(newest.stamp_ns - stream.config.offset_ns):
            ready = self._restart(newest.stamp_ns, now_ns, grace=False)
        return ready + self._open(name, newest, now_ns)

    def _open(self, name: str, entry: Entry, now_ns: int) -> list[SampleSet]:
        time_ns = entry.stamp_ns - self.config.streams[name].offset_ns
        if entry.held or entry.used or (self._time.is_past(time_ns) and not self.config.publish_late):
            return []  # a sample that already is part of a set brings nothing new
        open_sets = self._time.open_sets
        # The wait counts from the arrival, so a stream that takes over with a buffered sample loses no time.
        deadline_ns = entry.sample.arrival_ns + self.config.timeout_ns
        for other in list(open_sets):  # a better reference takes over the set of a worse one for the same moment
            near = abs(other.stamp_ns - time_ns) <= self.config.streams[other.reference].noise_window_ns
            if near and self._rank[name] < self._rank[other.reference]:
                deadline_ns = min(deadline_ns, other.deadline_ns)  # the others were waited for since then
                other.entry.held = False
                open_sets.remove(other)
        if any(other.stamp_ns == time_ns for other in open_sets):
            return []
        entry.held = True
        open_sets.append(OpenSet(name, entry, time_ns, deadline_ns))
        open_sets.sort(key=lambda open_set: open_set.stamp_ns)
        return self._emit_through(len(open_sets) - self.config.max_collectors - 1, now_ns)

    def _awaited(self, open_set: OpenSet, now_ns: int) -> list[str]:
        awaited = []
        for name, stream in self._streams.items():
            if not stream.seen:
                if self._in_grace(now_ns):
                    awaited.append(name)
            elif stream.is_alive(now_ns) and stream.expects_better(open_set.stamp_ns, open_set.deadline_ns):
                awaited.append(name)
        return awaited

    def _is_complete(self, open_set: OpenSet, now_ns: int) -> bool:
        return not self._awaited(open_set, now_ns) and self._suffices(self._found(open_set.stamp_ns))

    def _found(self, time_ns: int) -> dict[str, list[Entry]]:
        found = {name: stream.matches(time_ns) for name, stream in self._streams.items()}
        return {name: entries for name, entries in found.items() if entries}

    def _suffices(self, found: dict[str, list[Entry]]) -> bool:
        required = all(name in found for name, config in self.config.streams.items() if config.required)
        return required and len(found) >= self.config.min_streams

    def _make_room(self, stream: Stream, now_ns: int) -> list[SampleSet]:
        ready = []
        while len(stream.entries) > stream.config.buffer:
            oldest = stream.entries[0]
            if oldest.held:
                index = next(i for i, open_set in enumerate(self._time.open_sets) if open_set.entry is oldest)
                ready += self._emit_through(index, now_ns)
            else:
                stream.remove_oldest()
        return ready

    def _emit_through(self, last: int, now_ns: int) -> list[SampleSet]:
        """Decides the open sets up to index `last`, in order of time."""
        open_sets = self._time.open_sets
        decided, self._time.open_sets = open_sets[: last + 1], open_sets[last + 1 :]
        ready = [self._emit(open_set, now_ns) for open_set in decided]
        if decided:
            for stream in self._streams.values():
                stream.remove_before(self._time.horizon_ns)
        return [sample_set for sample_set in ready if sample_set is not None]

    def _emit(self, open_set: OpenSet, now_ns: int) -> SampleSet | None:
        time_ns, awaited = open_set.stamp_ns, self._awaited(open_set, now_ns)
        open_set.entry.held = False
        self._time.decided(time_ns)
        found = self._found(time_ns)
        if not self._suffices(found):
            self._counters.incomplete += 1
            return None
        self._counters.emitted += 1
        samples: dict[str, Sample | tuple[Sample, ...]] = {}
        age_ns = {}
        for name, entries in found.items():
            stream = self._streams[name]
            stream.use(entries)
            chosen = tuple(entry.sample for entry in entries)
            samples[name] = chosen if stream.config.kind == "window" else chosen[0]
            age_ns[name] = time_ns + stream.config.offset_ns - chosen[-1].stamp_ns
        missing = {
            name: self._why_missing(stream, name in awaited, now_ns)
            for name, stream in self._streams.items()
            if name not in found
        }
        offsets_ns = {name: self._streams[name].config.offset_ns for name in found}
        near = [name for name, why in missing.items() if why in ("stale", "timeout")]
        gaps = {name: gap for name in near if (gap := self._streams[name].gap(time_ns)) is not None}
        return SampleSet(time_ns, open_set.reference, samples, missing, age_ns, offsets_ns, gaps)

    @staticmethod
    def _why_missing(stream: Stream, was_awaited: bool, now_ns: int) -> str:
        if not stream.seen:
            return "never_seen"
        if not stream.is_alive(now_ns):
            return "dead"
        return "timeout" if was_awaited else "stale"


def _structure(config: SyncConfig) -> tuple[dict[str, str], tuple[str, ...]]:
    return {name: stream.kind for name, stream in config.streams.items()}, config.reference_priority
