"""Runs lifecycle nodes in this process until a signal ends it, cleanly and within two seconds."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from any2seg_core.base.allocator import collect_and_freeze, keep_freed_memory
from any2seg_core.base.screen import say
from any2seg_ros.command_line import init
from any2seg_ros.signals import ended_by_signal
from any2seg_ros.unused_arguments import unused_arguments

if TYPE_CHECKING:
    from any2seg_ros.segment_node import SegmentNode

_PAUSE_AFTER_ERROR_S = 0.05


def run_nodes(create: Callable[[], Sequence[SegmentNode]], args: list[str] | None = None) -> None:
    """Create nodes, bring up those with `autostart`, spin; does not return.

    Ends on SIGINT and SIGTERM. A node that cannot be configured stays up, unconfigured.
    """
    keep_freed_memory()
    # torch's OpenMP threads spin by default while they wait, which starves every other process of a busy machine:
    # 137 against 1800 ms per frame beside a training run. Must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    init(args)
    nodes: list[SegmentNode] = []
    each: SegmentNode | None = None
    executor, is_up = SingleThreadedExecutor(), False
    try:
        with ended_by_signal():
            nodes += create()
            for line in unused_arguments(nodes, sys.argv if args is None else args):
                nodes[0].get_logger().warning(line)
            for each in nodes:
                executor.add_node(each)
                each.collect_garbage = collect_and_freeze
                if each.get_parameter("autostart").value:
                    _bring_up(each)
            is_up = True
            _spin(executor, nodes)
    finally:
        if not is_up and not rclpy.ok():  # a logger would complain that it cannot publish
            say("ended by a signal before all was configured", err=True)
        while nodes:
            nodes[-1].on_shutdown(LifecycleState("shutdown", 0))
            nodes.pop().destroy_node()
        executor.shutdown(timeout_sec=0.1)
        rclpy.try_shutdown()
        # The DDS participant, and with it its shared memory, ends with the last reference to the nodes.
        del executor
        each = None
        gc.unfreeze()
        gc.collect()
        rclpy.get_default_context().destroy()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the interpreter's own end takes seconds with torch loaded, and the work is done


def _spin(executor: SingleThreadedExecutor, nodes: Sequence[SegmentNode]) -> None:
    """Until a signal comes; what no guard of a callback has caught, as from rclpy itself, costs that one call."""
    while True:
        try:
            return executor.spin()
        except ExternalShutdownException:
            raise
        except Exception as error:
            for node in nodes:
                node.report_callback_error("executor", error)
            time.sleep(_PAUSE_AFTER_ERROR_S)


def _bring_up(node: SegmentNode) -> None:
    if node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
