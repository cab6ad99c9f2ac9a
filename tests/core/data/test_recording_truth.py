"""One reader of truth: mono8 train ids and CARLA's semantic camera, for recordings and live topics."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from raised import user_error

from any2seg_core.data.recording_truth import TruthCoding, on_grid
from any2seg_core.messages import array_to_image_fields
from any2seg_core.messages.carla_tags import CARLA_0_9_10, CARLA_0_9_14
from any2seg_core.vocabulary.labels import DELIVER, MUSES


def image(pixels: np.ndarray, encoding: str) -> SimpleNamespace:
    return SimpleNamespace(**array_to_image_fields(pixels, encoding))


def carla_picture(kind: str, version: str) -> np.ndarray:
    """(3, 5, 4) BGRA: two rows of road, one of cars, as both profiles send them; ids by name."""
    tags = {"0.9.13": CARLA_0_9_10, "0.9.16": CARLA_0_9_14}[version].tags
    by_class = {deliver: (tag, colour) for tag, (_, colour, deliver) in tags.items()}
    pixels = np.zeros((3, 5, 4), np.uint8)
    for rows, name in ((slice(0, 2), "Road"), (slice(2, 3), "Cars")):
        tag, (red, green, blue) = by_class[name]
        pixels[rows, :, :3] = (blue, green, red) if kind == "palette" else (0, 0, tag)
    return pixels


@pytest.mark.parametrize(("kind", "version"), [("palette", "0.9.13"), ("palette", "0.9.16"), ("tag", "0.9.16")])
def test_value_truth_of_carla_becomes_train_ids(kind, version):
    expected = np.full((3, 5), DELIVER.id("Road"))
    expected[2] = DELIVER.id("Cars")
    found = TruthCoding(kind, version).read(image(carla_picture(kind, version), "bgra8"), "/truth")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


def test_value_train_ids_are_taken_as_they_are():
    ids = np.arange(15, dtype=np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(TruthCoding().read(image(ids, "mono8"), "/truth"), ids)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("colours",), ("value-unknown", "truth_coding", "'colours'")),
        (("tag", "0.8.4"), ("value-unknown", "0.8.4")),
        (("palette", "0.9.13", "Cyclist"), ("value-unknown", "Cyclist")),
    ],
)
def test_exception_a_coding_that_does_not_exist(arguments, told):
    with user_error(*told):
        TruthCoding(*arguments)


def test_exception_tags_for_classes_that_are_not_delivers():
    TruthCoding().require_space(MUSES)
    TruthCoding("tag").require_space(DELIVER)
    with user_error("label-space-mismatch", "deliver-25"):
        TruthCoding("tag").require_space(MUSES)


def test_exception_another_coding_than_the_topic_has():
    with user_error("truth-encoding", "/truth", "bgra8", "--truth-coding"):
        TruthCoding().read(image(carla_picture("palette", "0.9.13"), "bgra8"), "/truth")
    with user_error("message-value"):
        TruthCoding("palette").read(image(np.full((3, 5, 4), 77, np.uint8), "bgra8"), "/truth")
    with user_error("message-value"):  # no tag 7, whose low byte it has
        TruthCoding("tag").read(image(np.full((3, 5), 256 + 7, np.uint16), "mono16"), "/truth")


@pytest.mark.parametrize("size", [(6, 10), (3, 5), (1, 2)])
def test_value_truth_is_brought_to_the_grid_of_the_labels_by_the_nearest_pixel(size):
    labels = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 255]], np.uint8)
    found = on_grid(labels, size)
    rows = [int((row + 0.5) * 3 / size[0]) for row in range(size[0])]
    columns = [int((column + 0.5) * 5 / size[1]) for column in range(size[1])]
    np.testing.assert_array_equal(found, labels[np.ix_(rows, columns)])


def test_exception_truth_of_another_view():
    with user_error("truth-size", "5x3"):
        on_grid(np.zeros((3, 5), np.uint8), (5, 3))
