from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.modalities import MCUBES, MUSES, VEHICLE, SensorSuite, sensor_suite
from any2seg_core.vocabulary.sensor import Sensor
from any2seg_core.vocabulary.subsets import parse_order, parse_subset, parse_subsets, parse_suite, settled_subset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", VEHICLE.members),
        ("RDEL", VEHICLE.members),
        ("LR", ("rgb", "lidar")),
        ("full", VEHICLE.members),
        ("lidar + rgb", ("rgb", "lidar")),
        ("event", ("event",)),
        ("rgb+rgb", ("rgb",)),
        ("Camera+LIDAR", ("rgb", "lidar")),
        ("RL+event", ("rgb", "event", "lidar")),
        (["lidar", "Camera"], ("rgb", "lidar")),
        (["RD", "L"], ("rgb", "depth", "lidar")),
        ([], ()),
    ],
)
def test_value_parse_subset(text, expected):
    assert parse_subset(text) == expected


@pytest.mark.parametrize("text", ["", " ", ",", "radar", "rgb+radar", "RX", "rgbd", "rl", "rgb+", "every", ["rgb", ""]])
def test_exception_parse_subset(text):
    with user_error("value-format" if text == "," else "sensor-unknown", "rgb"):
        parse_subset(text)


def test_value_letters_belong_to_a_set():
    assert MCUBES.subset_letters(("nir", "rgb")) == "IN"
    assert MUSES.subset_letters(("rgb", "lidar")) == "FL"
    assert MCUBES.subset_letters(MCUBES.members) == "IADN"
    assert parse_subset("DI", MCUBES) == ("rgb", "dolp")
    assert parse_subset("D") == ("depth",)
    assert parse_subset("all", MUSES) == ("rgb", "event", "lidar")
    assert len(MCUBES.all_subsets()) == 15
    assert len(MUSES.all_subsets()) == 7


@pytest.mark.parametrize("suite", [VEHICLE, MUSES, MCUBES], ids=lambda suite: suite.name)
def test_property_sets_are_canonical_and_letters_read_back(suite):
    assert suite.canonical(suite.members) == suite.members
    assert len(set(suite.letters)) == len(suite.letters) == len(suite.members)
    assert sensor_suite(suite.name) is suite
    for subset in suite.all_subsets():
        assert parse_subset(suite.subset_letters(subset), suite) == subset


def test_value_a_letter_is_no_name_in_capitals():
    sensors = (Sensor("f", "G", "image"), Sensor("left", "F", "image"), Sensor("gf", "P", "points"))
    suite = SensorSuite("van", sensors)
    assert parse_subset("F", suite) == ("left",)
    assert parse_subset("f", suite) == ("f",)
    assert parse_subset("GF", suite) == ("f", "left")
    assert parse_subset("gf", suite) == ("gf",)
    assert parse_subset("LEFT", suite) == ("left",)
    for subset in suite.all_subsets():
        assert parse_subset(suite.subset_letters(subset), suite) == subset


def test_exception_modalities_of_other_sets():
    with user_error("sensor-unknown", "(A, angle of polarisation)"):
        parse_subset("", MCUBES)


def test_exception_what_is_no_list_of_names():
    for wrong in (3, None, [3], [["rgb"]], [None], {1: 2}):
        for read in (VEHICLE.canonical, parse_subset, parse_subsets, parse_order):
            with user_error("value-type", "rgb, depth"):
                read(wrong)


@pytest.mark.parametrize(
    ("suite", "example"), [(VEHICLE, "rgb+lidar or RL"), (MUSES, "rgb+lidar or FL"), (MCUBES, "rgb+nir or IN")]
)
def test_exception_a_comma_separates_subsets(suite, example):
    with user_error("value-format", "'rgb,lidar'", example):
        parse_subset("rgb,lidar", suite)


def test_value_subsets_are_separated_by_commas():
    assert parse_subsets("RL, camera,all") == [("rgb", "lidar"), ("rgb",), VEHICLE.members]
    assert parse_subsets(["RL", "camera+lidar"]) == [("rgb", "lidar")]
    assert parse_subsets("every") == VEHICLE.all_subsets()
    assert parse_subsets("R,every", within=("rgb", "lidar")) == [("rgb",), ("lidar",), ("rgb", "lidar")]
    assert parse_subsets("all", MUSES, ("rgb", "event")) == [("rgb", "event")]
    for wrong in ("", "R,,L", "R,", "R L"):
        with user_error("sensor-unknown"):
            parse_subsets(wrong)


def test_exception_sensors_that_are_not_there():
    with user_error("sensor-absent", "depth", "rgb (R, camera), lidar (L)"):
        parse_subset("RD", within=("rgb", "lidar"))


def test_value_an_order_has_one_sensor_per_place():
    assert parse_order("LiDAR,R") == parse_order(["lidar", "camera"]) == ("lidar", "rgb")
    assert parse_order([]) == ()
    with user_error("value-format", "rgb+lidar"):
        parse_order("E,RL")
    with user_error("value-twice", "rgb"):
        parse_order(["camera", "L", "R"])


@pytest.mark.parametrize(
    ("sensors", "settled"),
    [
        (["lidar", "Camera"], ("rgb", "lidar")),
        ("nir+rgb", ("rgb", "nir")),
        ("D", "D"),  # depth, or degree of polarisation
        ("FL", "FL"),
        (("E", "rgb"), ("E", "rgb")),
        ("all", "all"),
    ],
)
def test_value_letters_wait_for_the_data_set(sensors, settled):
    assert settled_subset(sensors) == settled


def test_exception_sensors_that_no_data_set_has():
    for wrong in ("radar", ["depth", "nir"], "FLX"):
        with user_error("sensor-unknown"):
            settled_subset(wrong)


@pytest.mark.parametrize("suite", [VEHICLE, MUSES, MCUBES], ids=lambda suite: suite.name)
def test_property_every_way_to_write_a_subset_reads_back(suite):
    titles = {name: suite.sensor(name).title for name in suite.members}
    for subset in suite.all_subsets():
        for text in (suite.subset_letters(subset), "+".join(subset), " + ".join(titles[name] for name in subset)):
            assert parse_subset(text, suite) == parse_subset(text.split("+"), suite) == subset
            assert parse_subsets(f"{text},{suite.letters}", suite) == list(dict.fromkeys([subset, suite.members]))


_WORDS = st.sampled_from(["rgb", "camera", "LiDAR", "R", "RDEL", "all", "every", "FEL", "nir", "+", ",", " ", "x"])
_TEXTS = st.one_of(st.text(max_size=20), st.lists(_WORDS, max_size=6).map("".join))


@given(_TEXTS, st.sampled_from([VEHICLE, MUSES, MCUBES]))
def test_property_any_text_is_a_subset_or_one_line_of_error(text, suite):
    for read in (parse_subset, parse_subsets, parse_order):
        try:
            found = read(text, suite)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            subset = found if read is parse_subset else found[0]
            assert set([subset] if isinstance(subset, str) else subset) <= set(suite.members)
            assert subset


@pytest.mark.parametrize("sensors", ["rgb,lidar", "L, camera", "RL", "camera+lidar", ["rgb", "lidar"], ["rgb,lidar"]])
def test_value_a_comma_joins_the_sensors_of_a_suite(sensors):
    assert parse_suite(sensors) == ("rgb", "lidar")
    assert settled_subset("rgb,lidar") == ("rgb", "lidar")


@pytest.mark.parametrize("sensors", ["rgb,", "", ",", "rgb,radar"])
def test_exception_a_suite_has_no_empty_place(sensors):
    with user_error("sensor-unknown"):
        parse_suite(sensors)
