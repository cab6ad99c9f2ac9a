"""What the monitor says of the node's state, on a clock that stands where the test puts it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from any2seg_core.sync import StreamConfig, StreamFault, StreamStats, SyncConfig, Synchronizer

pytest.importorskip("rclpy")

NS_PER_S = 1_000_000_000
OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"


@pytest.fixture()
def clock(monkeypatch):
    """`now_s` of the steady clock, from the start of the monitor on."""
    from any2seg_ros import diagnostics

    clock = SimpleNamespace(now_s=100.0)
    steady = SimpleNamespace(monotonic=lambda: clock.now_s, monotonic_ns=lambda: round(clock.now_s * NS_PER_S))
    monkeypatch.setattr(diagnostics, "time", steady)
    return clock


@pytest.fixture()
def monitor(clock):
    from any2seg_ros.diagnostics import Monitor

    return Monitor()


@pytest.fixture()
def report(monitor):
    """Function that gives level, message and values of the monitor's next report."""
    from any2seg_ros.diagnostics import Snapshot

    config = SyncConfig({"rgb": StreamConfig()}, ("rgb",))
    stats = Synchronizer(config).stats

    def make(**known):
        snapshot = Snapshot(stats, config, **known)
        status = monitor.message(snapshot, "segment").status[0]
        return status.level, status.message, {pair.key: pair.value for pair in status.values}

    return make


def result_of(inference_s: float, now_s: float):
    from any2seg_ros.segmenter import LiveResult

    blank = np.zeros((3, 5), np.uint8)
    return LiveResult(
        0, "camera", blank, None, {}, ("rgb",), "rgb", ages_ns={"rgb": 0}, stamps_ns={"rgb": (0,)},
        received_ns=round((now_s - inference_s) * NS_PER_S), inference_ms=1e3 * inference_s,
    )  # fmt: skip


def test_value_slow_labels_are_not_taken_for_an_idle_node(monitor, report, clock):
    """A label every two seconds, a report every second; nobody listened at the very beginning."""
    monitor.idle()
    assert report()[2]["fusion_state"] == "idle"
    for second in range(101, 107):
        clock.now_s = float(second)
        if second % 2:
            monitor.published(result_of(1.8, clock.now_s))
        level, text, values = report(busy_s=0.0 if second % 2 else 0.8, deadline_s=2.0)
        assert (level, text, values["fusion_state"]) == (OK, "all sensors fused", "ok")
        assert values["sets_idle"] == "1"
        assert values["label_rate_hz"] == ("1.00" if second % 2 else "0.00")


def test_value_node_that_nobody_listens_to_is_idle_with_or_without_an_earlier_label(monitor, report, clock):
    assert report()[:2] == (OK, "waiting for the first label")
    monitor.idle()
    assert report()[:2] == (OK, "nobody listens, nothing is computed")
    monitor.published(result_of(0.1, clock.now_s))
    assert report()[2]["fusion_state"] == "ok"
    clock.now_s += 1.0
    monitor.idle()
    assert report()[:2] == (OK, "nobody listens, nothing is computed")


def test_value_silence_before_the_activation_is_none(monitor, report, clock):
    clock.now_s += 60.0
    monitor.begin()
    level, text, values = report()
    assert (level, text, values["fusion_state"]) == (OK, "waiting for the first label", "idle")
    clock.now_s += 1.0  # more than three times the wait for the first set
    level, text, _ = report()
    assert level == ERROR
    assert text.startswith("no label for 1.0 s")


def test_value_labels_of_an_earlier_activation_say_nothing_of_this_one(monitor, report, clock):
    for _ in range(4):
        monitor.published(result_of(0.1, clock.now_s))
    clock.now_s += 60.0
    monitor.begin()
    monitor.published(result_of(0.1, clock.now_s))
    clock.now_s += 0.5
    assert report()[2]["label_rate_hz"] == "2.00"
    assert report()[2]["labels"] == "5"


