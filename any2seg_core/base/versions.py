"""What a run was made with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("any2seg", "torch", "numpy", "rosbags", "ros-jazzy-rclpy", "ros-jazzy-rmw-fastrtps-cpp", "open3d-cpu")


def versions() -> dict[str, str]:
    """What the run was made with; packages that are not installed are left out."""
    found = {"python": platform.python_version(), "system": platform.platform(), "cpu_count": str(os.cpu_count())}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
