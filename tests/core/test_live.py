from __future__ import annotations

import threading
import time

from any2seg_core.live import LatestOnly, LivePipeline
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
    assert sets[0].samples["rgb"].payload == "image"
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
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("any2seg-")]


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
