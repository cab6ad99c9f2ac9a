"""The version of this program, and what a run was made with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"

_PACKAGES = ("torch", "numpy", "rosbags", "ros-rclpy", "ros-rmw-fastrtps-cpp", "open3d-cpu")


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions of this program and of those of the packages that are installed; none is imported."""
    found = {"any2seg": __version__}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def versions() -> dict[str, str]:
    """What the run was made with; packages that are not installed are left out."""
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpu_count": str(os.cpu_count())}
    return machine | installed(_PACKAGES)
