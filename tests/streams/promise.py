"""The promise of the synchroniser, judged from outside: what was sent is known, and who told the truth.

Shares no code with the synchroniser but its public door.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hostile import BASE, MS, Schedule

from any2seg_core.sync import SampleSet, StreamConfig, SyncConfig, Synchronizer

TIMEOUT_NS, LEAST_SILENCE_NS, LONGEST_SILENCE_NS = 50 * MS, 200 * MS, 300 * MS
WINDOW_NS, NOISE_NS, MAX_AGE_NS = 50 * MS, 20 * MS, 150 * MS


@dataclass
class Outcome:
    """What came of one schedule.

    Attributes:
        violations: one line each. gap_ns, bound_ns: longest silence and how long it may be.
        sets: after the start; with_healthy: those that hold the healthy sensor.
        oldest_ns: longest time between the arrival of a message and the set that used it.
    """

    violations: list[str]
    gap_ns: int
    bound_ns: int
    sets: int
    with_healthy: int
    oldest_ns: int


def run(plan: Schedule, names: tuple[str, ...] = ("rgb", "depth", "event", "lidar")) -> Outcome:
    """Feeds a schedule, polls at every deadline, and judges what comes out."""
    streams = {
        name: StreamConfig(kind="window", window_ns=WINDOW_NS) if name == "event" else StreamConfig() for name in names
    }
    sync = Synchronizer(SyncConfig(streams, names))
    emitted: list[tuple[int, SampleSet, int]] = []  # moment, set, number of the run of rising stamps
    violations: list[str] = []
    resets, rise = 0, 0

    def take(now_ns: int, sets: list[SampleSet]) -> None:
        nonlocal resets, rise
        if not sets:
            return
        has_reset, resets = sync.stats.resets != resets, sync.stats.resets
        for each in sets:
            rise += has_reset  # before or after which of the sets of one call cannot be seen from outside
            emitted.append((now_ns, each, rise))
        rise += has_reset

    def poll(until_ns: int) -> None:
        while (due_ns := sync.next_deadline_ns()) is not None and due_ns < until_ns:
            take(due_ns, sync.poll(due_ns))
            after_ns = sync.next_deadline_ns()
            if after_ns is not None and after_ns <= due_ns:
                violations.append(f"a poll at {due_ns / MS:.0f} ms does not move the deadline")
                return

    for number, (arrival_ns, name, stamp_ns) in enumerate(plan.messages):
        poll(arrival_ns)
        take(arrival_ns, sync.add(name, stamp_ns, number, arrival_ns))
    poll(plan.messages[-1][0] + 2000 * MS)
    violations += _accounts(plan, sync, [each for _, each, _ in emitted])
    violations += _order(emitted)
    violations += [text for _, each, _ in emitted for text in _content(plan, each)]
    gap_ns, bound_ns = _longest_gap(plan, [moment for moment, _, _ in emitted]), _bound(plan)
    if gap_ns > bound_ns:
        violations.append(f"silent for {gap_ns / MS:.0f} ms, at most {bound_ns / MS:.0f} are promised")
    settled = [each for moment, each, _ in emitted if moment > plan.first_ns + 500 * MS and moment <= plan.last_ns]
    oldest_ns = max((moment - sample.arrival_ns for moment, each, _ in emitted
                     for name in each.samples for sample in each.samples[name]), default=0)  # fmt: skip
    with_healthy = sum(plan.healthy in each.samples for each in settled)
    return Outcome(violations, gap_ns, bound_ns, len(settled), with_healthy, oldest_ns)


def _bound(plan: Schedule) -> int:
    """A leader that dies is waited for, longest after a first message that none follows, of which nobody knows the
    period; then the healthy sensor leads, with its next message.
    """
    silence_ns = max(LEAST_SILENCE_NS, min(plan.longest_period_ns * 5 // 2, LONGEST_SILENCE_NS))
    stamps_ns: dict[str, list[int]] = {}
    for _, name, stamp_ns in plan.messages:
        stamps_ns.setdefault(name, []).append(stamp_ns)
    if any(len(own) < 2 or own[1] <= own[0] for own in stamps_ns.values()):
        silence_ns = LONGEST_SILENCE_NS
    return silence_ns + TIMEOUT_NS + plan.period_ns + plan.jitter_ns


def _longest_gap(plan: Schedule, moments_ns: list[int]) -> int:
    """From the first message of the healthy sensor, which starts the grace, to its last."""
    start_ns, end_ns = plan.first_ns + LEAST_SILENCE_NS, plan.last_ns
    inside = [start_ns, *(moment for moment in moments_ns if start_ns < moment < end_ns), end_ns]
    return max(after - before for before, after in pairwise(inside))


def _accounts(plan: Schedule, sync: Synchronizer, sets: list[SampleSet]) -> list[str]:
    """Every message was used, dropped with a reason, or is still there."""
    found = []
    used = {name: {sample.payload for each in sets if name in each.samples for sample in each.samples[name]}
            for name in sync.config.streams}  # fmt: skip
    for name, stats in sync.stats.streams.items():
        sent = sum(each == name for _, each, _ in plan.messages)
        if stats.added != sent or stats.added != stats.used + sum(stats.dropped.values()) + stats.buffered:
            found.append(f"{name}: {sent} messages were sent, the account is {stats}")
        if stats.used != len(used[name]):
            found.append(f"{name}: {len(used[name])} messages are in sets, {stats.used} are counted")
        if any(plan.messages[number][1] != name for number in used[name]):
            found.append(f"{name}: a set holds a message of another stream")
    return found


def _order(emitted: list[tuple[int, SampleSet, int]]) -> list[str]:
    return [
        f"stamp {after.stamp_ns - BASE} follows {before.stamp_ns - BASE} without a reset"
        for (_, before, resets), (_, after, then) in pairwise(emitted)
        if resets == then and after.stamp_ns <= before.stamp_ns
    ]


def _content(plan: Schedule, each: SampleSet) -> list[str]:
    """The label is as old as its reference, and nothing is in it that is too far away."""
    found = []
    if each.stamp_ns not in {sample.stamp_ns for sample in each.samples[each.reference]}:
        found.append(f"set at {each.stamp_ns - BASE} does not have the stamp of its reference")
    for name in each.samples:
        for sample in each.samples[name]:
            age_ns = each.stamp_ns - sample.stamp_ns
            oldest_ns, newest_ns = (WINDOW_NS + NOISE_NS, NOISE_NS) if name == "event" else (MAX_AGE_NS, MAX_AGE_NS)
            if not -newest_ns <= age_ns <= oldest_ns:
                found.append(f"{name}: a message {age_ns / MS:.0f} ms from the set is in it")
            if plan.messages[sample.payload][2] != sample.stamp_ns:
                found.append(f"{name}: stamp changed on the way")
    if set(each.samples) & set(each.missing):
        found.append(f"both there and missing: {set(each.samples) & set(each.missing)}")
    return found
