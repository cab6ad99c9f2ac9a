"""The legend: colours where the rows are, any number of classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from any2seg_core.data.deliver_files import write_semantic
from any2seg_core.data.deliver_labels import read_labels
from any2seg_core.data.label_images import read_label_image
from any2seg_core.runtime.legend import legend_document, legend_picture, write_labels
from any2seg_core.vocabulary.labels import DELIVER, LabelSpace


def space_of(count: int) -> LabelSpace:
    colours = tuple((k % 256, 7 + k // 256, 200) for k in range(count))
    return LabelSpace("test", tuple(f"class {k}" for k in range(count)), colours)


@pytest.mark.parametrize("count", [1, 3, 31, 32, 150, 300])
def test_value_every_colour_stands_in_its_row_in_columns_of_32(count):
    space = space_of(count)
    picture = legend_picture(space)
    columns = (count + 1 + 31) // 32  # with unlabelled
    rows = min(count + 1, 32)
    assert picture.shape[0] == 24 + 24 * rows and picture.shape[1] % columns == 0
    step = picture.shape[1] // columns
    for k, colour in enumerate(space.colours):
        x, y = 12 + k // 32 * step, 12 + k % 32 * 24
        assert (picture[y + 4 : y + 18, x + 2 : x + 34] == colour).all()


def test_value_the_document_has_ids_names_and_colours():
    assert legend_document(LabelSpace("yard", ("ground", "crate"), ((1, 2, 3), (4, 5, 6)))) == {
        "label_space": "yard",
        "unlabelled": 255,
        "class_map": [
            {"class_id": 0, "class_name": "ground", "rgb": [1, 2, 3]},
            {"class_id": 1, "class_name": "crate", "rgb": [4, 5, 6]},
        ],
    }
    assert legend_document(space_of(256))["unlabelled"] == 65535
    assert np.array(legend_picture(space_of(256))).dtype == np.uint8


@pytest.mark.parametrize("coding", ["train ids", "DELIVER"])
def test_value_label_images_name_the_ids_that_they_hold_and_are_read_as_before(tmp_path, coding):
    """Pillow reads the names, OpenCV in the readers of data sets the pixels."""
    labels = np.random.default_rng(0).integers(0, 25, (5, 9), dtype=np.uint8)
    labels[0, 0], labels[4, 8] = 255, 3
    path = tmp_path / "deep" / "l.png"
    if coding == "DELIVER":
        write_semantic(path, labels, DELIVER)
        found = read_labels(path)
    else:
        write_labels(path, labels, DELIVER)
        found = read_label_image(path, DELIVER)
    np.testing.assert_array_equal(found, labels)
    image = Image.open(path)
    document = json.loads(image.text["classes"])
    stored = np.asarray(image).reshape(5, 9, -1)[..., 0]
    names = {entry["class_id"]: entry["class_name"] for entry in document["class_map"]}
    assert len(names) == 25 and names[int(stored[4, 8])] == DELIVER.classes[3]
    assert document["unlabelled"] == stored[0, 0] and document["label_space"] == "deliver-25"


def test_value_label_images_of_more_classes_than_a_byte_holds(tmp_path):
    ids = np.array([[0, 299, 65535]], np.uint16)
    write_labels(tmp_path / "l.png", ids, space_of(300))
    image = Image.open(tmp_path / "l.png")
    np.testing.assert_array_equal(np.asarray(image), ids)
    assert json.loads(image.text["classes"])["class_map"][299]["class_name"] == "class 299"
