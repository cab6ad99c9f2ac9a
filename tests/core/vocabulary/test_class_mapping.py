from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raised import user_error

from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.vocabulary.class_mapping import Comparison, class_mapping, shipped_mappings
from any2seg_core.vocabulary.labels import LabelSpace, label_space

CITY, DELIVER = label_space("cityscapes-19"), label_space("deliver-25")
YARD = """\
name: yard
classes: [ground, crate, box, person]
"""
STREET = """\
name: street
classes: [flat, thing, tree, human]
"""
MAPPING = """\
from: yard.yaml
to: street.yaml
classes: {ground: flat, crate: thing, box: thing}
"""


def write(folder: Path, mapping: str = MAPPING) -> Path:
    (folder / "yard.yaml").write_text(YARD)
    (folder / "street.yaml").write_text(STREET)
    (folder / "map.yaml").write_text(mapping)
    return folder / "map.yaml"


def told(own: str, rival: str) -> str:
    return f"x has {own}, y has {rival}"


def test_value_a_mapping_against_a_hand_count(tmp_path):
    """Truth of street, labels of yard. Compared: flat and thing, of crate and box.

    truth   flat  flat  flat  thing thing thing tree  human 255
    labels  ground crate person crate box   ground ground box crate
    """
    mapping = class_mapping(write(tmp_path))
    yard, street = label_space(tmp_path / "yard.yaml"), label_space(tmp_path / "street.yaml")
    comparison = Comparison.between(yard, street, mapping, told)
    truth = np.array([[0, 0, 0, 1, 1, 1, 2, 3, 255]], np.uint8)
    labels = np.array([[0, 1, 3, 1, 2, 0, 0, 2, 1]], np.uint8)
    assert comparison.space.classes == ("flat", "thing")
    assert comparison.of_truth(truth).tolist() == [[0, 0, 0, 1, 1, 1, 254, 254, 255]]
    assert comparison.of_labels(labels).tolist() == [[0, 1, 255, 1, 1, 0, 0, 1, 1]]
    score = SubsetScore.of(comparison.space)
    score.add(comparison.of_labels(labels), comparison.of_truth(truth))
    # flat: 1 right, 3 true, 2 said (the ground on tree does not count). thing: 2 right, 3 true, 3 said.
    assert score.class_counts() == {"0": [1, 3, 2], "1": [2, 3, 3]}
    assert score.confusion.iou().tolist() == [1 / 4, 2 / 4]
    assert score.confusion.counts.tolist() == [[1, 1, 1], [1, 2, 0]]  # the person on flat is a miss
    document = comparison.document(2, 8)
    assert (document["compared"], document["left_out_percent"]) == (2, 25.0)
    assert document["left_out"] == {"labels": ["person"], "truth": ["tree", "human"]}


def test_value_the_same_file_serves_the_other_direction(tmp_path):
    """A model of street on truth of yard: crate and box are one class in the truth."""
    mapping = class_mapping(write(tmp_path))
    yard, street = label_space(tmp_path / "yard.yaml"), label_space(tmp_path / "street.yaml")
    comparison = Comparison.between(street, yard, mapping, told)
    assert comparison.of_truth(np.array([0, 1, 2, 3, 254, 255], np.uint8)).tolist() == [0, 1, 1, 254, 254, 255]
    assert comparison.of_labels(np.array([0, 1, 2, 3, 255], np.uint8)).tolist() == [0, 1, 255, 255, 255]


def test_value_both_of_the_target_are_compared_on_the_shared_classes_alone():
    mapping = class_mapping("cityscapes-19_to_deliver-25")
    comparison = Comparison.between(DELIVER, DELIVER, mapping, told)
    assert len(comparison.space) == 16
    lines = np.full((1, 1), DELIVER.id("RoadLine"), np.uint8)
    assert (comparison.of_truth(lines).tolist(), comparison.of_labels(lines).tolist()) == ([[254]], [[255]])


def test_value_kitti_360_is_cityscapes_to_a_mapping():
    comparison = Comparison.between(
        label_space("kitti-360"), DELIVER, class_mapping("cityscapes-19_to_deliver-25"), told
    )
    labels = np.array([CITY.id("bicycle"), CITY.id("motorcycle"), CITY.id("rider"), CITY.id("train")], np.uint8)
    two_wheeler = comparison.space.id("TwoWheeler")
    assert comparison.of_labels(labels).tolist() == [two_wheeler, two_wheeler, 255, 255]


