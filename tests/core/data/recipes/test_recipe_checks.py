"""Each shipped recipe on its tree as `any2seg data check` and `dataset=auto` see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nuscenes_tree import write_nuscenes
from picture_trees import write_stanford, write_sun_rgbd, write_voc
from raised import user_error
from street_trees import (
    SIZE,
    write_camvid_of_segnet,
    write_camvid_original,
    write_cityscapes,
    write_kitti_360,
    write_kitti_object,
    write_kitti_raw,
    write_semantic_kitti,
)

from any2seg_core.data.catalogue import detect_kind
from any2seg_core.data.check import check_tree
from any2seg_core.data.kinds import shipped_recipes

ROAD = np.full(SIZE, 7, np.uint8)
NAMES = {"train": ["ulm_000000_000019"], "val": ["lindau_000000_000019"], "test": ["berlin_000000_000019"]}
SCENES = {"scene-0061": 2, "scene-0103": 1}
VOC = {"train": ["2007_000032"], "val": ["2007_000033"]}
AREAS = dict.fromkeys(("1", "2", "3", "4", "5a", "5b", "6"), 1)
COLOURS = np.full((*SIZE, 3), (128, 64, 128), np.uint8)

TREES: dict[str, tuple[Callable[[Path], Path], dict[str, int]]] = {
    "cityscapes": (
        lambda root: write_cityscapes(root, NAMES, ROAD, np.full(SIZE, 257, np.uint16)),
        {"train": 1, "val": 1, "test": 1},
    ),
    "kitti-raw": (lambda root: write_kitti_raw(root, {"2011_09_26_drive_0001_sync": 2}), {"train": 2}),
    "kitti-object": (lambda root: write_kitti_object(root, {"training": 2, "testing": 1}), {"train": 2, "test": 1}),
    "kitti-360": (
        lambda root: write_kitti_360(root, {"train": [(0, 386)], "val": [(0, 1200)]}, ROAD),
        {"train": 1, "val": 1},
    ),
    "semantic-kitti": (
        lambda root: write_semantic_kitti(root, {"00": 2, "08": 1, "11": 1}, (40, 252, 52, 10)),
        {"train": 2, "val": 1, "test": 1},
    ),
    "nuscenes": (
        lambda root: write_nuscenes(root, "v1.0-trainval", SCENES, (24, 17, 31, 1)), {"train": 2, "val": 1}
    ),
    "nuscenes-mini": (
        lambda root: write_nuscenes(root, "v1.0-mini", SCENES, (24, 17, 31, 1)), {"train": 2, "val": 1}
    ),
    "voc": (lambda root: write_voc(root, VOC, [], ROAD), {"train": 1, "val": 1}),
    "voc-scribbles": (lambda root: write_voc(root, VOC, VOC["train"], ROAD), {"train": 1, "val": 1}),
    "camvid-segnet": (
        lambda root: write_camvid_of_segnet(root, {"train": 2, "val": 1, "test": 1}, ROAD),
        {"train": 2, "val": 1, "test": 1},
    ),
    "camvid": (
        lambda root: write_camvid_original(root, ["0006R0_f00930", "0016E5_07959", "Seq05VD_f05100"], COLOURS),
        {"train": 1, "val": 1, "test": 1},
    ),
    "sun-rgbd": (
        lambda root: write_sun_rgbd(
            root, {"train": [f"kv2/a/{k}" for k in range(11)], "test": ["kv1/b"]}, ROAD, np.full(SIZE, 2000, np.uint32)
        ),
        {"train": 10, "val": 1, "test": 1},
    ),
    "stanford-2d3ds": (
        lambda root: write_stanford(root, AREAS, np.full(SIZE, 2, np.uint32), np.full(SIZE, 1024, np.uint16)),
        {"train": 4, "val": 1, "test": 2},
    ),
}  # fmt: skip


def test_value_each_shipped_recipe_has_a_tree_here():
    assert set(TREES) == set(shipped_recipes())


@pytest.mark.parametrize("recipe", sorted(TREES))
def test_value_nothing_is_wrong_with_the_tree_and_it_is_recognised(recipe: str, tmp_path: Path):
    write, counts = TREES[recipe]
    root = write(tmp_path)
    report = check_tree(root, recipe)
    assert {split: sum(frames.values()) for split, frames in report.frames.items()} == counts
    assert not any(report.problems.values()), report.problems
    if recipe == "voc-scribbles":  # its dense labels are VOC
        with user_error("data-unrecognised", "voc, voc-scribbles"):
            detect_kind(root)
    else:
        assert detect_kind(root) == recipe


def test_value_pixels_without_a_point_are_counted_as_unlabelled(tmp_path: Path):
    """Three frames of labelled points: a road, a moving car and one without a class on 37 x 123 pixels each."""
    report = check_tree(TREES["semantic-kitti"][0](tmp_path), "semantic-kitti")
    assert (report.class_pixels["road"], report.class_pixels["car"]) == (3, 3)
    assert report.unlabelled == pytest.approx(1.0 - 2 / (37 * 123))
