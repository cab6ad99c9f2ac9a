"""A recording of two seconds, a teacher of the camera, and settings of a few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bag_files import kitti_entries, labelled_kitti_entries, write_bag
from camera_teachers import YARD, camera_teacher

from any2seg_core.sensors.camera import CameraModel
from any2seg_training.teach.run import teach_sensors
from any2seg_training.teach.settings import TeachSettings

CAMERA = CameraModel.from_fov(96, 64, 90.0, "camera_color_left")


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten sets of camera and LiDAR, no labels."""
    return write_bag(tmp_path_factory.mktemp("recordings") / "drive", kitti_entries(10, CAMERA))


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten sets with labels of 25 classes."""
    return write_bag(tmp_path_factory.mktemp("labelled") / "town", labelled_kitti_entries(10, CAMERA))


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera model of three classes."""
    return camera_teacher(tmp_path_factory.mktemp("teachers") / "camera.safetensors", YARD)


@pytest.fixture
def asked(recording: Path, teacher: Path, tmp_path: Path) -> Callable[..., TeachSettings]:
    """Settings of a run of three steps, with changes."""

    def make(**changes: object) -> TeachSettings:
        given = {"recordings": (recording,), "teacher": (str(teacher),), "out": tmp_path / "out", "steps": 3}
        return TeachSettings(**(given | {"held_out": 0.4, "batch_size": 2, "device": "cpu", "threads": 1} | changes))

    return make


@pytest.fixture
def taught(asked: Callable[..., TeachSettings]) -> Callable[..., tuple[dict, list[str]]]:
    """Runs it; the summary and the lines that were shown."""

    def run(dry_run: bool = False, **changes: object) -> tuple[dict, list[str]]:
        lines: list[str] = []
        return teach_sensors(asked(**changes), dry_run, lines.append), lines

    return run
