"""The shipped label spaces against tables typed from the data sets' publications: ids, names, counts, merges."""

from __future__ import annotations

from pathlib import Path

import pytest

from any2seg_core.vocabulary.class_mapping import shipped_mappings
from any2seg_core.vocabulary.labels import LabelSpace, shipped_names, shipped_space


def class_of_raw(space: LabelSpace, raw: int) -> str | None:
    found = [name for name, ids in zip(space.classes, space.raw, strict=True) if raw in ids]
    assert len(found) <= 1
    return found[0] if found else None


def class_of_colour(space: LabelSpace, colour: tuple[int, int, int]) -> str | None:
    found = [name for name, colours in zip(space.classes, space.file_colours, strict=True) if colour in colours]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("name", "classes", "raw_ids", "void_ids"),
    [
        ("deliver-25", 25, 25, 1),
        ("cityscapes-19", 19, 19, 15),
        ("muses-19", 19, 19, 15),
        ("mcubes-20", 20, 0, 0),
        ("carla-0.9.10", 22, 22, 1),
        ("carla-0.9.14", 28, 28, 1),
        ("kitti-360", 19, 22, 23),
        ("semantickitti-19", 19, 30, 4),
        ("nuscenes-lidarseg-16", 16, 20, 12),
        ("voc-21", 21, 0, 0),
        ("sunrgbd-37", 37, 37, 1),
        ("stanford-13", 13, 0, 0),
        ("camvid-11", 11, 11, 1),
    ],
)
def test_value_numbers_of_classes_and_ids(name, classes, raw_ids, void_ids):
    space = shipped_space(name)
    assert (len(space), sum(map(len, space.raw)), len(space.void_raw)) == (classes, raw_ids, void_ids)


def test_value_every_shipped_space_is_in_the_table_above():
    counted = test_value_numbers_of_classes_and_ids.pytestmark[0].args[1]
    assert sorted(row[0] for row in counted) == sorted(shipped_names())


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("cityscapes-19", 7, ("road", 0)),
        ("cityscapes-19", 11, ("building", 2)),
        ("cityscapes-19", 26, ("car", 13)),
        ("cityscapes-19", 33, ("bicycle", 18)),
        ("cityscapes-19", 9, None),  # parking
        ("kitti-360", 34, ("building", 2)),  # garage
        ("kitti-360", 35, ("fence", 4)),  # gate
        ("kitti-360", 37, ("pole", 5)),  # small pole
        ("kitti-360", 36, None),  # stop
        ("semantickitti-19", 10, ("car", 0)),
        ("semantickitti-19", 252, ("car", 0)),  # moving car
        ("semantickitti-19", 253, ("bicyclist", 6)),
        ("semantickitti-19", 254, ("person", 5)),
        ("semantickitti-19", 255, ("motorcyclist", 7)),
        ("semantickitti-19", 256, ("other-vehicle", 4)),  # moving on rails
        ("semantickitti-19", 257, ("other-vehicle", 4)),  # moving bus
        ("semantickitti-19", 258, ("truck", 3)),
        ("semantickitti-19", 13, ("other-vehicle", 4)),  # bus
        ("semantickitti-19", 60, ("road", 8)),  # lane marking
        ("semantickitti-19", 81, ("traffic-sign", 18)),
        ("semantickitti-19", 52, None),  # other structure
        ("nuscenes-lidarseg-16", 9, ("barrier", 0)),
        ("nuscenes-lidarseg-16", 16, ("bus", 2)),
        ("nuscenes-lidarseg-16", 6, ("pedestrian", 6)),  # police officer
        ("nuscenes-lidarseg-16", 5, None),  # personal mobility
        ("nuscenes-lidarseg-16", 24, ("driveable_surface", 10)),
        ("nuscenes-lidarseg-16", 30, ("vegetation", 15)),
        ("carla-0.9.10", 7, ("Road", 6)),
        ("carla-0.9.10", 22, ("Terrain", 21)),
        ("carla-0.9.14", 1, ("Roads", 0)),
        ("carla-0.9.14", 13, ("Rider", 12)),
        ("sunrgbd-37", 1, ("wall", 0)),
        ("sunrgbd-37", 24, ("fridge", 23)),
        ("sunrgbd-37", 37, ("bag", 36)),
        ("camvid-11", 3, ("Road", 3)),
        ("deliver-25", 25, ("Truck", 24)),
    ],
)
def test_value_what_a_raw_id_means(name, raw, expected):
    space = shipped_space(name)
    found = class_of_raw(space, raw)
    assert (None if found is None else (found, space.id(found))) == expected
    assert (raw in space.void_raw) == (expected is None)


@pytest.mark.parametrize(
    ("name", "colour", "expected"),
    [
        ("cityscapes-19", (128, 64, 128), "road"),
        ("cityscapes-19", (153, 153, 153), "pole"),  # polegroup has the same
        ("cityscapes-19", (0, 0, 142), "car"),  # license plate has the same
        ("kitti-360", (64, 128, 128), "building"),  # garage
        ("carla-0.9.10", (100, 40, 40), "Fence"),
        ("carla-0.9.14", (190, 153, 153), "Fences"),
        ("camvid-11", (192, 0, 128), "Building"),  # archway
        ("camvid-11", (128, 0, 192), "Road"),  # lane markings
        ("camvid-11", (64, 128, 192), "Car"),  # SUV
        ("camvid-11", (192, 0, 192), "Bicyclist"),  # motorcycle
        ("voc-21", (0, 0, 0), "background"),
        ("voc-21", (128, 0, 0), "aeroplane"),
        ("voc-21", (0, 64, 128), "tvmonitor"),
        ("semantickitti-19", (100, 150, 245), "car"),
    ],
)
def test_value_what_a_colour_means(name, colour, expected):
    assert class_of_colour(shipped_space(name), colour) == expected


def test_value_camvid_has_all_32_colours_of_the_original():
    space = shipped_space("camvid-11")
    assert sum(map(len, space.file_colours)) + len(space.void_colours) == 32


def test_value_kitti_360_has_the_classes_of_cityscapes():
    assert shipped_space("kitti-360").is_same(shipped_space("cityscapes-19"))


def test_value_docs_list_what_is_shipped():
    page = (Path(__file__).resolve().parents[3] / "docs" / "classes.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in page.splitlines() if row.startswith("| `") and row.count("|") == 5]
    listed = {name.strip(" `"): (int(classes), int(raw)) for _, name, classes, raw, _, _ in rows}
    assert listed == {
        name: (len(shipped_space(name)), sum(map(len, shipped_space(name).raw))) for name in shipped_names()
    }
    assert all(f"`{name}`" in page for name in shipped_mappings())
