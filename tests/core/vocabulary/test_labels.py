from __future__ import annotations

import numpy as np
import torch
from raised import user_error

from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.subsets import PriorStatistics
from any2seg_core.vocabulary.label_tables import raw_table
from any2seg_core.vocabulary.labels import (
    DELIVER,
    IGNORE,
    MCUBES,
    MUSES,
    NOT_ANNOTATED,
    LabelSpace,
    is_labelled,
    label_space,
    lookup_table,
    require_train_ids,
)


def test_value_deliver_has_25_classes_in_the_published_order():
    assert len(DELIVER) == 25
    assert DELIVER.id("Building") == 0
    assert DELIVER.id("Sky") == 12
    assert DELIVER.id("Truck") == 24
    assert len(set(DELIVER.classes)) == len(set(DELIVER.colours)) == 25


def test_value_png_ids_0_and_255_are_unlabelled():
    raw = np.array([[0, 1, 13], [25, 26, 255]], np.uint8)
    assert raw_table(DELIVER).to_train[raw].tolist() == [[255, 0, 12], [24, 255, 255]]


def test_value_colourise_paints_unlabelled_black():
    painted = DELIVER.colourise(np.array([[12, 255]], np.uint8))
    assert painted.tolist() == [[[70, 130, 180], [0, 0, 0]]]


def test_value_lookup_table_ignores_what_is_not_named():
    table = lookup_table({7: 6})
    assert table[7] == 6
    assert (np.delete(table, 7) == 255).all()


def test_value_muses_are_the_cityscapes_classes_and_mcubes_20_materials():
    assert len(MUSES) == len(set(MUSES.classes)) == len(set(MUSES.colours)) == 19
    assert [MUSES.id(name) for name in ("road", "sky", "person", "car", "bicycle")] == [0, 10, 11, 13, 18]
    assert len(MCUBES) == len(set(MCUBES.classes)) == len(set(MCUBES.colours)) == 20
    assert [MCUBES.id(name) for name in ("asphalt", "wood", "sky")] == [0, 15, 19]
    assert label_space("muses-19") is MUSES
    assert (MUSES.name, MUSES.classes) == ("muses-19", label_space("cityscapes-19").classes)
    assert label_space("mcubes-20") is MCUBES


def test_exception_names():
    with user_error(
        "value-unknown",
        "'Tree'",
        "deliver-25",
        "Building, Fence, Other, Pedestrian, Pole, RoadLine, Road, SideWalk, Vegetation",
    ):
        DELIVER.id("Tree")
    with user_error("label-space-unknown", "'cityscapes'", "deliver-25"):
        label_space("cityscapes")


def test_value_two_ids_without_a_class():
    ids = np.array([[0, 25, 253, NOT_ANNOTATED, IGNORE]], np.uint8)
    assert is_labelled(ids).tolist() == [[True, True, True, False, False]]
    assert is_labelled(torch.from_numpy(ids)).tolist() == [[True, True, True, False, False]]


def test_exception_no_room_for_the_unlabelled_id():
    require_train_ids(254)
    with user_error("value-range", "255", "254"):
        require_train_ids(255)
    space = LabelSpace("many", tuple(map(str, range(255))), tuple((k, 2, 3) for k in range(255)))
    assert space.void_id == 255  # its label images still have a free id
    for door in (lambda: ConfusionMatrix.of(space), lambda: PriorStatistics(len(space))):
        with user_error("value-range", "255"):
            door()


def test_value_many_classes_need_wide_labels():
    space = LabelSpace("many", tuple(map(str, range(300))), tuple((k % 256, k // 256, 7) for k in range(300)))
    assert (space.void_id, DELIVER.void_id) == (65535, 255)
    labels = np.array([[0, 299, 65535]], np.uint16)
    assert space.colourise(labels).tolist() == [[[0, 0, 7], [43, 1, 7], [0, 0, 0]]]
