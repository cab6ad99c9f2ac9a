"""Scene descriptions: made from labels by hand-counted shares, or read from a user's file."""

from __future__ import annotations

import numpy as np
import pytest
from raised import user_error

from any2seg_core.teachers.captions import Caption, describe, read_captions, spoken
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE


def test_value_class_names_are_spoken():
    assert [spoken(name) for name in ("TrafficSign", "Cars", "RoadLine", "SideWalk")] == [
        "traffic sign",
        "cars",
        "road line",
        "side walk",
    ]


def test_value_description_from_shares_and_condition():
    """1000 labelled pixels: road 700, building 295, cars 4 (0.4 %), pole 1; 'other' and unlabelled are not named."""
    labels = np.full((10, 110), 255, np.uint8)
    flat = labels.ravel()
    flat[:700] = DELIVER.id("Road")
    flat[700:995] = DELIVER.id("Building")
    flat[995:999] = DELIVER.id("Cars")
    flat[999] = DELIVER.id("Pole")
    caption = describe(labels, DELIVER, "night, motionblur")
    assert caption.setting == "at night"
    assert caption.scene == (
        "a street at night, mostly road, building, and a little cars, pole; the camera image is blurred by motion"
    )
    sentence = caption.of_sensor(VEHICLE.sensor("lidar"))
    assert sentence.startswith("LiDAR image of a street at night, the camera image is blurred")


@pytest.mark.parametrize(
    ("condition", "scene"),
    [("fog/night", "a street in fog at night"), ("all", "a street"), ("sun", "a street in sunshine")],
)
def test_value_an_unlabelled_frame_still_has_its_setting(condition, scene):
    assert describe(np.full((3, 5), 255, np.uint8), DELIVER, condition).scene == scene


def test_value_files_of_captions(tmp_path):
    wanted = {"night/a/1": 'a "wet" road, with cars', "sun/b/2": "trees"}
    (tmp_path / "c.json").write_text('{"night/a/1": "a \\"wet\\" road, with cars", "sun/b/2": "trees"}')
    (tmp_path / "c.csv").write_text('frame,caption\nnight/a/1,"a ""wet"" road, with cars"\nsun/b/2,trees\n')
    assert read_captions(tmp_path / "c.json") == wanted
    assert read_captions(tmp_path / "c.csv") == wanted


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.json", "[1, 2]", "file-content"),
        ("a.json", "{", "text-syntax"),
        ("a.json", '{"a": 3}', "file-content"),
        ("a.csv", "frame,text\na,b\n", "file-content"),
        ("a.csv", "", "file-content"),
        ("a.csv", "frame,caption\na\n", "file-content"),
        ("a.json", b"\xff\xfe", "text-syntax"),
    ],
)
def test_exception_files_that_are_no_captions(tmp_path, name, content, code):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with user_error(code, "captions=", name) as caught:
        read_captions(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_value_a_caption_without_setting():
    assert Caption("x").of_sensor(VEHICLE.sensor("rgb")) == "camera image of a street"
