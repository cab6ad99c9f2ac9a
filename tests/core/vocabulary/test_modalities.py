"""Suites: what a YAML file may say, and one line of error for everything else."""

from __future__ import annotations

import json
from itertools import chain, combinations
from pathlib import Path

import pytest
import yaml
from raised import user_error

from any2seg_core.vocabulary.modalities import MCUBES, MUSES, SHIPPED, VEHICLE, SensorSuite, sensor_suite
from any2seg_core.vocabulary.sensor import KINDS, Sensor

FIVE = """
name: my-van
camera: front
sensors:
  left:    {kind: image, letter: S, format: grey}
  front:   {kind: image, letter: F, title: front camera, topic: /front/image_raw, folder: frontal}
  thermal: {kind: image, letter: T, format: thermal16, range: [28000, 32000]}
  lidar:   {kind: points, letter: L}
  radar:   {kind: points, letter: R, range: [-20, 40]}
"""


def read(text: str, folder: Path) -> SensorSuite:
    path = folder / "suite.yaml"
    path.write_text(text)
    return sensor_suite(path)


def test_value_the_vehicle_is_as_ever():
    assert VEHICLE.members == ("rgb", "depth", "event", "lidar")
    assert VEHICLE.letters == "RDEL"
    assert VEHICLE.camera == "rgb"
    assert [sensor.title for sensor in VEHICLE.sensors] == ["camera", "depth", "event", "LiDAR"]
    assert [(sensor.folder, sensor.suffix) for sensor in VEHICLE.sensors] == [
        ("img", "rgb"), ("hha", "depth"), ("event", "event"), ("lidar", "lidar"),
    ]  # fmt: skip
    assert [sensor.encodings[0] for sensor in VEHICLE.sensors] == [
        "rgb8", "hha-1", "counts-recency-1", "range-intensity-height-1",
    ]  # fmt: skip
    assert [sensor.is_sparse for sensor in VEHICLE.sensors] == [False, False, True, True]
    assert (MUSES.letters, MCUBES.letters) == ("FEL", "IADN")
    assert [sensor.encodings for sensor in MCUBES.sensors[1:]] == [("sin-cos-sin-1",), ("degree-1",), ("nir-1",)]
    assert MCUBES.sensor("aolp").channels == ("sine", "cosine", "sine")


def test_value_a_suite_of_five(tmp_path):
    suite = read(FIVE, tmp_path)
    assert suite.members == ("left", "front", "thermal", "lidar", "radar")
    assert suite.letters == "SFTLR"
    assert suite.camera == "front"
    assert suite.of_kind("image") == ("left", "front", "thermal")
    assert suite.of_kind("points") == ("lidar", "radar")
    assert suite.sensor("thermal").value_range == (28000.0, 32000.0)
    assert suite.sensor("radar").value_range == (-20.0, 40.0)
    assert suite.sensor("lidar").value_range is None
    assert suite.sensor("front").format == "colour"
    assert suite.sensor("front").topic == "/front/image_raw"
    assert suite.sensor("front").title == "front camera"
    assert suite.canonical(["radar", "left", "radar"]) == ("left", "radar")
    assert suite.subset_letters(("radar", "front")) == "FR"
    every = [set(each) for each in chain(*(combinations(suite.members, size) for size in range(1, 6)))]
    assert [set(subset) for subset in suite.all_subsets()] == every
    assert len(every) == 31


def test_value_a_suite_of_one(tmp_path):
    suite = read("name: eye\nsensors:\n  front: {kind: image, letter: F}", tmp_path)
    assert suite.all_subsets() == [("front",)]
    assert suite.camera == "front"


@pytest.mark.parametrize("suite", SHIPPED, ids=lambda suite: suite.name)
def test_property_a_suite_comes_back_from_its_document(suite, tmp_path):
    assert SensorSuite.of_document(json.loads(json.dumps(suite.to_document()))) == suite
    assert read(yaml.safe_dump(suite.to_document(), sort_keys=False), tmp_path) == suite
    assert sensor_suite(suite.name) is suite


def test_property_a_suite_of_five_comes_back_from_its_document(tmp_path):
    suite = read(FIVE, tmp_path)
    assert SensorSuite.of_document(json.loads(json.dumps(suite.to_document()))) == suite


def test_value_every_kind_has_three_channels_and_an_encoding():
    for kind in KINDS:
        sensor = Sensor("one", "O", kind)
        assert len(sensor.channels) == 3 and all(sensor.channels)
        assert sensor.encodings


WITH_NAME = "{name: van, sensors: {front: {kind: image, letter: A}, %s: {kind: depth, letter: B}}}"