def test_value_without_a_mapping_nothing_changes():
    ids = np.array([[3, 255]], np.uint8)
    comparison = Comparison.between(CITY, label_space("muses-19"), None, told)
    assert comparison.of_labels(ids) is ids and comparison.of_truth(ids) is ids
    assert comparison.document(0, 2) is None and comparison.space is CITY


def test_exception_other_classes_need_a_mapping_between_them():
    with user_error("label-space-mismatch", "x has cityscapes-19", "y has deliver-25", "--map"):
        Comparison.between(CITY, DELIVER, None, told)
    with user_error("label-space-mismatch", "cityscapes-19_to_camvid-11", "camvid-11", "deliver-25"):
        Comparison.between(CITY, DELIVER, class_mapping("cityscapes-19_to_camvid-11"), told)


def test_value_labels_of_many_classes_are_wide(tmp_path):
    many = LabelSpace("many", tuple(map(str, range(300))), tuple((k % 256, k // 256, 7) for k in range(300)))
    path = write(tmp_path, "from: many.yaml\nto: street.yaml\nclasses: {'299': thing, '0': flat}\n")
    classes = ", ".join(f"'{name}'" for name in many.classes)
    (tmp_path / "many.yaml").write_text(f"name: many\nclasses: [{classes}]\n")
    comparison = Comparison.between(
        label_space(tmp_path / "many.yaml"), label_space(tmp_path / "street.yaml"), class_mapping(path), told
    )
    assert comparison.of_labels(np.array([0, 299, 7, 65535], np.uint16)).tolist() == [0, 1, 255, 255]


def test_exception_more_compared_classes_than_a_truth_can_hold(tmp_path):
    names = [f"c{number}" for number in range(255)]
    (tmp_path / "many.yaml").write_text(f"name: many\nclasses: [{', '.join(names)}]\n")
    pairs = ", ".join(f"{name}: {name}" for name in names)
    path = write(tmp_path, f"from: many.yaml\nto: many.yaml\nclasses: {{{pairs}}}\n")
    with user_error("value-range", path, "classes", 255):
        class_mapping(path)


@pytest.mark.parametrize("name", shipped_mappings())
def test_value_shipped_mappings_say_their_spaces_in_their_names(name):
    mapping = class_mapping(name)
    assert name == f"{mapping.source.name}_to_{mapping.target.name}"
    assert len(mapping.compared) == len({theirs for _, theirs in mapping.classes})


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("", "file-content", ("from",)),
        ("from: yard.yaml\nto: street.yaml", "key-missing", ("classes",)),
        ("from: yard.yaml\nto: street.yaml\nclasses: {}", "value-range", ("classes",)),
        ("from: yard.yaml\nto: street.yaml\nclasses: {ground: flat}\nclases: 1", "key-unknown", ("clases",)),
        ("from: yard.yaml\nto: street.yaml\nclasses: {ground: flat, ground: thing}", "key-twice", ("ground",)),
        ("from: yard.yaml\nto: street.yaml\nclasses: {soil: flat}", "value-unknown", ("'soil'", "from", "ground")),
        ("from: yard.yaml\nto: street.yaml\nclasses: {ground: floor}", "value-unknown", ("'floor'", "to", "flat")),
        ("from: nowhere.yaml\nto: street.yaml\nclasses: {a: b}", "file-missing", ("from", "nowhere.yaml")),
        ("from: yard.yaml\nto: nothing\nclasses: {a: b}", "label-space-unknown", ("to", "nothing")),
        ("from: yard.yaml\nto: street.yaml\nclasses: {ground: flat, 'ground': thing}", "key-twice", ("ground",)),
        ("from: yard.yaml\nto: street.yaml\nclasses: {flat: ground}", "value-unknown", ("'flat'", "from", "yard")),
        ("from: yard.yaml\nto: street.yaml\nclasses: {yes: flat}", "value-type", ("classes", "quotation marks")),
    ],
)
def test_exception_what_is_wrong_in_a_mapping_is_named(tmp_path, text, code, named):
    path = write(tmp_path, text)
    with user_error(code, path, *named):
        class_mapping(path)


def test_exception_an_unknown_mapping_lists_the_known_ones():
    with user_error("value-unknown", "'city'", "cityscapes-19_to_deliver-25", "YAML"):
        class_mapping("city")
