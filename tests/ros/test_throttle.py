"""Kinds of trouble do not silence each other."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


def test_value_each_kind_is_due_once_per_period(monkeypatch):
    from any2seg_ros import throttle

    now_s = 100.0
    monkeypatch.setattr(throttle.time, "monotonic", lambda: now_s)
    told = throttle.Throttle()
    assert told.is_due(("rgb", "stale"), 5.0)
    assert told.is_due(("lidar", "stale"), 5.0)
    now_s = 104.9
    assert not told.is_due(("rgb", "stale"), 5.0)
    assert told.is_due(("rgb", "stale"), 4.0)  # a shorter period from now on; counts as told at 104.9
    now_s = 105.1
    assert not told.is_due(("rgb", "stale"), 5.0)
    assert told.is_due(("lidar", "stale"), 5.0)


def test_value_kinds_without_end_are_forgotten_the_oldest_first():
    from any2seg_ros.throttle import Throttle

    told = Throttle()
    assert all(told.is_due(("rgb", f"two publishers {number} s apart"), 1000.0) for number in range(10_000))
    assert len(told._last_logged_s) <= 256
    assert not told.is_due(("rgb", "two publishers 9999 s apart"), 1000.0)
    assert told.is_due(("rgb", "two publishers 0 s apart"), 1000.0)


def test_value_the_node_has_one_throttle_and_one_default():
    from any2seg_ros import throttle
    from any2seg_ros.parameter_table import TABLE

    assert TABLE["log_period_s"].default == throttle.LOG_PERIOD_S
    others = ("throttle_duration_sec", "skip_first", "_LOG_EVERY")
    texts = {path.name: path.read_text() for path in Path(throttle.__file__).parent.glob("*.py")}
    assert [name for name, text in texts.items() if any(word in text for word in others)] == []
