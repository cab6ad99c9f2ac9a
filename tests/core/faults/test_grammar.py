from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.faults.grammar import parse_drop, parse_fault, read_plan
from any2seg_core.faults.kinds import KINDS, Blur, Delay, Drop, Noise, Skew, load_faults, save_faults
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

MODALITIES = VEHICLE.members
YARD = SensorSuite(
    "yard",
    (
        Sensor("front", "C", "image", title="front camera"),
        Sensor("thermal", "T", "image", "thermal16", value_range=(28000.0, 32000.0)),
        Sensor("lidar", "L", "points", title="LiDAR"),
        Sensor("radar", "R", "points"),
    ),
)


def test_value_drops_of_the_command_line():
    assert parse_drop("camera@4:8,lidar@10:") == (
        Drop(sensors=("rgb",), start_s=4.0, end_s=8.0),
        Drop(sensors=("lidar",), start_s=10.0, end_s=None),
    )
    assert parse_drop("event") == (Drop(sensors=("event",)),)
    assert parse_drop("rgb+LiDAR@:2.5") == (Drop(sensors=("rgb", "lidar"), end_s=2.5),)
    assert parse_drop("D@1:2")[0].sensors == ("depth",)


def test_value_faults_of_the_command_line():
    assert parse_fault("blur:rgb@2:5,length=0.08") == Blur(start_s=2.0, end_s=5.0, length=0.08)
    assert parse_fault("delay:lidar+camera,delay_s=0.2,probability=0.5") == Delay(
        sensors=("rgb", "lidar"), delay_s=0.2, probability=0.5
    )
    assert parse_fault("noise") == parse_fault("noise:all") == Noise()
    assert parse_fault("skew:RL").sensors == ("rgb", "lidar")
    assert parse_fault("skew@3:") == Skew(sensors=MODALITIES, start_s=3.0)


@pytest.mark.parametrize("kind", KINDS)
def test_value_text_of_a_fault_reads_back_as_the_same_fault(kind):
    for fault in (KINDS[kind](), KINDS[kind](start_s=0.123456789, end_s=7.5, probability=0.25)):
        assert parse_fault(str(fault)) == fault


def test_value_faults_of_another_suite_follow_the_kinds_of_its_sensors():
    """A fault without sensors is done to all that it can be done to; letters and titles are those of the suite."""
    assert parse_fault("beams", YARD).sensors == ("lidar", "radar")
    assert parse_fault("blur", YARD).sensors == ("front", "thermal")
    assert parse_fault("exposure:thermal,stops=-20", YARD).sensors == ("thermal",)
    assert str(parse_fault("shake:R,scale=2", YARD)) == "shake:radar,scale=2"
    assert parse_drop("front camera@1:2,TR@3:", YARD)[1].sensors == ("thermal", "radar")
    assert read_plan(["all"], ["delay"], (), YARD)[1].sensors == YARD.members
    with user_error("sensor-absent", "front"):
        parse_fault("beams:front", YARD)
    with user_error("sensor-unknown", "'rgb'"):
        parse_drop("rgb", YARD)
    with user_error("value-invalid", "events", "yard"):
        parse_fault("noise", YARD)


