from __future__ import annotations

import threading
import time

from any2seg_core.runtime.pipeline import FairLock, LatestOnly, LivePipeline
from any2seg_core.sync import StreamConfig, SyncConfig, Synchronizer

MS = 1_000_000


def make_pipeline(process, on_error=lambda error: None):
    config = SyncConfig({"rgb": StreamConfig(), "lidar": StreamConfig()}, ("rgb", "lidar"), 40 * MS, 60 * MS)
    return LivePipeline(Synchronizer(config), process, on_error)


def wait_for(condition, timeout_s=3.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.002)
    return condition()


def test_value_latest_only_replaces_and_counts():
    box = LatestOnly()
    for item in "abc":
        box.put(item)
    assert box.take() == "c"
    assert box.replaced == 2
    box.put("d")
    box.close()
    assert box.take() is None


def test_value_incomplete_set_goes_out_at_its_deadline_without_another_message():
    sets = []
    pipeline = make_pipeline(sets.append)
    pipeline.offer("rgb", 1_000 * MS, "image")
    assert wait_for(lambda: sets)
    assert pipeline.stop()
    assert sets[0].samples["rgb"][0].payload == "image"
    assert "lidar" in sets[0].missing


def test_value_slow_model_sees_the_newest_set_and_never_a_queue():
    release, seen = threading.Event(), []

    def process(sample_set):
        seen.append(sample_set.stamp_ns // MS)
        release.wait(3.0)

    pipeline = make_pipeline(process)
    for index in range(1, 11):
        pipeline.offer("lidar", index * 100 * MS, "cloud")
        pipeline.offer("rgb", index * 100 * MS, "image")
        assert wait_for(lambda: seen)
    release.set()
    assert wait_for(lambda: len(seen) == 2)
    assert pipeline.stop()
    assert seen == [100, 1000]
    assert pipeline.overrun == 8


def test_exception_in_the_model_is_counted_and_the_next_set_is_processed():
    errors, good = [], []

    def process(sample_set):
        if not errors:
            raise RuntimeError("no memory")
        good.append(sample_set)

    pipeline = make_pipeline(process, errors.append)
    for stamp in (100, 200):
        pipeline.offer("lidar", stamp * MS, "cloud")
        pipeline.offer("rgb", stamp * MS, "image")
        assert wait_for(lambda: errors)
    assert wait_for(lambda: good)
    assert pipeline.stop()
    assert [str(error) for error in errors] == ["no memory"]
    assert pipeline.failed == 1


def test_value_stop_ends_both_threads_and_inspect_reads_counts():
    pipeline = make_pipeline(lambda sample_set: None)
    pipeline.offer("rgb", 100 * MS, "image")
    assert pipeline.inspect(lambda synchronizer: synchronizer.stats.streams["rgb"].added) == 1
    assert pipeline.stop()
    assert not {"any2seg-poll", "any2seg-worker"} & {thread.name for thread in threading.enumerate()}


def test_exception_in_the_error_handler_does_not_end_the_worker():
    good = []

    def process(sample_set):
        if sample_set.stamp_ns == 100 * MS:
            raise RuntimeError("no memory")
        good.append(sample_set)

    def log(error):
        raise RuntimeError("the logger is gone")

    pipeline = make_pipeline(process, log)
    for stamp in (100, 200):
        pipeline.offer("lidar", stamp * MS, "cloud")
        pipeline.offer("rgb", stamp * MS, "image")
        assert wait_for(lambda count=stamp: pipeline.failed + len(good) == count // 100)
    assert pipeline.stop()
    assert [sample_set.stamp_ns for sample_set in good] == [200 * MS]


def test_property_turns_go_round_in_the_order_of_asking():
    """Three pipelines that always have work: after the first round nobody is served twice before the others."""
    turns, served, threads = FairLock(), [], []

    def work(name):
        for _ in range(20):
            with turns:
                served.append(name)
                time.sleep(0.001)

    with turns:
        for name in "abc":
            threads.append(threading.Thread(target=work, args=name))
            threads[-1].start()
            assert wait_for(lambda: turns.waiting == len(threads))
    for thread in threads:
        thread.join(5.0)
    assert "".join(served) == "abc" * 20


def test_value_shared_turn_picks_the_newest_set_when_it_comes():
    turns, seen = FairLock(), []
    config = SyncConfig({"rgb": StreamConfig()}, ("rgb",), 40 * MS, 60 * MS)
    pipeline = LivePipeline(
        Synchronizer(config), lambda found: seen.append(found.stamp_ns // MS), lambda error: None, turns=turns
    )
    with turns:
        for index in range(1, 6):
            pipeline.offer("rgb", index * 100 * MS, "image")
        assert wait_for(lambda: pipeline.inspect(lambda synchronizer: synchronizer.stats.sets_emitted) == 5)
    assert wait_for(lambda: seen)
    assert pipeline.stop()
    assert seen == [500]
    assert pipeline.overrun == 4


def test_value_clock_that_jumps_ahead_ends_a_wait_in_time():
    """Simulated time: the clock runs 100 times as fast as the wall, and stands still before."""
    now_ns, sets = [0], []
    config = SyncConfig({"rgb": StreamConfig(), "lidar": StreamConfig()}, ("rgb", "lidar"), 40 * MS, 60 * MS)
    pipeline = LivePipeline(Synchronizer(config), sets.append, print, lambda: now_ns[0], longest_wait_s=0.005)
    pipeline.offer("rgb", 1_000 * MS, "image")
    time.sleep(0.1)
    assert sets == []
    now_ns[0] = 10_000 * MS
    assert wait_for(lambda: sets)
    assert pipeline.stop()


def test_value_error_after_stop_is_counted_and_told_to_nobody():
    begun, release, errors = threading.Event(), threading.Event(), []

    def process(sample_set):
        begun.set()
        release.wait(3.0)
        raise RuntimeError("no memory")

    pipeline = make_pipeline(process, errors.append)
    pipeline.offer("rgb", 100 * MS, "image")
    assert begun.wait(3.0)
    assert not pipeline.stop(0.01)
    release.set()
    assert wait_for(lambda: pipeline.failed == 1)
    assert pipeline.stop()
    assert errors == []
