"""Shipped recipes of KITTI's family, each on a small tree in exactly its layout: frames, planes and labels by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from raised import user_error
from recipe_checks import assert_lidar, names
from street_trees import PICTURE, write_kitti_object, write_kitti_raw

from any2seg_core.data.folder import FolderDataset


def test_value_kitti_raw_reads_each_drive_by_the_calibration_of_its_day(tmp_path: Path):
    root = write_kitti_raw(tmp_path, {"2011_09_26_drive_0001_sync": 2, "2011_10_03_drive_0027_sync": 1})
    data = FolderDataset(root, "train", recipe="kitti-raw", labelled=False)
    assert [frame.name for frame in data.frames] == [
        "2011_09_26/2011_09_26_drive_0001_sync/0000000000", "2011_09_26/2011_09_26_drive_0001_sync/0000000001",
        "2011_10_03/2011_10_03_drive_0027_sync/0000000000",
    ]  # fmt: skip
    assert [data.recording(frame) for frame in data.frames[1:]] == [
        "2011_09_26_drive_0001_sync", "2011_10_03_drive_0027_sync"
    ]  # fmt: skip
    np.testing.assert_array_equal(data[2].planes["rgb"], PICTURE)
    assert_lidar(data[2].planes["lidar"])
    with user_error("data-unlabelled", "kitti-raw"):
        FolderDataset(root, "train", recipe="kitti-raw")


def test_value_kitti_raw_moves_points_by_the_fourth_column_of_the_cameras_p(tmp_path: Path):
    root = write_kitti_raw(tmp_path, {"2011_09_26_drive_0001_sync": 1}, offset=0.5)
    plane = FolderDataset(root, "train", recipe="kitti-raw", labelled=False)[0].planes["lidar"]
    assert plane[18, 61 + 6, 1] == 102  # half a metre to the right at 5 m: six pixels


def test_value_kitti_raw_lacks_a_sweep_now_and_then(tmp_path: Path):
    root = write_kitti_raw(tmp_path, {"2011_09_26_drive_0009_sync": 3})
    (root / "2011_09_26/2011_09_26_drive_0009_sync/velodyne_points/data/0000000001.bin").unlink()
    data = FolderDataset(root, "train", recipe="kitti-raw", labelled=False)
    assert [list(data[k].planes) for k in range(3)] == [["rgb", "lidar"], ["rgb"], ["rgb", "lidar"]]


def test_value_kitti_object_calibrates_each_frame(tmp_path: Path):
    root = write_kitti_object(tmp_path, {"training": 2, "testing": 1})
    assert names(root, "kitti-object", "train", labelled=False) == ["000000", "000001"]
    data = FolderDataset(root, "test", recipe="kitti-object", labelled=False)
    assert_lidar(data[0].planes["lidar"])
    calibration = root / "training" / "calib" / "000001.txt"
    calibration.write_text(calibration.read_text().replace("P2: 6.0", "P2: 3.0"))
    train = FolderDataset(root, "train", recipe="kitti-object", labelled=False)
    assert_lidar(train[0].planes["lidar"])
    assert train[1].planes["lidar"][21, 58, 1] == 255  # half the focal length: 61 - 30 * 1 / 10
    calibration.unlink()
    with user_error("frame-incomplete", calibration):
        FolderDataset(root, "train", recipe="kitti-object", labelled=False)
