"""Which stream leads: the best one that is alive, keeps the time of the others, and brings the output forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from any2seg_core.sync.clock import StreamFault, seconds_text
from any2seg_core.sync.stream import Stream
from any2seg_core.sync.track import DEAD_AFTER_PERIODS, MS, SAME_TIME_NS, distance_between, longest_silence_ns

_LEAST_DRIFT_NS = 100 * MS


class Moment(NamedTuple):
    """What an election looks at beside the streams. All times in nanoseconds.

    Attributes:
        now_ns: of the election. in_grace: streams that were never seen are still waited for.
        reference: stream that led so far. horizon_ns: time of the newest decided set, None: none was.
        emitted_ns: when the last set went out. least_silence_ns: as in the settings.
        late_is_fine: sets older than the horizon are wanted too.
    """

    now_ns: int
    in_grace: bool
    reference: str | None
    horizon_ns: int | None
    emitted_ns: int | None
    least_silence_ns: int
    late_is_fine: bool


class Choice(NamedTuple):
    """Outcome of an election.

    Attributes:
        name: the stream that leads; None: nobody.
        is_behind: its time lies so far behind the output that that starts anew.
        contradicting: living streams whose stamps contradict those of the others: they are not fused.
        group: living streams that are at the same time as the leader.
    """

    name: str | None
    is_behind: bool
    contradicting: tuple[str, ...]
    group: tuple[str, ...]


def elect(streams: Mapping[str, Stream], priority: tuple[str, ...], moment: Moment) -> Choice:
    """The reference of this moment.

    A stream whose stamps contradict the other streams, or whose content cannot be used, leads only when no other can.
    """
    now_ns = moment.now_ns
    alive = [name for name in priority if streams[name].is_alive(now_ns)]
    trusted = trustworthy(streams, alive, now_ns)
    group = leading_group(streams, trusted, priority, moment)
    sound = [streams[name] for name in group if streams[name].is_sound(now_ns)]
    ahead = [name for name in group if _was_set_ahead(streams[name], sound)]
    contradicting = tuple(name for name in alive if name not in group or name in ahead)
    waits: dict[str, int] = {}
    doubtful = None
    for name in priority:
        stream = streams[name]
        if name in ahead:
            continue
        if name in group:
            if _has_drifted(stream, [other for other in sound if other is not stream]):
                contradicting += (name,)
            elif not stream.is_usable(now_ns) or stream.clock.is_erratic(now_ns):
                doubtful = doubtful or name
            else:
                waits[name] = _wait_ns(name, stream, moment)
                if _is_patient(waits[name], stream, moment):
                    return Choice(name, False, contradicting, tuple(group))
        elif stream.may_start and moment.in_grace:
            return Choice(None, False, contradicting, tuple(group))  # a better one may still be starting
    chosen = min(waits, key=waits.__getitem__) if waits else doubtful
    is_behind = chosen is not None and _lag_ns(streams[chosen], moment) > 0
    return Choice(chosen, is_behind, contradicting, tuple(group))


def trustworthy(streams: Mapping[str, Stream], alive: list[str], now_ns: int) -> list[str]:
    """Streams whose newest stamp is believed: two that go on, or one that is where the other streams are."""
    sure = [name for name in alive if streams[name].clock.track.count > 1]
    if len(sure) == len(alive):
        return alive
    if not sure:
        return alive
    return [name for name in alive if name in sure or _is_near(streams[name], [streams[s] for s in sure], now_ns)]


def _is_near(stream: Stream, sure: list[Stream], now_ns: int) -> bool:
    """Whether a first stamp is not newer than it can be, and not far behind."""
    for other in sure:
        expected_ns = other.time_ns + now_ns - other.clock.track.last_arrival_ns
        if -SAME_TIME_NS <= stream.time_ns - expected_ns <= _LEAST_DRIFT_NS:
            return True
    return False


def leading_group(
    streams: Mapping[str, Stream], trusted: list[str], priority: tuple[str, ...], moment: Moment
) -> list[str]:
    """Those of the trusted streams that are at the same time.

    Of several groups the one with most streams whose content can be used; of those the one with more clocks that go
    as fast as time and were not set, nor are about to be; then the one that led.
    """
    times_ns = {name: streams[name].time_ns for name in trusted}
    groups: list[list[str]] = []
    last_ns = None
    for name in sorted(times_ns, key=times_ns.__getitem__):
        if last_ns is None or times_ns[name] - last_ns > SAME_TIME_NS:
            groups.append([])
        groups[-1].append(name)
        last_ns = times_ns[name]
    if len(groups) < 2:
        return groups[0] if groups else []

    settled = [clock for name in trusted if not (clock := streams[name].clock).was_set(moment.now_ns)]
    common_ns = min((abs(clock.track.drift_ns) for clock in settled), default=0)  # of a fast replay all drift

    def weight(group: list[str]) -> tuple[int, int, bool, bool, int]:
        horizon_ns = moment.horizon_ns
        goes_on = horizon_ns is not None and any(
            -SAME_TIME_NS <= times_ns[name] - horizon_ns <= 2 * SAME_TIME_NS for name in group
        )
        clocks = [streams[name].clock for name in group]
        steady = sum(
            clock in settled and not clock.pending and abs(clock.track.drift_ns) - common_ns <= _LEAST_DRIFT_NS
            for clock in clocks
        )
        best = -min(priority.index(name) for name in group)
        usable = sum(streams[name].is_usable(moment.now_ns) for name in group)
        return usable, steady, moment.reference in group, goes_on, best

    return max(groups, key=weight)


def contradiction(name: str, streams: Mapping[str, Stream], choice: Choice) -> StreamFault | None:
    """What is wrong with a living stream in comparison with those that keep the same time, None when nothing is."""
    stream, group = streams[name], choice.group
    others = [streams[other] for other in group if other != name]
    if name in group and _has_drifted(stream, others):
        drift_ns = stream.clock.track.drift_ns
        pace = "fast" if drift_ns > 0 else "slow"
        return StreamFault("drift", f"clock runs {pace}: {seconds_text(drift_ns)} so far")
    if name in choice.contradicting and group:
        leader = streams[choice.name if choice.name in group else group[0]]
        distance_ns = _ahead_ns(stream, leader)
        side = "ahead of" if distance_ns > 0 else "behind"
        return StreamFault("other_clock", f"clock is {seconds_text(distance_ns)} {side} the other sensors")
    return None


def _has_drifted(stream: Stream, others: list[Stream]) -> bool:
    """Whether its clock has run away from another one that kept to time, so far that the other cannot be matched."""
    own_ns = stream.clock.track.drift_ns
    if abs(own_ns) <= _LEAST_DRIFT_NS:
        return False
    now_ns = stream.clock.track.last_arrival_ns
    for other in others:
        if other.clock.track.is_overdue(now_ns, _LEAST_DRIFT_NS):
            continue  # it may be dying
        apart_ns = stream.time_ns - other.time_ns
        limit_ns = other.config.oldest_ns if apart_ns > 0 else 3 * other.config.oldest_ns
        is_culprit = abs(own_ns) - abs(other.clock.track.drift_ns) > _LEAST_DRIFT_NS
        if is_culprit and abs(apart_ns) > limit_ns and (apart_ns > 0) == (own_ns > 0):
            return True
    return False


def _was_set_ahead(stream: Stream, others: list[Stream]) -> bool:
    """Whether its clock was set so far ahead of another one that this cannot be matched, and that one was not."""
    track = stream.clock.track
    return track.set_ahead_ns > _LEAST_DRIFT_NS and any(
        track.set_ahead_ns - other.clock.track.set_ahead_ns > _LEAST_DRIFT_NS
        and _ahead_ns(stream, other) > other.config.oldest_ns
        and _goes_on(other, track.last_arrival_ns)
        for other in others
    )


def _goes_on(stream: Stream, now_ns: int) -> bool:
    """Whether it can lead from message to message: it is not dying, nor so slow that it counts as dead in between."""
    track = stream.clock.track
    next_ns = track.last_arrival_ns + (track.arrival_period_ns or _LEAST_DRIFT_NS)
    return next_ns < stream.dead_at_ns and not track.is_overdue(now_ns, _LEAST_DRIFT_NS)


def _ahead_ns(stream: Stream, other: Stream) -> int:
    """How far its time is ahead of that of another stream at the same moment."""
    offsets_ns = stream.config.offset_ns - other.config.offset_ns
    return distance_between(stream.clock.track, other.clock.track) - offsets_ns


def _lag_ns(stream: Stream, moment: Moment) -> int:
    """How far its newest message is behind the output, as far as anything has come since that would tell."""
    is_old = moment.emitted_ns is not None and stream.clock.track.last_arrival_ns <= moment.emitted_ns
    if moment.horizon_ns is None or moment.late_is_fine or is_old:
        return 0
    return max(moment.horizon_ns - stream.time_ns, 0)


def _wait_ns(name: str, stream: Stream, moment: Moment) -> int:
    """How long until it can open a set; 0: now, or it leads and is waited for until the silence is too long."""
    lag_ns, track = _lag_ns(stream, moment), stream.clock.track
    is_leading = name == moment.reference and moment.now_ns < patient_until_ns(stream, moment)
    if lag_ns == 0 and (is_leading or stream.has_news):
        return 0
    period_ns = track.period_ns or longest_silence_ns(moment.least_silence_ns * 2, moment.least_silence_ns)
    messages = lag_ns // period_ns + 1
    pace_ns = max(track.arrival_period_ns or 0, period_ns)  # of a burst, arrivals tell nothing
    return max(messages * pace_ns - (moment.now_ns - track.last_arrival_ns), 1)


def patient_until_ns(stream: Stream, moment: Moment) -> int:
    """Until when a set of the stream that leads is waited for, although it lives: others may have something new."""
    since_ns = stream.clock.track.last_arrival_ns if moment.emitted_ns is None else moment.emitted_ns
    return since_ns + _longest_silence_ns(stream, moment)


def _longest_silence_ns(stream: Stream, moment: Moment) -> int:
    period_ns = stream.clock.track.period_ns or moment.least_silence_ns
    return longest_silence_ns(int(DEAD_AFTER_PERIODS * period_ns), moment.least_silence_ns)


def _is_patient(wait_ns: int, stream: Stream, moment: Moment) -> bool:
    """Whether a set comes before anybody would call it silence."""
    silent_ns = 0 if moment.emitted_ns is None else moment.now_ns - moment.emitted_ns
    return wait_ns == 0 or silent_ns + wait_ns <= _longest_silence_ns(stream, moment)
