"""Label images of every coding, through the tables of a label space: ids counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raised import user_error

from any2seg_core.data.folder_labels import read_point_labels
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.label_images import read_label_image
from any2seg_core.vocabulary.label_tables import raw_table, train_table
from any2seg_core.vocabulary.labels import LabelSpace, label_space

CITY = label_space("cityscapes-19")
CAMVID = label_space("camvid-11")
VOC = label_space("voc-21")


def grey(path: Path, ids: list[list[int]], dtype: type = np.uint8) -> Path:
    Image.fromarray(np.array(ids, dtype)).save(path)
    return path


def coloured(path: Path, pixels: list[list[tuple[int, int, int]]]) -> Path:
    Image.fromarray(np.array(pixels, np.uint8)).save(path)
    return path


def test_value_raw_ids_of_cityscapes(tmp_path):
    path = grey(tmp_path / "aachen_gtFine_labelIds.png", [[7, 8, 26], [33, 0, 9], [24, 25, 255]])
    assert read_label_image(path, CITY, "raw_ids").tolist() == [[0, 1, 13], [18, 255, 255], [11, 12, 255]]


def test_value_the_same_file_as_train_ids_is_another_thing(tmp_path):
    path = grey(tmp_path / "a.png", [[7, 8, 18], [0, 255, 13]])
    assert read_label_image(path, CITY, "train_ids").tolist() == [[7, 8, 18], [0, 255, 13]]


def test_value_16_bit_raw_ids(tmp_path):
    kitti = label_space("semantickitti-19")
    path = grey(tmp_path / "a.png", [[252, 259, 40], [60, 99, 255]], np.uint16)
    assert read_label_image(path, kitti, "raw_ids").tolist() == [[0, 4, 8], [8, 255, 7]]


def test_value_minus_one_in_16_bits_is_unlabelled_and_no_known_id(tmp_path):
    path = grey(tmp_path / "a.png", [[7, 65535, 26]], np.uint16)
    assert read_label_image(path, CITY, "raw_ids").tolist() == [[0, 255, 13]]
    with user_error("label-ids", "label id 65534", "known: 0..33 and 255", kind=CorruptFileError):
        read_label_image(grey(tmp_path / "b.png", [[65534]], np.uint16), CITY, "raw_ids")


@pytest.mark.parametrize("name", ["cityscapes-19", "kitti-360"])
def test_value_instance_images(tmp_path, name):
    """id * 1000 + number where there are instances, the id itself where there are none."""
    path = grey(tmp_path / "a.png", [[26000, 26017, 7], [11001, 24999, 0]], np.uint16)
    expected = [[13, 13, 0], [2, 11, 255]]
    assert read_label_image(path, label_space(name), "instance_ids").tolist() == expected


def test_value_kitti_360_divides_what_cityscapes_does_not_have(tmp_path):
    path = grey(tmp_path / "a.png", [[34002, 35000, 37001, 44000]], np.uint16)
    assert read_label_image(path, label_space("kitti-360"), "instance_ids").tolist() == [[2, 4, 5, 255]]
    with user_error("label-ids", path, 34, kind=CorruptFileError):
        read_label_image(path, CITY, "instance_ids")


def test_value_colours_of_the_original_camvid(tmp_path):
    road, marking, suv, void, child = (128, 64, 128), (128, 0, 192), (64, 128, 192), (0, 0, 0), (192, 128, 64)
    path = coloured(tmp_path / "0016E5_L.png", [[road, marking, suv], [void, child, road]])
    assert read_label_image(path, CAMVID, "raw_colours").tolist() == [[3, 3, 8], [255, 9, 3]]


def test_value_black_is_a_class_where_one_has_it(tmp_path):
    path = coloured(tmp_path / "a.png", [[(0, 0, 0), (128, 0, 0), (224, 224, 192)]])
    assert read_label_image(path, VOC, "raw_colours").tolist() == [[0, 1, 255]]


def test_exception_a_colour_of_no_class_is_named_with_its_pixels(tmp_path):
    odd = (1, 2, 3)
    path = coloured(tmp_path / "a.png", [[odd, odd, (128, 64, 128)], [odd, (4, 5, 6), (0, 0, 0)]])
    with user_error("label-ids", path, "[1, 2, 3]", "3 pixels", "2 such", "camvid-11", kind=CorruptFileError):
        read_label_image(path, CAMVID, "raw_colours")


def test_exception_an_id_of_no_class_is_named(tmp_path):
    path = grey(tmp_path / "a.png", [[7, 8, 60000]], np.uint16)
    with user_error("label-ids", path, 60000, kind=CorruptFileError):
        read_label_image(path, CITY, "raw_ids")
    with user_error("file-content", path, "uint16", kind=CorruptFileError):
        read_label_image(path, CITY, "train_ids")


def test_exception_colours_where_ids_are_told(tmp_path):
    path = coloured(tmp_path / "a.png", [[(128, 64, 128), (0, 0, 142)]])
    with user_error("file-content", path, "raw_colours", kind=CorruptFileError):
        read_label_image(path, CITY, "raw_ids")


def test_exception_a_jpeg_holds_neither_ids_nor_colours(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(tmp_path / "a.jpg")
    for coding in ("raw_ids", "raw_colours", "train_ids", "instance_ids"):
        with user_error("file-format", "a.jpg", kind=CorruptFileError):
            read_label_image(tmp_path / "a.jpg", CAMVID, coding)


def palette_image(path: Path, ids: list[list[int]], colours: dict[int, tuple[int, int, int]]) -> Path:
    image = Image.fromarray(np.array(ids, np.uint8), "P")
    palette = np.zeros((256, 3), np.uint8)
    for index, colour in colours.items():
        palette[index] = colour
    image.putpalette(palette.reshape(-1).tolist())
    image.save(path)
    return path


def test_value_palettes_of_voc_are_read_by_their_index(tmp_path):
    path = palette_image(tmp_path / "2007.png", [[0, 15], [20, 255]],
                         {15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)})  # fmt: skip
    assert read_label_image(path, VOC, "raw_ids").tolist() == [[0, 15], [20, 255]]
    assert read_label_image(path, VOC, "raw_colours").tolist() == [[0, 15], [20, 255]]


def test_exception_a_palette_of_raw_ids_with_the_colours_of_other_classes(tmp_path):
    """Index 7 is road by its raw id, and coloured as train id 7, traffic sign."""
    path = palette_image(tmp_path / "a.png", [[7, 7]], {7: (220, 220, 0)})
    with user_error("label-ids", path, "road", "traffic sign", kind=CorruptFileError):
        read_label_image(path, CITY, "raw_ids")


def test_value_points_of_semantickitti_are_the_lower_half(tmp_path):
    path = tmp_path / "000000.label"
    (np.array([252, 40, 1, 255, 71], np.uint32) | np.uint32(9 << 16)).astype("<u4").tofile(path)
    found = read_point_labels(path, 5, label_space("semantickitti-19"))
    assert (found.dtype, found.tolist()) == (np.uint8, [0, 8, 255, 7, 15])
    np.array([40, 41], "<u4").tofile(path)
    with user_error("label-ids", path, 41, kind=CorruptFileError):
        read_point_labels(path, 2, label_space("semantickitti-19"))


def test_value_points_of_nuscenes(tmp_path):
    np.array([24, 17, 0, 30], np.uint8).tofile(tmp_path / "a.bin")
    found = read_point_labels(tmp_path / "a.bin", 4, label_space("nuscenes-lidarseg-16"))
    assert found.tolist() == [10, 3, 255, 15]


def test_value_a_space_without_raw_ids_takes_train_ids(tmp_path):
    path = grey(tmp_path / "a.png", [[0, 19], [255, 5]])
    for coding in ("raw_ids", "train_ids"):
        assert read_label_image(path, label_space("mcubes-20"), coding).tolist() == [[0, 19], [255, 5]]


def test_value_255_is_unlabelled_unless_a_class_has_it():
    assert raw_table(CITY).known[255] and raw_table(CITY).to_train[255] == 255
    assert raw_table(label_space("semantickitti-19")).to_train[255] == 7


@pytest.mark.parametrize("count", [3, 150, 254])
def test_value_3_150_and_254_classes(tmp_path, count):
    space = LabelSpace("many", tuple(map(str, range(count))), tuple((k, 1, 2) for k in range(count)))
    path = grey(tmp_path / "a.png", [[0, count - 1, 255]])
    colours = coloured(tmp_path / "b.png", [[(0, 1, 2), (count - 1, 1, 2), (0, 0, 0)]])
    assert read_label_image(path, space).tolist() == [[0, count - 1, 255]]
    assert read_label_image(colours, space, "raw_colours").tolist() == [[0, count - 1, 255]]


def test_exception_255_classes_are_too_many_for_truth(tmp_path):
    space = LabelSpace("many", tuple(map(str, range(255))), tuple((k, 1, 2) for k in range(255)))
    for table in (raw_table, train_table):
        with user_error("value-range", 255):
            table(space)
