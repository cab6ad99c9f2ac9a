"""Folders that a recipe describes: frames, splits, planes and labels."""

from __future__ import annotations

import numpy as np
import pytest
from folder_trees import SIZE, write_recipe, write_yard, yard_recipe
from raised import user_error

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.folder import RECIPE_FILE
from any2seg_core.sensors.calibration import load_calibration
from any2seg_core.sensors.rig import SensorRig


@pytest.fixture
def yard(tmp_path):
    root = write_yard(tmp_path / "yard")
    write_recipe(root / RECIPE_FILE, yard_recipe())
    return root


def test_value_planes_are_those_of_the_rig_and_labels_those_of_the_file(yard):
    frames = open_dataset("folder", yard, "train")
    assert [frames.name(number) for number in range(len(frames))] == ["d1/0000", "d1/0001", "d2/0000", "d2/0001"]
    sample = frames[3]
    points = np.fromfile(yard / "cloud" / "d2" / "0001.bin", "<f4").reshape(-1, 4)
    rig = SensorRig(load_calibration(yard / "car.yaml"))
    np.testing.assert_array_equal(sample.planes["lidar"], rig.planes({"lidar": points}, 0)["lidar"])
    assert tuple(sample.planes) == ("rgb", "lidar") and sample.planes["rgb"].shape == (*SIZE, 3)
    counts = np.bincount(sample.labels.ravel(), minlength=256)
    height, width = SIZE
    assert (counts[6], counts[255], counts[0]) == ((height - height // 2) * width, width, (height // 2 - 1) * width)
    assert frames.recording(frames.frames[3]) == "d2"


def test_value_the_same_by_folder_by_file_and_by_auto(yard):
    by_folder = open_dataset("folder", yard, "val")
    for frames in (open_dataset(str(yard / RECIPE_FILE), yard, "val"), open_dataset("auto", yard, "val")):
        assert frames.frames == by_folder.frames and frames.kind == "yard"
        np.testing.assert_array_equal(frames[0].planes["lidar"], by_folder[0].planes["lidar"])


@pytest.mark.parametrize(
    ("change", "says", "code"),
    [
        ({"sensors": {"rgb": "picture/{drive}/{frame}.png"}}, "no train frame", "data-empty"),
        ({"labels": "labels/{drive}/{frame}.png"}, "labels finds nothing", "data-empty"),
        ({"labels": None}, "names no labels", "data-unlabelled"),
        ({"calibration": None}, "need a calibration", "calibration-missing"),
    ],
)
def test_exception_patterns_that_find_nothing(yard, change, says, code):
    write_recipe(yard / RECIPE_FILE, yard_recipe() | change)
    with user_error(code, says):
        open_dataset("folder", yard, "train")


def test_exception_two_files_for_one_frame(yard):
    (yard / "image" / "d1" / "0001.jpg").write_bytes(b"")
    document = yard_recipe()
    document["sensors"]["rgb"] = "image/{drive}/{frame}.*"
    write_recipe(yard / RECIPE_FILE, document)
    with user_error("file-ambiguous", "0001.png", "0001.jpg", "sensors.rgb"):
        open_dataset("folder", yard, "train")
