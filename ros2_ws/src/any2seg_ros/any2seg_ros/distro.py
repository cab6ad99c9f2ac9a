"""What this installation offers beyond the packages that always exist. The only place that asks."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType


def has(package: str) -> bool:
    """Whether a ROS Python package is installed here, without importing it."""
    return find_spec(package) is not None


def vision_messages() -> ModuleType | None:
    """`vision_msgs.msg`, or None where the distribution does not ship it."""
    if not has("vision_msgs"):
        return None
    import vision_msgs.msg

    return vision_msgs.msg

