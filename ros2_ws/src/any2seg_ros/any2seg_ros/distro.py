"""What this installation offers beyond the packages that always exist. The only place that asks."""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from any2seg_core.base.shipped import shipped_file

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Every variable that a user may have set for the profile of Fast DDS, the older name first."""

_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")


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


def profile_variables() -> tuple[str, ...]:
    """Environment variables that Fast DDS takes its profile from; version 3, from Kilted on, warns of the older one."""
    name = os.environ.get("ROS_DISTRO")  # of an installation; wheels set none, but Fast DDS 2 has another name there
    has_fast_dds_2 = name in _WITH_FAST_DDS_2 if name else has("fastrtps")
    return PROFILE_VARIABLES if has_fast_dds_2 else PROFILE_VARIABLES[1:]


def config_file(name: str) -> Path:
    """A file of this package's config folder."""
    return shipped_file("any2seg_ros", "config", name)
