"""Strokes and instance colours become train ids: by hand count."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_trees import SCRIBBLES, scribble_xml
from raised import user_error

from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.label_formats import read_instance_colours, read_scribbles
from any2seg_core.vocabulary.labels import LabelSpace

SPACE = LabelSpace("small", ("background", "person", "dining table"), ((0, 0, 0), (192, 128, 128), (192, 128, 0)))
SIZE = (37, 123)


@pytest.fixture
def xml(tmp_path: Path) -> Path:
    path = tmp_path / "2007_000033.xml"
    path.write_text(scribble_xml("2007_000033"))
    return path


def test_value_a_stroke_is_three_pixels_wide_and_begins_at_its_first_place(xml: Path):
    labels = read_scribbles(xml, SPACE, SIZE)
    assert SCRIBBLES["person"][:2] == [(70, 20), (90, 20)]  # from 1: row 19, columns 69 to 89
    assert labels.shape == SIZE
    assert labels.dtype == np.uint8
    assert (labels[18:21, 70:89] == 1).all()
    assert (labels[[16, 22], 70:86] == 255).all()
    assert (labels[20:29, 88:91] == 1).all()  # and down
    assert (labels[4:28, 0:3] == 0).all()
    assert set(np.unique(labels)) == {0, 1, 255}


def test_value_a_later_stroke_covers_an_earlier_one_and_names_may_lack_a_space(xml: Path):
    crossing = {"person": [(10, 10), (50, 10)], "DiningTable": [(30, 5), (30, 15)]}
    xml.write_text(scribble_xml("a", crossing))
    labels = read_scribbles(xml, SPACE, SIZE)
    assert labels[9, 20] == 1
    assert labels[9, 29] == 2
    single = {"person": [(40, 20)]}
    xml.write_text(scribble_xml("a", single))
    assert read_scribbles(xml, SPACE, SIZE)[19, 39] == 1


def test_value_places_beyond_the_picture_are_cut_off(xml: Path):
    xml.write_text(scribble_xml("a", {"person": [(100, 10), (400, 10)]}))
    labels = read_scribbles(xml, SPACE, SIZE)
    assert (labels[9, 99:] == 1).all()


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        (scribble_xml("a", {"zebra": [(1, 1)]}), "label-ids", "'zebra'"),
        (scribble_xml("a", {"person": []}), "file-content", "person"),
        (scribble_xml("a").replace("<X>70</X>", "<X>some</X>"), "file-content", "X and Y"),
        (scribble_xml("a").replace("<X>70</X>", "<X>99999999999</X>"), "file-content", "99999999999"),
        (scribble_xml("a").replace("<X>70</X>", ""), "file-content", "X and Y"),
        (scribble_xml("a").replace("<width>123", "<width>500"), "size-mismatch", "500x37"),
        (scribble_xml("a")[:-20], "text-syntax", "XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + scribble_xml("a"), "file-format", "document type"),
    ],
)
def test_exception_a_broken_scribble_file_is_named(xml: Path, text: str, code: str, named: str):
    xml.write_text(text)
    with user_error(code, xml, named, kind=CorruptFileError):
        read_scribbles(xml, SPACE, SIZE)


def test_value_colours_are_places_in_the_list_of_instances(tmp_path: Path):
    names, path = tmp_path / "semantic_labels.json", tmp_path / "semantic.png"
    instances = ["<UNK>_0_<UNK>_0_0"] + [f"person_{k}_office_3_5" for k in range(300)] + ["dining table_1_office_3_5"]
    names.write_text(json.dumps(instances))
    image = np.zeros((3, 5, 3), np.uint8)  # RGB
    image[0, 0] = (0, 0, 1)  # the first person
    image[0, 1] = (0, 1, 44)  # 256 + 44: the last person
    image[0, 2] = (0, 1, 45)  # 301: the table
    image[0, 3] = (13, 13, 13)  # a hole of the mesh
    image[0, 4] = (0, 1, 46)  # one beyond the list
    cv2.imwrite(str(path), image[..., ::-1])
    labels = read_instance_colours(path, names, SPACE)
    assert labels[0].tolist() == [1, 1, 2, 255, 255]
    assert (labels[1:] == 255).all()  # <UNK>


def test_exception_instances_need_their_list_and_colours(tmp_path: Path):
    names, path = tmp_path / "names.json", tmp_path / "semantic.png"
    cv2.imwrite(str(path), np.zeros((3, 5), np.uint8))
    with user_error("file-content", path, kind=CorruptFileError):
        read_instance_colours(path, names, SPACE)
    cv2.imwrite(str(path), np.zeros((3, 5, 3), np.uint8))
    with user_error("file-missing", names):
        read_instance_colours(path, names, SPACE)
    names.write_text('{"a": 1}')
    with user_error("file-content", names):
        read_instance_colours(path, names, SPACE)
    names.write_text('["zebra_1_office_3_5"]')
    with user_error("label-ids", names, "small"):
        read_instance_colours(path, names, SPACE)
