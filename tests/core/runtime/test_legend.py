"""The legend: colours where the rows are, any number of classes."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.runtime.legend import legend_document, legend_picture
from any2seg_core.vocabulary.labels import LabelSpace


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
