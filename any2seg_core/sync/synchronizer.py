"""Synchroniser: stamped messages of several streams in, sets of samples out, whichever streams are alive.

Collectors after Autoware (a reference stream, one offset and noise window per stream, a timeout, partial sets) with
three additions. Leader election: the reference is the best stream of `reference_priority` that is alive, so the loss of
the camera does not stop the output. Alive is who sends something new: repetitions, clocks that run back and a second
publisher are told apart (`sync_clock`), and a stream that contradicts the others does not lead (`sync_election`).
Expectation: a set waits for a stream only while, by its observed rate, a nearer sample than the buffered one can still
come before the timeout; dead streams cost no waiting.

The longest gap between two sets, while one stream brings something new: the silence after which the reference counts
as dead (2.5 of its periods, at least `timeout_without_reference_ns` and at most the larger of that and 0.3 s, which
also holds before its second message), plus `timeout_ns`, plus one period of the stream that takes over.

Pure: no ROS, no clock, no threads; integer nanoseconds. Stamps and arrival times may come from different clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.sync.clock import MS, SYNC_REASONS, StreamFault
from any2seg_core.sync.election import Choice, Moment, contradiction, elect, patient_until_ns
from any2seg_core.sync.sets import SampleSet, SyncConfig, SyncStats
from any2seg_core.sync.stream import Entry, Gap, Sample, Stream, StreamConfig, StreamStats
from any2seg_core.sync.timeline import OpenSet, Timeline

__all__ = ["SYNC_REASONS", "Gap", "Sample", "SampleSet", "StreamConfig", "StreamFault", "StreamStats", "SyncConfig",
           "SyncStats", "Synchronizer"]  # fmt: skip

_CLOCK_SLACK_NS = 50 * MS


@dataclass
class _Counters:
    emitted: int = 0
    incomplete: int = 0
    resets: int = 0
    at_restart: int = -1  # sets that were decided when time started anew


class Synchronizer:
    """Collects samples into sets with strictly increasing stamps.

    Every message ends in a set, or is counted as dropped with a reason: "bad_stamp" (zero or negative), "duplicate"
    (the stamp was there before), "late" (older than what later sets can use), "queue" (buffer full), "jump" (before a
    jump in time), "other_clock" (of a second publisher, or a stamp that its stream contradicts), "disabled" (the
    stream is switched off) or "unmatched".
    Not thread-safe: the caller holds one lock around all calls.

    Examples:
        >>> from any2seg_core import StreamConfig, SyncConfig, Synchronizer
        >>> streams = {"rgb": StreamConfig(), "lidar": StreamConfig(max_age_ns=100_000_000)}
        >>> sync = Synchronizer(SyncConfig(streams, reference_priority=("rgb", "lidar")))
        >>> sync.add("lidar", stamp_ns=980_000_000, payload="cloud", now_ns=1_000_000_000)
        []
        >>> [sample_set] = sync.add("rgb", stamp_ns=1_000_000_000, payload="image", now_ns=1_010_000_000)
        >>> sample_set.reference, sample_set.age_ns
        ('rgb', {'rgb': 0, 'lidar': 20000000})
        >>> sync.poll(now_ns=1_020_000_000)  # what waits for others is ready at the latest at sync.next_deadline_ns()
        []
    """

    def __init__(self, config: SyncConfig) -> None:
        self.config = config
        alone_ns = config.timeout_without_reference_ns
        self._streams = {name: Stream(stream, alone_ns) for name, stream in config.streams.items()}
        self._rank = {name: rank for rank, name in enumerate(config.reference_priority)}
        self._counters = _Counters()
        self._time = Timeline()
        self._choice = Choice(None, False, (), ())
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
            known = ", ".join(self._streams)
            raise UserError(f"unknown stream {stream!r}: the synchroniser was built for {known}", "sensor-unknown")
        now_ns = self._advance_clock(now_ns)
        state = self._streams[stream]
        state.added += 1
        if stamp_ns <= 0 or not state.config.enabled:
            state.drop("bad_stamp" if state.config.enabled else "disabled")
            return self._decide(now_ns)
        if self._time.started_ns is None:
            self._time.started_ns = now_ns
        entries = self._read(stream, Entry(Sample(stamp_ns, now_ns, payload)), now_ns)
        for entry in entries:
            entry.late = self._time.is_past(entry.stamp_ns - state.config.offset_ns)
            state.insert(entry)
        ready = self._make_room(state, now_ns)
        return ready + self._decide(now_ns, stream, entries)

    def judge(self, stream: str, usable: bool, now_ns: int) -> list[SampleSet]:
        """Takes note of whether the content of a stream could be used in a set; returns the sets that are ready.

        A stream whose content cannot be used does not lead while another one can.
        """
        now_ns = self._advance_clock(now_ns)
        self._streams[stream].judge(usable, now_ns)
        return self._decide(now_ns)

    def reconfigure(self, config: SyncConfig, now_ns: int) -> list[SampleSet]:
        """Other tolerances and timeouts from now on; buffers, rates and counts stay.

        Sets that are open are decided at once, as their stamps hold the old offsets.

        Raises:
            UserError: other streams, kinds or priorities: that takes a new synchroniser.
        """
        if _structure(config) != _structure(self.config):
            kept = "streams, kinds and reference_priority"
            raise UserError(f"reconfigure: {kept} must be those of the construction", "value-conflict")
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
        if not self._time.is_far(time_ns, self.config.jump_reset_ns):
            return self._decide(now_ns)
        ready = self._emit_through(len(self._time.open_sets) - 1, now_ns)
        for stream in self._streams.values():
            stream.restart(time_ns)
        return ready + self._restart(time_ns, now_ns, is_set=True) + self._decide(now_ns)

    def poll(self, now_ns: int) -> list[SampleSet]:
        """Returns the sets that time has made ready, oldest first."""
        return self._decide(self._advance_clock(now_ns))

    def next_deadline_ns(self) -> int | None:
        """When to call `poll` at the latest if no message comes; None when only a message can change anything."""
        now_ns = self._now_ns
        if now_ns is None:
            return None
        moments = [open_set.deadline_ns for open_set in self._time.open_sets]
        moments += [each.earliest_ns for each in self._time.open_sets if each.earliest_ns > now_ns]
        for stream in self._streams.values():
            if stream.is_alive(now_ns):
                moments.append(stream.dead_at_ns)
                if stream.usable_at_ns is not None and not stream.is_usable(now_ns):
                    moments.append(stream.usable_at_ns)
        if self._time.reference is not None:
            patient_ns = patient_until_ns(self._streams[self._time.reference], self._moment(now_ns))
            if patient_ns > now_ns:
                moments.append(patient_ns)
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

    def _read(self, name: str, entry: Entry, now_ns: int) -> list[Entry]:
        """What goes into the buffer for a message: it, those that waited for it, or nothing."""
        stream, entries = self._streams[name], []
        kind, track = stream.clock.observe(entry.stamp_ns, now_ns)
        if kind == "new":
            stream.remove_of_other_clock(entry.stamp_ns)
        reason = self._refusal(stream, entry.stamp_ns)
        if kind == "new" and reason == "late" and self._time.is_behind(entry.stamp_ns - stream.config.offset_ns):
            reason = None  # its clock was set back: time may start anew with it
        if kind == "repeat":
            stream.drop(reason or "duplicate")
        elif kind != "apart" and reason is None:
            entries.append(entry)
        elif track is not None and track is not stream.clock.followed and reason != "duplicate":
            entry.late = kind == "behind"
            stream.drop_held(track.hold(entry))
        elif reason is not None:
            stream.drop(reason)
        if not stream.clock.has_others:
            return entries
        held = stream.clock.settle(now_ns, self._times_of_others(name, now_ns))
        stream.drop_forgotten()
        stream.remove_ahead()
        return entries if held is None else held + [each for each in entries if each not in held]

    def _times_of_others(self, name: str, now_ns: int) -> list[int]:
        offset_ns = self.config.streams[name].offset_ns
        return [
            stream.time_ns + offset_ns
            for other, stream in self._streams.items()
            if other != name and stream.is_alive(now_ns)
        ]

    def _refusal(self, stream: Stream, stamp_ns: int) -> str | None:
        if stream.find(stamp_ns) is not None:
            return "duplicate"
        return "late" if self._time.is_past(stamp_ns - stream.config.offset_ns + stream.config.oldest_ns) else None

    def _restart(self, time_ns: int, now_ns: int, is_set: bool) -> list[SampleSet]:
        """Emits what is open, then starts a new time; samples around it survive.

        Where the clock was set back it is the start of a recording: better streams are waited for again, but not a
        second time before a set has gone out.
        """
        ready = self._emit_through(len(self._time.open_sets) - 1, now_ns)
        decided = self._counters.emitted + self._counters.incomplete
        has_grace = is_set and self._time.is_behind(time_ns) and decided != self._counters.at_restart
        self._counters.at_restart = decided
        self._counters.resets += 1
        started_ns = now_ns - self.config.timeout_without_reference_ns
        self._time = Timeline(started_ns, emitted_ns=self._time.emitted_ns)
        begins = [now_ns]
        for stream in self._streams.values():
            stream.keep_around(time_ns + stream.config.offset_ns)
            if has_grace and not stream.is_alive(now_ns):
                stream.restart(time_ns)
            begins += [entry.sample.arrival_ns for entry in stream.entries]
        if has_grace:
            self._time.started_ns = min(begins)
        return ready

    @property
    def _grace_end_ns(self) -> int:
        assert self._time.started_ns is not None  # asked in `_in_grace` alone, and by those it allows
        return self._time.started_ns + self.config.timeout_without_reference_ns

    def _in_grace(self, now_ns: int) -> bool:
        return self._time.started_ns is not None and now_ns < self._grace_end_ns

    def _moment(self, now_ns: int) -> Moment:
        config, time = self.config, self._time
        return Moment(
            now_ns, self._in_grace(now_ns), time.reference, time.horizon_ns, time.emitted_ns,
            config.timeout_without_reference_ns, config.publish_late,
        )  # fmt: skip

    def _decide(self, now_ns: int, stream: str | None = None, arrived: list[Entry] | None = None) -> list[SampleSet]:
        """Elects the reference, lets it open sets with what has arrived, and emits what is due."""
        ready: list[SampleSet] = []
        choice = self._choice = elect(self._streams, self.config.reference_priority, self._moment(now_ns))
        leader = self._jumping(choice)
        if leader is not None:
            ready += self._restart(leader.time_ns, now_ns, leader.clock.was_set(now_ns))
            self._time.reference = choice.name  # of two times that contradict each other its own goes on
            choice = self._choice = elect(self._streams, self.config.reference_priority, self._moment(now_ns))
            opening = [] if choice.name is None else list(self._streams[choice.name].entries)
        elif choice.name == stream:
            opening = arrived or []
        elif choice.name is not None and choice.name != self._time.reference:
            newest = self._streams[choice.name].find(self._streams[choice.name].last_stamp_ns)
            opening = [] if newest is None else [newest]
        else:
            opening = []
        self._time.reference = choice.name
        for number, entry in enumerate(opening):
            since_ns = entry.sample.arrival_ns
            if leader is not None:  # other clocks may have been set too; and who takes one set at a time gets each
                since_ns = now_ns + number * self.config.timeout_ns // 2
            assert choice.name is not None  # else nothing opens a set
            ready += self._open(choice.name, entry, since_ns, now_ns)
        due = -1
        for index, open_set in enumerate(self._time.open_sets):
            if now_ns >= open_set.deadline_ns or self._is_complete(open_set, now_ns):
                due = index
        return ready + self._emit_through(due, now_ns)

    def _jumping(self, choice: Choice) -> Stream | None:
        """The stream that opens sets, where its time is a jump."""
        if choice.name is None:
            return None
        leader = self._streams[choice.name]
        is_jump = choice.is_behind or self._time.is_ahead(leader.time_ns, self.config.jump_reset_ns)
        return leader if is_jump else None

    def _open(self, name: str, entry: Entry, since_ns: int, now_ns: int) -> list[SampleSet]:
        """Opens a set that waits for the other streams since `since_ns`."""
        time_ns = entry.stamp_ns - self.config.streams[name].offset_ns
        if entry.held or entry.used or (self._time.is_past(time_ns) and not self.config.publish_late):
            return []  # a sample that already is part of a set brings nothing new
        if self._streams[name].find(entry.stamp_ns) is not entry:
            return []  # a set that went out meanwhile has left it behind
        open_sets = self._time.open_sets
        # The wait counts from the arrival, so a stream that takes over with a buffered sample loses no time.
        deadline_ns = since_ns + self.config.timeout_ns
        for other in list(open_sets):  # a better reference takes over the set of a worse one for the same moment
            near = abs(other.stamp_ns - time_ns) <= self.config.streams[other.reference].noise_window_ns
            if near and self._rank[name] < self._rank[other.reference]:
                deadline_ns = min(deadline_ns, other.deadline_ns)  # the others were waited for since then
                other.entry.held = False
                open_sets.remove(other)
        if any(other.stamp_ns == time_ns for other in open_sets):
            return []
        entry.held = True
        open_sets.append(OpenSet(name, entry, time_ns, deadline_ns, since_ns))
        open_sets.sort(key=lambda open_set: open_set.stamp_ns)
        return self._emit_through(len(open_sets) - self.config.max_collectors - 1, now_ns)

    def _awaited(self, open_set: OpenSet, now_ns: int) -> list[str]:
        awaited = []
        for name, stream in self._streams.items():
            if stream.may_start:
                if self._in_grace(now_ns):
                    awaited.append(name)
            elif stream.is_alive(now_ns) and stream.expects_better(open_set.stamp_ns, open_set.deadline_ns):
                awaited.append(name)
        return awaited

    def _is_complete(self, open_set: OpenSet, now_ns: int) -> bool:
        is_due = now_ns >= open_set.earliest_ns
        return is_due and not self._awaited(open_set, now_ns) and self._suffices(self._found(open_set, now_ns))

    def _found(self, open_set: OpenSet, now_ns: int) -> dict[str, list[Entry]]:
        """Per stream what belongs into a set; nothing of a stream that contradicts the others."""
        patience_ns = self.config.timeout_ns + self.config.timeout_without_reference_ns
        arrival_ns = open_set.entry.sample.arrival_ns
        found: dict[str, list[Entry]] = {}
        for name, stream in self._streams.items():
            if stream.seen and name not in self._choice.contradicting:
                entries = stream.matches(open_set.stamp_ns)
                found[name] = stream.believed(entries, arrival_ns, patience_ns, now_ns)
        if open_set.entry not in found.get(open_set.reference, []):  # its clock was believed when it opened the set
            found[open_set.reference] = [open_set.entry]
        return {name: entries for name, entries in found.items() if entries}

    def _suffices(self, found: dict[str, list[Entry]]) -> bool:
        required = all(name in found for name, config in self.config.streams.items() if config.required)
        return required and len(found) >= self.config.min_streams

    def _make_room(self, stream: Stream, now_ns: int) -> list[SampleSet]:
        ready = []
        while len(stream.entries) + stream.clock.pending > stream.config.buffer:
            if stream.clock.release():
                stream.drop("queue")
                continue
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
        if decided and self._time.horizon_ns is not None:
            for stream in self._streams.values():
                stream.remove_before(self._time.horizon_ns)
        return [sample_set for sample_set in ready if sample_set is not None]

    def _emit(self, open_set: OpenSet, now_ns: int) -> SampleSet | None:
        time_ns, awaited = open_set.stamp_ns, self._awaited(open_set, now_ns)
        open_set.entry.held = False
        self._time.decided(time_ns)
        found = self._found(open_set, now_ns)
        if not self._suffices(found):
            self._counters.incomplete += 1
            return None
        self._counters.emitted += 1
        self._time.emitted_ns = now_ns
        faults = self._faults(now_ns)
        samples: dict[str, tuple[Sample, ...]] = {}
        age_ns = {}
        for name, entries in found.items():
            stream = self._streams[name]
            stream.use(entries)
            samples[name] = tuple(entry.sample for entry in entries)
            age_ns[name] = time_ns + stream.config.offset_ns - samples[name][-1].stamp_ns
        missing = {
            name: faults[name].reason if name in faults else stream.why_missing(name in awaited, now_ns)
            for name, stream in self._streams.items()
            if name not in found
        }
        offsets_ns = {name: self._streams[name].config.offset_ns for name in found}
        near = [name for name, why in missing.items() if why in ("stale", "timeout")]
        gaps = {name: gap for name in near if (gap := self._streams[name].gap(time_ns)) is not None}
        texts = {name: fault.text for name, fault in faults.items()}
        return SampleSet(time_ns, open_set.reference, samples, missing, age_ns, offsets_ns, gaps, texts)

    def _faults(self, now_ns: int) -> dict[str, StreamFault]:
        """Per stream what is wrong with what it sends."""
        faults = {}
        for name, stream in self._streams.items():
            stream.fault = contradiction(name, self._streams, self._choice)
            fault = stream.why_at_fault(now_ns)
            if fault is not None:
                faults[name] = fault
        return faults


def _structure(config: SyncConfig) -> tuple[dict[str, str], tuple[str, ...]]:
    return {name: stream.kind for name, stream in config.streams.items()}, config.reference_priority