BAD = {
    "name: van": ("key-missing", "sensors"),
    "sensors: {a: {kind: image, letter: A}}": ("key-missing", "name"),
    "[]": ("value-type", "sensors"),
    "{name: van, sensors: []}": ("value-type", "sensors"),
    "{name: van, sensors: {}}": ("value-type", "sensors"),
    "{name: van, sensors: {a: image}}": ("value-type", "sensors.a", "kind"),
    "{name: 3, sensors: {a: {kind: image, letter: A}}}": ("value-type", "name", "3"),
    "{name: a/b, sensors: {a: {kind: image, letter: A}}}": ("value-format", "name", "a/b"),
    "{name: van, wheels: 4, sensors: {a: {kind: image, letter: A}}}": ("key-unknown", "wheels", "camera"),
    "{name: van, camera: b, sensors: {a: {kind: image, letter: A}}}": ("value-unknown", "camera", "'b'"),
    "{name: van, camera: l, sensors: {a: {kind: image, letter: A}, l: {kind: points, letter: L}}}": (
        "value-unknown", "camera", "'l'",
    ),
    "{name: van, sensors: {l: {kind: points, letter: L}}}": ("sensor-none", "image"),
    "{name: van, sensors: {a: {kind: image, letter: A}, a: {kind: depth, letter: B}}}": ("key-twice", "'a'"),
    "{name: van, sensors: {a: {kind: image, letter: A}, 'a': {kind: depth, letter: B}}}": ("key-twice", "'a'"),
    '{name: van, sensors: {"a\\nb": {kind: image, letter: A}}}': ("value-format", r"a\nb"),
    f"{{name: van, camera: {'c' * 999}, sensors: {{a: {{kind: image, letter: A}}}}}}": ("value-unknown", "camera"),
    f"{{name: van, sensors: {{a: {{kind: [{'k, ' * 999}], letter: A}}}}}}": ("value-type", "kind"),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_exception_suite_file(text, tmp_path):
    code, *named = BAD[text]
    with user_error(code, "suite.yaml", *named) as caught:
        read(text, tmp_path)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


BAD_SENSORS = {
    "{letter: B}": ("key-missing", "kind"),
    "{kind: points}": ("key-missing", "letter"),
    "{kind: points, letter: A}": ("value-twice", "letter A", "front"),
    "{kind: points, letter: b}": ("value-format", "letter", "'b'"),
    "{kind: points, letter: BC}": ("value-format", "letter", "'BC'"),
    "{kind: points, letter: Ä}": ("value-format", "letter"),
    "{kind: points, letter: 1}": ("value-type", "letter"),
    "{kind: radar, letter: B}": ("value-unknown", "kind", "'radar'", "points"),
    "{kind: image, letter: B, format: bayer}": ("value-unknown", "format", "thermal16"),
    "{kind: points, letter: B, format: grey}": ("option-unsupported", "format"),
    "{kind: points, letter: B, hz: 10}": ("key-unknown", "'hz'", "folder"),
    "{kind: depth, letter: B, range: [0, 1]}": ("option-unsupported", "range"),
    "{kind: events, letter: B, range: [0, 1]}": ("option-unsupported", "range"),
    "{kind: image, letter: B, range: [0, 1]}": ("option-unsupported", "range"),
    "{kind: image, letter: B, format: grey, range: [0, 1]}": ("option-unsupported", "range"),
    "{kind: image, letter: B, format: thermal16}": ("key-missing", "range", "[28000, 32000]"),
    "{kind: image, letter: B, format: thermal16, range: [5, 5]}": ("value-range", "[5, 5]"),
    "{kind: image, letter: B, format: thermal16, range: [0, 65536]}": ("value-range", "65535"),
    "{kind: image, letter: B, format: thermal8, range: [0, 256]}": ("value-range", "255"),
    "{kind: points, letter: B, range: [40, -20]}": ("value-range", "[40, -20]"),
    "{kind: points, letter: B, range: [0, .inf]}": ("value-range", "range"),
    "{kind: points, letter: B, range: [.nan, 1]}": ("value-range", "range"),
    f"{{kind: points, letter: B, range: [0, 1{'0' * 350}]}}": ("value-range", "range"),
    "{kind: points, letter: B, range: [1.0, 1.0000000001]}": ("value-range", "range"),
    "{kind: points, letter: B, range: [0, 1.0e-320]}": ("value-range", "range"),
    "{kind: points, letter: B, range: 40}": ("value-type", "range"),
    "{kind: points, letter: B, range: [0, 1, 2]}": ("value-type", "range"),
    "{kind: points, letter: B, range: [a, b]}": ("value-type", "range"),
    "{kind: points, letter: B, range: [false, true]}": ("value-type", "range"),
    "{kind: points, letter: B, channels: [a, b, c]}": ("option-unsupported", "channels"),
    "{kind: image, letter: B, encoding: mine-1}": ("option-unsupported", "encoding"),
    "{kind: image, letter: B, format: plane, channels: [a, b]}": ("value-type", "channels"),
    "{kind: points, letter: B, title: front camera}": ("value-twice", "'front camera'"),
    "{kind: points, letter: B, title: FRONT}": ("value-twice", "'FRONT'"),
    "{kind: points, letter: B, title: AB}": ("value-twice", "'AB'"),
    "{kind: points, letter: B, title: A}": ("value-twice", "'A'"),
    "{kind: points, letter: B, title: Every}": ("value-unknown", "'Every'"),
    "{kind: points, letter: B, title: all}": ("value-unknown", "'all'"),
    '{kind: image, letter: B, format: plane, channels: [a, "", c]}': ("value-format", "channels"),
    '{kind: image, letter: B, format: plane, channels: [a, "b\\nc", d]}': ("value-format", "channels"),
    '{kind: image, letter: B, format: plane, encoding: "a\\e[1m"}': ("value-format", "encoding"),
    "{kind: points, letter: B, title: a+b}": ("value-format", "title"),
    '{kind: points, letter: B, title: ""}': None,
    "{kind: points, letter: B, folder: ../up}": ("value-format", "folder"),
    "{kind: points, letter: B, folder: img}": ("value-twice", "folder", "front"),
    "{kind: points, letter: B, folder: semantic}": ("value-unknown", "folder"),
    "{kind: points, letter: B, topic: 'a b'}": ("value-format", "topic", "ROS"),
    "{kind: points, letter: B, topic: /front/image}": ("value-twice", "topic", "front"),
    "{kind: points, letter: B, topic: /x/}": ("value-format", "topic"),
    "{kind: points, letter: B, topic: /x__y}": ("value-format", "topic"),
    "{kind: points, letter: B, topic: ~x}": ("value-format", "topic"),
    f"{{kind: points, letter: B, topic: /{'x' * 300}}}": ("value-format", "topic"),
}  # fmt: skip


@pytest.mark.parametrize("entry", BAD_SENSORS)
def test_exception_sensor_of_a_suite_file(entry, tmp_path):
    front = "{kind: image, letter: A, title: front camera, folder: img, topic: /front/image}"
    text = f"{{name: van, sensors: {{front: {front}, back: {entry}}}}}"
    if BAD_SENSORS[entry] is None:
        assert read(text, tmp_path).sensor("back").title == "back"
        return
    code, *named = BAD_SENSORS[entry]
    with user_error(code, "suite.yaml", "sensors.back", *named):
        read(text, tmp_path)


@pytest.mark.parametrize(
    "name", ["Front", "front-left", "1st", "_x", "x_", "a__b", "front.left", "a b", '""', "x" * 41, "ü", "3", "on"]
)
def test_exception_names_that_no_topic_or_parameter_can_have(name, tmp_path):
    with user_error("value-format", "suite.yaml", "ROS"):
        read(WITH_NAME % name, tmp_path)


@pytest.mark.parametrize(
    "name", ["all", "full", "every", "auto", "none", "truth", "odometry", "health", "front_camera_info"]
)
def test_exception_names_that_mean_something_else(name, tmp_path):
    with user_error("value-unknown", "suite.yaml", repr(name)):
        read(WITH_NAME % name, tmp_path)


def test_exception_suites_that_are_not_there(tmp_path):
    with user_error("value-unknown", "'van'", "vehicle, muses, mcubes"):
        sensor_suite("van")
    with user_error("file-missing", "van.yaml"):
        sensor_suite(tmp_path / "van.yaml")


def test_exception_sensors_of_other_suites():
    with user_error("sensor-unknown", "'depth'", "mcubes", "rgb, aolp, dolp, nir"):
        MCUBES.subset_letters(("depth",))
    for ask in (VEHICLE.letter, VEHICLE.sensor, lambda name: VEHICLE.canonical([name])):
        with user_error("sensor-unknown", "'radar'", "rgb, depth, event, lidar"):
            ask("radar")


def test_exception_subsets_of_many_sensors_are_not_listed():
    many = SensorSuite("many", tuple(Sensor(f"cam{number}", chr(65 + number), "image") for number in range(13)))
    with user_error("value-range", "8191"):
        many.all_subsets()
    assert len(many.all_subsets(many.members[:12])) == 4095
