"""Fills a TransformTree from /tf and /tf_static."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from rclpy.node import Node

from any2seg_core.messages.transforms import TransformTree
from any2seg_ros import distro, qos
from any2seg_ros.guard import Guard


class TransformListener:
    """Subscriptions to the transforms of the robot; does nothing where tf2_msgs is not installed.

    Args:
        node: gets the subscriptions. tree: is filled. guard: wraps the callbacks.
        is_due: `Throttle.is_due` with the node's period.
    """

    def __init__(self, node: Node, tree: TransformTree, guard: Guard, is_due: Callable[[Hashable], bool]) -> None:
        self._node, self._tree, self._is_due, self._subscriptions = node, tree, is_due, []
        kind = distro.transform_message()
        if kind is None:
            return
        for topic, is_static, profile in (("/tf", False, qos.TRANSFORMS), ("/tf_static", True, qos.STATIC_TRANSFORMS)):
            callback = guard(topic, partial(self.receive, is_static))
            self._subscriptions.append(node.create_subscription(kind, topic, callback, profile))

    def receive(self, is_static: bool, message: Any) -> None:
        """One tf2_msgs/TFMessage; what makes no sense in it is left out and logged, a static change is logged."""
        changes = self._tree.static_changes(message) if is_static else []
        if changes and self._is_due(("tf", "changes")):
            self._node.get_logger().warning(f"/tf_static changes {', '.join(changes)}: the new value holds from now on")
        complaints = self._tree.add_message(message, is_static)
        if complaints and self._is_due(("tf", is_static)):
            self._node.get_logger().warning("; ".join(complaints))

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