@pytest.mark.parametrize("is_negative", [False, True])
def test_value_stalled_by_stamps_that_cannot_be_used_says_so(monitor, clock, is_negative):
    """A zero stamp is dropped by the synchroniser, a negative one is no message at all; neither is a silent sensor."""
    from any2seg_ros.diagnostics import Snapshot

    config = SyncConfig({"rgb": StreamConfig(), "lidar": StreamConfig()}, ("rgb", "lidar"))
    synchronizer = Synchronizer(config)
    if not is_negative:
        for _ in range(3):
            synchronizer.add("rgb", 0, None, 1)
    clock.now_s += 60.0
    fates = {"rgb": {"stamp": 3}} if is_negative else {}
    snapshot = Snapshot(synchronizer.stats, config, fates=fates)
    text = monitor.message(snapshot, "segment").status[0].message
    assert text.endswith("stamps that are zero or negative come from rgb (3 messages)")


def with_streams(**streams):
    """SyncStats with these streams, the first of them leading."""
    from any2seg_core.sync import SyncStats

    return SyncStats(streams, 0, 0, 0, next(iter(streams)))


TWO = SyncConfig({"rgb": StreamConfig(), "lidar": StreamConfig()}, ("rgb", "lidar"))


@pytest.fixture()
def look(monitor):
    """Function that gives the status for streams of a camera and a LiDAR."""
    from any2seg_ros.diagnostics import Snapshot

    def make(rgb, lidar, config=TWO, **known):
        snapshot = Snapshot(with_streams(rgb=rgb, lidar=lidar), config, **known)
        return monitor.message(snapshot, "segment").status[0]

    return make


