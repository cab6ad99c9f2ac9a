"""What this installation offers beyond the packages that always exist. The only place that asks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
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


def config_file(name: str) -> Path:
    """A file of this package's config folder, in a source tree or in a colcon installation."""
    beside_source = Path(__file__).resolve().parent.parent / "config" / name
    if beside_source.is_file():
        return beside_source
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory("any2seg_ros")) / "config" / name
