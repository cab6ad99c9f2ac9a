"""Signals that come while a node is configured, and what is told of a change of the clock."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.clock import ClockChange
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException

from any2seg_ros.segment_node import _jump_text
from any2seg_ros.signals import ended_by_signal


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ExternalShutdownException(), RuntimeError("invalid context")])
def test_value_what_a_signal_causes_is_passed_over(monkeypatch, error):
    monkeypatch.setattr(rclpy, "ok", lambda: False)
    passed = []
    with ended_by_signal():
        passed.append("before")
        raise error
    assert passed == ["before"]


def test_exception_other_errors_come_through(monkeypatch):
    monkeypatch.setattr(rclpy, "ok", lambda: True)
    with pytest.raises(RuntimeError, match="broken"), ended_by_signal():
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("change", "delta_s", "text"),
    [
        (ClockChange.ROS_TIME_ACTIVATED, 0.0, "the node's time is simulated from now on (use_sim_time)"),
        (ClockChange.ROS_TIME_DEACTIVATED, 0.0, "the node's time is the system's from now on (use_sim_time is off)"),
        (ClockChange.ROS_TIME_NO_CHANGE, -2.5, "time jumped by -2.500 s"),
        (ClockChange.SYSTEM_TIME_NO_CHANGE, 12.0, "time jumped by 12.000 s"),
    ],
)
def test_value_a_change_of_the_clock_is_told_as_what_it_is(change, delta_s, text):
    jump = SimpleNamespace(clock_change=change, delta=Duration(nanoseconds=round(1e9 * delta_s)))
    assert _jump_text(jump) == text
