"""A piece of a download that is not there is told in one line: by the file's name, its pattern or the recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from raised import user_error
from test_recipe_checks import TREES

from any2seg_core.data.convert import convert_tree
from any2seg_core.data.folder import FolderDataset
from any2seg_core.data.recipe import read_recipe


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("recipe", "split", "piece", "code", "named"),
    [
        ("cityscapes", "train", "gtFine", "data-empty", "_gtFine_labelIds.png"),
        ("cityscapes", "train", "camera", "frame-incomplete", "_camera.json"),
        ("cityscapes", "train", "leftImg8bit/train", "data-empty", "leftImg8bit/{split}"),
        ("kitti-raw", "train", "2011_09_26/calib_velo_to_cam.txt", "file-missing", "calib_velo_to_cam.txt"),
        ("kitti-object", "train", "training/velodyne", "data-empty", "sensors.lidar"),
        ("kitti-object", "test", "testing/calib/000000.txt", "frame-incomplete", "000000.txt"),
        ("kitti-360", "train", "calibration", "frame-incomplete", "calibration"),
        ("kitti-360", "val", "data_2d_semantics/train/2013_05_28_drive_0000_sync", "data-empty", "labels"),
        ("semantic-kitti", "val", "sequences/08/calib.txt", "frame-incomplete", "calib.txt"),
        ("semantic-kitti", "val", "sequences/08/labels", "data-empty", "labels"),
        ("semantic-kitti", "train", "sequences/00/image_2", "data-empty", "image_2"),
        ("nuscenes", "train", "samples/CAM_FRONT", "data-empty", "sensors.rgb"),
        ("nuscenes", "val", "v1.0-trainval/ego_pose.json", "file-missing", "ego_pose.json"),
        ("voc", "train", "ImageSets/Segmentation/train.txt", "data-empty", "train.txt"),
        ("voc-scribbles", "train", "scribble_annotation", "data-empty", "labels"),
        ("camvid", "val", "LabeledApproved_full", "data-empty", "labels"),
        ("sun-rgbd", "test", "sunrgbd_testing_images.txt", "data-empty", "sunrgbd_testing_images.txt"),
        ("sun-rgbd", "test", "SUNRGBD/kv1/b/intrinsics.txt", "frame-incomplete", "intrinsics.txt"),
        ("sun-rgbd", "test", "SUNRGBD/kv1/b/depth_bfx", "data-empty", "sensors.depth"),
        ("stanford-2d3ds", "val", "area_3/data/pose", "frame-incomplete", "_pose.json"),
        ("stanford-2d3ds", "test", "area_5a", "", ""),  # its other half is enough
    ],
)
def test_exception_a_missing_piece_is_told(recipe: str, split: str, piece: str, code: str, named: str, tmp_path: Path):
    root = TREES[recipe][0](tmp_path)
    is_labelled = read_recipe(recipe).labels is not None
    assert FolderDataset(root, split, recipe=recipe, labelled=is_labelled)[0].planes
    remove(root / piece)
    if not code:
        assert len(FolderDataset(root, split, recipe=recipe)) == 1
        return
    with user_error(code, named):
        FolderDataset(root, split, recipe=recipe, labelled=is_labelled)[0]


@pytest.mark.parametrize("recipe", ["cityscapes", "kitti-raw", "semantic-kitti", "nuscenes-mini", "sun-rgbd"])
def test_value_planes_that_were_made_once_are_the_same(recipe: str, tmp_path: Path):
    root = TREES[recipe][0](tmp_path)
    is_labelled = read_recipe(recipe).labels is not None
    before = FolderDataset(root, "train", recipe=recipe, labelled=is_labelled)[0].planes
    convert_tree(root, recipe, ["train"], 1)
    kept = list(root.glob("any2seg_planes/**/*.png"))
    assert kept
    after = FolderDataset(root, "train", recipe=recipe, labelled=is_labelled, cache="disk")[0].planes
    assert list(after) == list(before)
    for name, plane in before.items():
        np.testing.assert_array_equal(after[name], plane)


def test_value_each_camera_of_nuscenes_gives_frames_of_its_own(tmp_path: Path):
    root = TREES["nuscenes-mini"][0](tmp_path)
    recipe = read_recipe("nuscenes-mini")
    assert recipe.tables is not None
    tables = recipe.tables.model_copy(update={"cameras": ("CAM_FRONT", "CAM_BACK")})
    data = FolderDataset(root, "val", recipe=recipe.model_copy(update={"tables": tables}))
    front, back = data
    assert len({frame.name for frame in data.frames}) == 2
    assert (front.planes["lidar"][..., 0] > 0).sum() == 27
    assert (back.planes["lidar"][..., 0] > 0).sum() == 9  # the one point that lies behind
