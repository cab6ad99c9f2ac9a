"""What the monitor says of the node's state, on a clock that stands where the test puts it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from any2seg_core.sync import StreamConfig, SyncConfig, Synchronizer

pytest.importorskip("rclpy")

NS_PER_S = 1_000_000_000
OK, ERROR = b"\x00", b"\x02"


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