def alive(**changes):
    return StreamStats(state="alive", period_ns=NS_PER_S // 10, **changes)


def test_value_sensor_that_lies_is_named_with_the_reason_whether_it_is_fused_or_not(monitor, look, clock):
    monitor.published(result_of(0.1, clock.now_s))
    lying = alive(fault=StreamFault("two_publishers", "two publishers 3600 s apart"))
    status = look(lying, alive())
    assert (status.level, status.message) == (WARN, "rgb: two publishers 3600 s apart")
    values = {pair.key: pair.value for pair in status.values}
    assert (values["rgb.fault"], values["rgb.fault_text"]) == ("two_publishers", "two publishers 3600 s apart")
    assert values["lidar.fault"] == ""
    missing = {"lidar": "repeats 2 frames"}
    monitor.published(replace(result_of(0.1, clock.now_s), missing=missing))
    status = look(lying, alive(fault=StreamFault("repeats", "repeats 2 frames")))
    assert status.message == "partial: without lidar (repeats 2 frames); rgb: two publishers 3600 s apart"


def test_value_what_is_wrong_with_the_content_is_told_as_long_as_it_comes(monitor, look, clock):
    monitor.published(result_of(0.1, clock.now_s))
    monitor.at_fault("rgb", "black", "rgb: image is black")
    unusable = alive(fault=StreamFault("unusable", "its content could not be used"))
    assert look(unusable, alive()).message == "rgb: image is black"
    clock.now_s += 0.4
    monitor.published(result_of(0.1, clock.now_s))
    assert look(alive(), alive()).level == WARN
    clock.now_s += 2.0
    monitor.published(result_of(0.1, clock.now_s))
    assert look(alive(), alive()).level == OK


def test_value_labels_that_are_not_finite_are_an_error_until_they_are_again(monitor, look, clock):
    monitor.published(replace(result_of(0.1, clock.now_s), invalid_share=0.25))
    status = look(alive(), alive())
    assert (status.level, status.message) == (ERROR, "labels not finite: 25 % of the pixels")
    for _ in range(2):
        clock.now_s += 1.0
        monitor.published(result_of(0.1, clock.now_s))
        status = look(alive(), alive())
    assert (status.level, status.message) == (OK, "all sensors fused")
    assert {pair.key: pair.value for pair in status.values}["labels_not_finite"] == "1"


def test_value_stamps_of_long_ago_explain_no_silence_of_today(monitor, look, clock):
    bad = Counter(bad_stamp=7)
    clock.now_s += 60.0
    assert "stamps that are zero or negative come from rgb (7 messages)" in look(
        StreamStats(dropped=bad), StreamStats()
    ).message  # fmt: skip
    clock.now_s += 5.0
    message = look(StreamStats(dropped=bad, state="dead"), StreamStats()).message
    assert message == "no label for 65.0 s: nothing comes from rgb, lidar"


def test_value_what_is_new_is_due_at_once_and_what_is_known_once_a_period(monitor, clock):
    from any2seg_ros.diagnostics import Snapshot

    def due(**rgb):
        return monitor.is_due(Snapshot(with_streams(rgb=alive(**rgb), lidar=alive()), TWO), 1.0)

    def told(**rgb):
        monitor.message(Snapshot(with_streams(rgb=alive(**rgb), lidar=alive()), TWO), "segment")

    repeats = {"fault": StreamFault("repeats", "repeats 2 frames")}
    assert due()  # nothing was told so far
    told()
    clock.now_s += 0.2
    assert not due()
    assert due(**repeats)
    told(**repeats)
    clock.now_s += 0.2
    assert not due(fault=StreamFault("repeats", "repeats 3 frames"))
    assert due()
    clock.now_s += 1.0
    assert due(**repeats)


def test_value_slow_model_is_judged_before_it_comes_back(monitor, look, clock):
    monitor.published(result_of(0.1, clock.now_s))
    clock.now_s += 3.0
    status = look(alive(), alive(), busy_s=2.9, deadline_s=0.4)
    assert status.level == ERROR
    assert "model too slow: busy with a set for 2.9 s, deadline 0.4 s" in status.message
    assert "no label" not in status.message  # the model's time is no silence of the sensors


def test_value_switched_off_sensors_are_no_trouble(monitor, look, clock):
    off = replace(TWO, streams={**TWO.streams, "lidar": StreamConfig(enabled=False)})
    monitor.published(replace(result_of(0.1, clock.now_s), missing={"lidar": "disabled"}))
    status = look(alive(), StreamStats(state="disabled"), off)
    assert (status.level, status.message) == (OK, "all sensors fused, switched off: lidar")
    none = replace(TWO, streams=dict.fromkeys(TWO.streams, StreamConfig(enabled=False)))
    status = look(StreamStats(state="disabled"), StreamStats(state="disabled"), none)
    assert status.level == OK and "all sensors are switched off" in status.message
    clock.now_s += 60.0
    required = replace(TWO, streams={**TWO.streams, "lidar": StreamConfig(required=True, enabled=False)})
    status = look(alive(), StreamStats(state="disabled"), required)
    assert status.level == ERROR and "required lidar is disabled" in status.message


@pytest.mark.parametrize(("silent_s", "expected"), [(0.1, "black"), (0.6, "dead")])
def test_value_black_camera_that_is_unplugged_is_dead(monitor, look, clock, silent_s, expected):
    for _ in range(3):
        clock.now_s += 0.1
        monitor.at_fault("rgb", "black", "image is black")
    clock.now_s += silent_s
    status = look(StreamStats(state="dead", period_ns=NS_PER_S // 10), alive())
    assert {pair.key: pair.value for pair in status.values}["rgb.fault"] == expected


def test_value_sensor_of_which_nothing_can_be_read_is_not_called_silent(monitor, look, clock):
    """Once a second, so that the synchroniser has never seen it."""
    for _ in range(3):
        clock.now_s += 1.0
        monitor.at_fault("rgb", "step", "image: step 7 is smaller than a row")
    clock.now_s += 0.9
    status = look(StreamStats(), alive())
    assert {pair.key: pair.value for pair in status.values}["rgb.fault"] == "step"
