"""One moment as files: what predict reads is what the sensors of the drive held."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from raised import user_error

pytest.importorskip("open3d")

from small_rig import small_rig

from any2seg_core.files.samples import FileOptions, read_samples
from any2seg_core.sensors.calibration import load_calibration
from any2seg_drive.frame_writer import write_frame
from any2seg_drive.simulator import Drive


def test_value_files_are_read_as_the_sensors_held_it(tmp_path):
    rig = small_rig()
    camera, depth, events, lidar, calibration, truth = write_frame(tmp_path / "new" / "frame", 6.0, "rainy", rig=rig)
    given = {"rgb": camera, "depth": depth, "event": events, "lidar": lidar}
    got = read_samples(given, load_calibration(calibration), FileOptions())
    expected, labels = Drive(0, "test", "rainy", rig=rig).sample(6.0)
    for name in ("rgb", "depth", "lidar"):
        np.testing.assert_array_equal(got[name], expected[name])
    for name in ("x", "y", "t"):
        np.testing.assert_array_equal(got["event"][name], expected["event"][name])
    np.testing.assert_array_equal(got["event"]["p"] > 0, expected["event"]["p"] > 0)
    np.testing.assert_array_equal(cv2.imread(str(truth), cv2.IMREAD_UNCHANGED), labels)
    assert labels.shape == (75, 97) and len(np.unique(labels)) > 3


def test_exception_nothing_is_overwritten_or_left_behind(tmp_path):
    (tmp_path / "there").mkdir()
    with user_error("output-exists", "there"):
        write_frame(tmp_path / "there", rig=small_rig())
    with user_error("value-range"):
        write_frame(tmp_path / "late", 1e6, rig=small_rig())
    with user_error("value-unknown", "snow"):
        write_frame(tmp_path / "snow", weather="snow", rig=small_rig())
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
