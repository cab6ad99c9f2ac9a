"""What this installation offers beyond the packages that always exist. The only place that asks."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from any2seg_core.base.shipped import shipped_file


def has(package: str) -> bool:
    """Whether a ROS Python package is installed here, without importing it."""
    return find_spec(package) is not None


def message_class(kind: str) -> Any | None:
    """Python class of ``package/msg/Name``; None where the package is not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None


def vision_messages() -> ModuleType | None:
    """`vision_msgs.msg`, or None where the distribution does not ship it."""
    if not has("vision_msgs"):
        return None
    import vision_msgs.msg

    return vision_msgs.msg


def transform_message() -> Any | None:
    """`tf2_msgs.msg.TFMessage`, or None: there is no wheel of tf2_msgs, so from wheels extrinsics come from YAML."""
    return message_class("tf2_msgs/msg/TFMessage")


def simple_filter() -> type:
    """`message_filters.SimpleFilter` where it is installed, else a class that behaves like it."""
    if has("message_filters"):
        from message_filters import SimpleFilter

        return SimpleFilter
    from any2seg_ros.simple_filter import SimpleFilter

    return SimpleFilter


def subscription_events() -> type:
    """`SubscriptionEventCallbacks`, which moved between Humble and Jazzy."""
    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:
        from rclpy.qos_event import SubscriptionEventCallbacks
    return SubscriptionEventCallbacks


def config_file(name: str) -> Path:
    """A file of this package's config folder."""
    return shipped_file("any2seg_ros", "config", name)
