"""What became of every message, with and without the threads. The oracle is a ledger kept by hand."""

from __future__ import annotations

import random
import threading
import time

import pytest

from any2seg_core.runtime.accounts import FUSED, SET_DROPS, WAITING, Accounts, Tracked, Verdict
from any2seg_core.runtime.pipeline import LivePipeline
from any2seg_core.sync import Sample, SampleSet, StreamConfig, SyncConfig, Synchronizer

MS = 1_000_000


def wait_for(condition, timeout_s=5.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.002)
    return condition()


def set_of(**payloads) -> SampleSet:
    samples = {name: (Sample(1, 1, payload),) for name, payload in payloads.items()}
    return SampleSet(1, "rgb", samples, {}, dict.fromkeys(samples, 0))


def test_value_message_of_several_sets_counts_once_and_fused_wins():
    accounts, cloud = Accounts(), Tracked("cloud")
    sets = [set_of(rgb=Tracked(index), lidar=cloud) for index in range(3)]
    for sample_set in sets:
        accounts.emitted(sample_set)
    assert accounts.fates("rgb") == {WAITING: 3} and accounts.fates("lidar") == {WAITING: 1}
    accounts.decided(sets[0], Verdict("overrun"))
    assert accounts.fates("lidar") == {"overrun": 1}
    accounts.decided(sets[1], Verdict(unusable={"rgb": "black"}))
    accounts.decided(sets[2], Verdict("failed"))
    assert accounts.fates("rgb") == {"overrun": 1, "black": 1, "failed": 1}
    assert accounts.fates("lidar") == {FUSED: 1}


@pytest.mark.parametrize("seed", range(4))
def test_property_every_message_is_accounted_for_at_every_moment(seed):
    """Bad stamps, duplicates, refused messages, a model that is slow, fails, refuses and finds ill sensors."""
    chance = random.Random(seed)
    offered = dict.fromkeys(("rgb", "lidar", "event"), 0)
    seen: set[tuple[str, int]] = set()
    gate = threading.Semaphore(0)

    def process(sample_set):
        gate.acquire(timeout=5.0)
        fate = chance.choice(["", "", "idle", "too_old", "raise", "ill"])
        if fate == "raise":
            raise RuntimeError("no memory")
        unusable = {"lidar": "sparse"} if fate == "ill" and "lidar" in sample_set.samples else {}
        if fate in ("", "ill"):
            for name, found in sample_set.samples.items():
                if name not in unusable:
                    seen.update((name, each.payload) for each in found)
        return Verdict("" if fate == "ill" else fate, unusable)

    streams = {"rgb": StreamConfig(), "lidar": StreamConfig(), "event": StreamConfig(kind="window", buffer=8)}
    pipeline = LivePipeline(
        Synchronizer(SyncConfig(streams, ("rgb", "lidar", "event"), 5 * MS, 20 * MS)), process, lambda error: None
    )

    def balance(name):
        stats = pipeline.stats
        stream, fates = stats.sync.streams[name], stats.fates[name]
        dropped = sum(stream.dropped.values()) + sum(n for fate, n in fates.items() if fate not in (FUSED, WAITING))
        return stream.added + stats.refused[name], fates[FUSED] + fates[WAITING] + stream.buffered + dropped

    for index in range(300):
        name = chance.choice(list(offered))
        stamp_ns = chance.choice([0, index * 20 * MS, index * 20 * MS, (index - 7) * 20 * MS])
        offered[name] += 1
        if chance.random() < 0.1:
            pipeline.refuse(name, "length")
        else:
            pipeline.offer(name, max(stamp_ns, 0), index)
        if chance.random() < 0.5:
            gate.release()
        for each, count in offered.items():
            received, explained = balance(each)
            assert received == explained == count
    for _ in range(300):
        gate.release()
    pipeline.reconfigure(pipeline.inspect(lambda synchronizer: synchronizer.config))  # decides the sets that are open
    assert wait_for(lambda: all(fates[WAITING] == 0 for fates in pipeline.stats.fates.values()))
    assert pipeline.stop()
    for name, count in offered.items():
        assert balance(name) == (count, count)
        assert pipeline.stats.fates[name][FUSED] == len({payload for stream, payload in seen if stream == name})
        assert set(pipeline.stats.fates[name]) <= {FUSED, "sparse", "length", *SET_DROPS}


def test_exception_in_the_synchroniser_does_not_end_the_clock_that_ends_waits():
    errors, sets = [], []
    synchronizer = Synchronizer(
        SyncConfig({"rgb": StreamConfig(), "lidar": StreamConfig()}, ("rgb", "lidar"), 20 * MS, 30 * MS)
    )
    poll, failures = synchronizer.poll, iter([MemoryError("full"), KeyError("odd")])

    def failing(now_ns):
        error = next(failures, None)
        if error is not None:
            raise error
        return poll(now_ns)

    synchronizer.poll = failing
    pipeline = LivePipeline(synchronizer, sets.append, errors.append)
    pipeline.offer("rgb", 1_000 * MS, "image")
    assert wait_for(lambda: sets)
    assert pipeline.stop()
    assert [type(error) for error in errors] == [MemoryError, KeyError]


def test_value_model_that_does_not_come_back_is_seen_while_it_is_busy():
    release, begun = threading.Event(), threading.Event()

    def process(sample_set):
        begun.set()
        release.wait(5.0)

    pipeline = LivePipeline(Synchronizer(SyncConfig({"rgb": StreamConfig()}, ("rgb",))), process, print)
    assert pipeline.busy_s == 0.0
    pipeline.offer("rgb", 1_000 * MS, "image")
    assert begun.wait(5.0)
    before_s = pipeline.busy_s
    assert wait_for(lambda: pipeline.busy_s > before_s)
    release.set()
    assert wait_for(lambda: pipeline.busy_s == 0.0)
    assert pipeline.stop()
