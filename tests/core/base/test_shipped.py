"""Files that come with the packages are found, and are those of the documented paths of a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from any2seg_core.base.shipped import default_checkpoint, shipped_file

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("documented", "shipped"),
    [
        ("checkpoints/drive_b0.safetensors", default_checkpoint()),
        ("bags/topics.yaml", shipped_file("any2seg_core.bags", "topics.yaml")),
        ("ros2_ws/src/any2seg_ros/config/fastdds.xml", shipped_file("any2seg_ros", "config", "fastdds.xml")),
    ],
)
def test_value_shipped_files_lie_at_their_documented_paths(documented, shipped):
    assert (ROOT / documented).samefile(shipped)


def test_exception_a_package_that_is_not_there():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        shipped_file("no_such_package", "a.yaml")
