"""Timers that run while simulated time stands still: people want to know why nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer


def create_steady_timer(node: Node, period_s: float, callback: Callable[[], Any]) -> Timer:
    """As `Node.create_timer`, on the steady clock whatever use_sim_time says."""
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