def test_value_a_schedule_is_of_a_suite(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("- {kind: drop, sensors: [T, radar], start_s: 2}\n- kind: beams\n")
    drop, beams = load_faults(path, YARD)
    assert drop.sensors == ("thermal", "radar")
    assert beams.sensors == ("lidar", "radar")
    with user_error("sensor-unknown", "plan.yaml", "'T'"):
        load_faults(path)


def test_value_windows_are_half_open():
    fault = Drop(start_s=2.0, end_s=4.0)
    assert [fault.is_active(time_s) for time_s in (1.999, 2.0, 3.999, 4.0)] == [False, True, True, False]
    assert Drop(start_s=2.0).is_active(1e6)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_value_schedule_file_round_trip(tmp_path, suffix):
    plan = (Drop(sensors=("rgb",), start_s=1.0), Blur(end_s=2.0, length=0.1))
    path = tmp_path / f"plan{suffix}"
    save_faults(path, plan)
    assert load_faults(path) == plan
    assert json.loads(path.read_text())[0]["kind"] == "drop"


def test_value_yaml_written_by_hand(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("- {kind: drop, sensors: [camera, L], start_s: 2}\n- kind: noise\n  rate_hz: 3\n")
    expected = (Drop(sensors=("rgb", "lidar"), start_s=2.0), Noise(rate_hz=3.0))
    assert load_faults(path) == expected
    assert read_plan(["depth"], ["blur"], [path]) == (Drop(sensors=("depth",)), Blur(), *expected)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("camera@4-8", ("value-format", "'4-8'")),
        ("camera@8:4", ("value-invalid", "end_s 4", "start_s 8")),
        ("camera@-1:4", ("value-range", "start_s")),
        ("camera@nan:4", ("value-range", "start_s")),
        ("radar@1:2", ("sensor-unknown", "'radar'")),
        ("", ("sensor-unknown", "''")),
        ("camera,,lidar", ("sensor-unknown", "''")),
    ],
)
def test_exception_drop_names_the_part_and_shows_an_example(text, told):
    with user_error(*told, "camera@4:8,lidar@10:") as caught:
        parse_drop(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("blurr:rgb", ("value-unknown", "'blurr'")),
        ("blur:lidar", ("sensor-absent", "lidar", "rgb")),
        ("blur:rgb,strength=1", ("value-format", "'strength=1'", "probability, length")),
        ("blur:rgb,length", ("value-format", "'length'")),
        ("blur:rgb,length=x", ("value-type", "length:")),
        ("blur:rgb,length=2", ("value-range", "length:", "0.5")),
        ("blur:rgb,kind=drop", ("value-format", "'kind=drop'")),
        ("delay:rgb,lidar,delay_s=0.2", ("value-format", "'rgb,lidar'", "rgb+lidar")),
        ("delay:rgb,lidar@2:5", ("value-format", "'rgb,lidar'")),
        ("delay:rgb@2:5,lidar", ("value-format", "'rgb,lidar'")),
        ("duplicate:rgb,copies=0", ("value-range", "copies")),
        ("delay:rgb,delay_s=inf", ("value-range", "delay_s")),
        ("drop:rgb,probability=1.1", ("value-range", "probability")),
    ],
)
def test_exception_fault_names_what_is_wrong(text, told):
    with user_error(*told, "blur:rgb@2:5,length=0.08") as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, ("file-missing",)),
        ("[", ("text-syntax",)),
        ("kind: drop", ("value-type",)),
        ('[{"start_s": 1}]', ("key-missing", "kind")),
        ('[{"kind": "drop", "start_s": 1, "sensors": ["radar"]}]', ("sensor-unknown", "radar")),
        ('[{"kind": "drop", "rate": 1}]', ("key-unknown", "rate")),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_exception_bad_schedule_names_the_file_and_the_defect(tmp_path, text, told, suffix):
    path = tmp_path / f"plan.{suffix}"
    if text is not None:
        path.write_text(text)
    if suffix == "json" and text == "kind: drop":
        told = ("text-syntax",)
    with user_error(*told, f"plan.{suffix}") as caught:
        load_faults(path)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_property_any_text_is_read_or_refused_in_one_line(text):
    for parse in (parse_drop, parse_fault):
        try:
            assert parse(text)
        except UserError as error:
            assert "\n" not in str(error).replace(text, "")


@pytest.mark.parametrize(("text", "told"), [("- {kind: rain}", ("value-unknown", "'rain'")),
                                            ("- {sensors: [rgb]}", ("key-missing", "entry 0"))])  # fmt: skip
def test_exception_a_schedule_with_an_unknown_kind_lists_the_known_ones(tmp_path, text, told):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with user_error(*told) as caught:
        load_faults(path)
    assert "tag" not in str(caught.value)
