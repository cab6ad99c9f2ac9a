"""Shipped recipes of KITTI's family, each on a small tree in exactly its layout: frames, planes and labels by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from raised import user_error
from recipe_checks import assert_lidar, assert_point_labels, names
from street_trees import PICTURE, SIZE, write_kitti_360, write_kitti_object, write_kitti_raw, write_semantic_kitti

from any2seg_core.data.folder import FolderDataset
from any2seg_core.vocabulary.labels import NOT_ANNOTATED


def test_value_kitti_raw_reads_each_drive_by_the_calibration_of_its_day(tmp_path: Path):
    drives = {"2011_09_26_drive_0001_sync": 2, "2011_10_03_drive_0027_sync": 1, "2011_09_26_drive_0001_extract": 1}
    root = write_kitti_raw(tmp_path, drives)  # of the last one pictures are not rectified
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


def test_value_kitti_360_takes_the_frames_of_its_lists(tmp_path: Path):
    ids = np.full(SIZE, 21, np.uint8)  # vegetation
    ids[30:] = 7  # road
    ids[0] = 44  # unknown object
    ids[1] = 34  # garage
    root = write_kitti_360(tmp_path, {"train": [(0, 386), (10, 7)], "val": [(0, 12000)]}, ids)
    assert names(root, "kitti-360", "train") == [
        "2013_05_28_drive_0000_sync/0000000386", "2013_05_28_drive_0010_sync/0000000007"
    ]  # fmt: skip
    data = FolderDataset(root, "val", recipe="kitti-360")
    assert [frame.name for frame in data.frames] == ["2013_05_28_drive_0000_sync/0000012000"]
    sample = data[0]
    assert_lidar(sample.planes["lidar"])
    assert (sample.labels == data.label_space.id("road")).sum() == 7 * 123
    assert (sample.labels[2:30] == data.label_space.id("vegetation")).all()
    listed = root / "data_2d_semantics/train/2013_05_28_drive_val_frames.txt"
    listed.unlink()
    with user_error("data-empty", listed):
        FolderDataset(root, "val", recipe="kitti-360")


def test_value_semantic_kitti_labels_are_those_of_points(tmp_path: Path):
    """40 road, 252 a moving car, 52 other structure (no class), 10 a car behind; instances in the upper half."""
    root = write_semantic_kitti(tmp_path, {"00": 2, "08": 1, "10": 1, "11": 1, "21": 1}, (40, 252, 52, 10))
    assert names(root, "semantic-kitti", "train") == ["00/000000", "00/000001", "10/000000"]
    assert names(root, "semantic-kitti", "val") == ["08/000000"]
    assert names(root, "semantic-kitti", "test", labelled=False) == ["11/000000", "21/000000"]
    data = FolderDataset(root, "val", recipe="semantic-kitti")
    sample, space = data[0], data.label_space
    assert_lidar(sample.planes["lidar"])
    assert_point_labels(sample.labels, (space.id("road"), space.id("car"), NOT_ANNOTATED))
    label = root / "sequences/08/labels/000000.label"
    label.write_bytes(label.read_bytes()[:12])
    with user_error("size-mismatch", label):
        data.labels(0)


def test_value_semantic_kitti_keeps_points_and_labels_together_where_points_are_dropped(tmp_path: Path):
    """A point at the origin is no return: its label goes with it, and no other one's moves up."""
    root = write_semantic_kitti(tmp_path, {"08": 1}, (40, 252, 48, 10))
    cloud = root / "sequences/08/velodyne/000000.bin"
    rows = np.fromfile(cloud, "<f4").reshape(-1, 4)
    rows[0] = 0.0
    rows.tofile(cloud)
    data = FolderDataset(root, "val", recipe="semantic-kitti")
    space = data.label_space
    assert_point_labels(data.labels(0), (NOT_ANNOTATED, space.id("car"), space.id("sidewalk")))
