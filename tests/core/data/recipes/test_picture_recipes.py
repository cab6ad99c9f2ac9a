"""Shipped recipes of PASCAL VOC, SUN RGB-D and Stanford 2D-3D-S on small trees in exactly their layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from picture_trees import write_stanford, write_sun_rgbd, write_voc
from raised import user_error
from street_trees import PICTURE, SIZE, write_png

from any2seg_core.base.shipped import shipped_file
from any2seg_core.data.folder import FolderDataset
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED

RECIPES = shipped_file("any2seg_core", "data", "recipes")
DEPTH_M = {"near": 6.0, "far": 12.0}
NEARNESS = {"near": 159, "far": 116}  # 2550 / (10 + depth)


def assert_depth(plane: np.ndarray) -> None:
    """`stored_depth` as codes of nearness."""
    assert plane.shape == (*SIZE, 3)
    assert plane[18, 10, 0] == NEARNESS["near"]
    assert plane[18, 50, 0] == NEARNESS["far"]
    assert not plane[:, 80:, 0].any()


def stored_depth(per_metre: int, unknown: int) -> np.ndarray:
    depth = np.full(SIZE, unknown, np.uint32)
    depth[:, :30] = DEPTH_M["near"] * per_metre
    depth[:, 30:80] = DEPTH_M["far"] * per_metre
    return depth


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    labels = np.zeros(SIZE, np.uint8)  # background
    labels[10:20, 20:33] = 15  # person
    labels[9, 20:33] = 255  # the border that nobody judges
    lists = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"], "trainval": []}
    return write_voc(tmp_path, lists, ["2007_000032", "2007_000039", "2011_003276"], labels)


def test_value_voc_reads_its_palettes_by_index(voc: Path):
    data = FolderDataset(voc, "train", recipe="voc")
    assert [frame.name for frame in data.frames] == ["2007_000032", "2007_000039"]
    labels = data.labels(0)
    assert (labels == data.label_space.id("person")).sum() == 10 * 13
    assert (labels == IGNORE).sum() == 13
    assert (labels == data.label_space.id("background")).sum() == labels.size - 11 * 13
    assert np.abs(data[1].planes["rgb"][:, 60:].astype(int) - PICTURE[:, 60:]).max() <= 3  # a JPEG


def test_value_voc_is_trained_on_scribbles_and_judged_on_dense_labels(voc: Path):
    train = FolderDataset(voc, "train", recipe="voc-scribbles")
    labels, person = train.labels(1), train.label_space.id("person")
    assert (labels[18:21, 70:89] == person).all()
    assert (labels[2:30, 0:2] == train.label_space.id("background")).all()
    assert set(np.unique(labels)) == {train.label_space.id("background"), person, NOT_ANNOTATED}
    dense = FolderDataset(voc, "val", recipe="voc-scribbles").labels(0)
    assert (dense == person).sum() == 10 * 13
    missing = voc / "scribble_annotation" / "pascal_2012" / "2007_000039.xml"
    missing.unlink()
    with user_error("frame-incomplete", missing):
        FolderDataset(voc, "train", recipe="voc-scribbles")


def test_value_scribbles_as_images_are_read_by_their_pattern_alone(voc: Path, tmp_path_factory: pytest.TempPathFactory):
    """The PNG form: ids, 255 where nobody drew."""
    drawn = np.full(SIZE, 255, np.uint8)
    drawn[5:8, 20:40] = 15
    for name in ("2007_000032", "2007_000039"):
        write_png(voc / "pascal_2012_scribble" / f"{name}.png", drawn)
    shipped = (RECIPES / "voc-scribbles.yaml").read_text()
    own = tmp_path_factory.mktemp("own") / "voc-images.yaml"
    changed = shipped.replace("scribble_annotation/pascal_2012/{frame}.xml", "pascal_2012_scribble/{frame}.png")
    own.write_text(changed.replace("  coding: {train: scribbles}\n", ""))
    labels = FolderDataset(voc, "train", recipe=own).labels(0)
    assert (labels == 15).sum() == 3 * 20
    assert (labels == NOT_ANNOTATED).sum() == labels.size - 3 * 20


@pytest.fixture
def sun(tmp_path: Path) -> Path:
    labels = np.full(SIZE, 1, np.uint8)  # wall
    labels[20:] = 2  # floor
    labels[0] = 0  # nobody said
    labels[1] = 37  # bag
    train = [f"kv2/kinect2data/{k:06d}_2014-05-16_20-14-38_260595134347_rgbf000121-resize" for k in range(11)]
    train.append("xtion/sun3ddata/brown_bm_1/brown_bm_1/0000024-000000806102")  # three folders deeper
    test = ["kv1/NYUdata/NYU0001", "realsense/lg/2014_10_21-18_15_55-1311000073"]
    return write_sun_rgbd(tmp_path, {"train": train, "test": test}, labels, stored_depth(1000, 0))


def label_names(data: FolderDataset) -> list[str]:
    return [Path(data.files(frame)["labels"][0]).name for frame in data.frames]


def test_value_sun_rgbd_takes_its_lists_and_numbers_its_labels_through_test_and_train(sun: Path):
    test = FolderDataset(sun, "test", recipe="sun-rgbd")
    assert label_names(test) == ["img-000001.png", "img-000002.png"]
    assert test.recording(test.frames[0]) == "SUNRGBD/kv1/NYUdata/NYU0001"
    train, val = (FolderDataset(sun, split, recipe="sun-rgbd") for split in ("train", "val"))
    assert label_names(train) == [f"img-00{number}.png" for number in (*range(5051, 5060), 5061, 5062)]
    assert label_names(val) == ["img-005060.png"]  # every tenth
    assert train.recording(train.frames[-1]) == "SUNRGBD/xtion/sun3ddata/brown_bm_1/brown_bm_1/0000024-000000806102"
    assert train[10].planes["depth"].any()


def test_value_sun_rgbd_depth_is_turned_by_three_bits(sun: Path):
    sample = FolderDataset(sun, "test", recipe="sun-rgbd")[0]
    assert_depth(sample.planes["depth"])


def test_value_sun_rgbd_labels_begin_with_wall(sun: Path):
    data = FolderDataset(sun, "test", recipe="sun-rgbd")
    labels, space = data.labels(0), data.label_space
    assert (labels[2:20] == space.id("wall")).all()
    assert (labels[20:] == space.id("floor")).all()
    assert (labels[1] == space.id("bag")).all()
    assert (labels[0] == IGNORE).all()


@pytest.fixture
def stanford(tmp_path: Path) -> Path:
    indices = np.full(SIZE, 3, np.uint32)  # wall_7
    indices[30:] = 2  # chair_12
    indices[0] = 0  # <UNK>
    indices[1] = 0x0D0D0D  # a hole of the mesh
    areas = {"1": 1, "2": 1, "3": 2, "4": 1, "5a": 1, "5b": 1, "6": 1}
    return write_stanford(tmp_path, areas, indices, stored_depth(512, 65535))


def test_value_stanford_splits_by_area(stanford: Path):
    counts = {
        split: FolderDataset(stanford, split, recipe="stanford-2d3ds").frames for split in ("train", "val", "test")
    }
    assert [[frame.drive for frame in frames] for frames in counts.values()] == [
        ["area_1", "area_2", "area_4", "area_6"], ["area_3", "area_3"], ["area_5a", "area_5b"]
    ]  # fmt: skip


def test_value_stanford_instances_become_classes_and_depth_has_512_units_a_metre(stanford: Path):
    data = FolderDataset(stanford, "val", recipe="stanford-2d3ds")
    sample, space = data[1], data.label_space
    assert_depth(sample.planes["depth"])
    np.testing.assert_array_equal(sample.planes["rgb"], PICTURE)
    assert (sample.labels[2:30] == space.id("wall")).all()
    assert (sample.labels[30:] == space.id("chair")).all()
    assert (sample.labels[:2] == IGNORE).all()


def test_exception_stanford_without_its_list_of_instances(stanford: Path):
    names = stanford / "assets" / "semantic_labels.json"  # lies in the repository of its tools, not in the archives
    names.unlink()
    with user_error("frame-incomplete", names):
        FolderDataset(stanford, "val", recipe="stanford-2d3ds")
