"""Message-like objects (rclpy, rosbags or a fake; read by field name) to arrays and back. Imports no ROS."""

from __future__ import annotations

from any2seg_core.errors import UserError


class MessageError(UserError):
    """A message that contradicts itself or holds what this project cannot read; the caller drops it and goes on."""
