from __future__ import annotations

import pytest
from raised import user_error

from any2seg_core.runtime.input_options import input_options
from any2seg_core.sync.parameters import load_params_file, sync_config


def test_value_seconds_become_nanoseconds_and_events_a_window():
    config = sync_config({"timeout_s": 0.07, "lidar.offset_s": -0.015}, ["lidar", "event"], 30_000_000)
    assert config.timeout_ns == 70_000_000
    assert config.reference_priority == ("event", "lidar")
    assert config.streams["lidar"].offset_ns == -15_000_000
    assert (config.streams["lidar"].kind, config.streams["event"].kind) == ("sample", "window")
    assert config.streams["event"].window_ns == 30_000_000


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"timeout_s": "soon"}, ("value-type", "timeout_s", "'soon'")),
        ({"rgb.max_age_s": float("nan")}, ("value-type", "rgb.max_age_s")),
        ({"rgb.noise_window_s": 0.2}, ("value-conflict", "rgb.noise_window_s", "0.2", "max_age_s", "0.15")),
        ({"reference_priority": ["radar"]}, ("sensor-unknown", "radar")),
        ({"reference_priority": []}, ("sensor-none", "reference_priority", "rgb")),
        ({"reference_priority": ["lidar"]}, ("sensor-none", "reference_priority", "rgb")),
        ({"timeout_without_reference_s": True}, ("value-type", "timeout_without_reference_s")),
    ],
)
def test_exception_bad_values_are_named(values, told):
    with user_error(*told):
        sync_config(values, ["rgb"], 50_000_000)


def test_value_params_file_with_nested_and_dotted_names(tmp_path):
    path = tmp_path / "p.yaml"
    lines = ["timeout_s: 0.1", "lidar: {offset_s: -0.02}", "rgb.max_age_s: 0.3"]
    path.write_text("/**:\n  ros__parameters:\n" + "".join(f"    {line}\n" for line in lines))
    assert load_params_file(path) == {"timeout_s": 0.1, "lidar.offset_s": -0.02, "rgb.max_age_s": 0.3}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "file-missing"),
        ("a: [", "text-syntax"),
        ("a: 1", "key-missing"),
        ("- 1", "key-missing"),
        ("", "key-missing"),
        ("/**: {ros__parameters: 3}", "key-missing"),
    ],
)
def test_exception_params_file_names_itself(tmp_path, text, code):
    path = tmp_path / "p.yaml"
    if text is not None:
        path.write_text(text)
    with user_error(code, "p.yaml") as caught:
        load_params_file(path)
    assert "\n" not in str(caught.value)


def section(name, value=0.1):
    return f"'{name}':\n  ros__parameters:\n    timeout_s: {value}\n"


PARAMS_FILES = {
    "two nodes": (section("/segment", 0.3) + section("/other", 9.0), 0.3),
    "two nodes, the other way round": (section("/other", 9.0) + section("segment", 0.3), 0.3),
    "a namespace": (section("/perception/segment", 0.3) + section("/perception/other", 9.0), 0.3),
    "nested namespaces": ("perception:\n  front:\n    segment:\n      ros__parameters:\n        timeout_s: 0.3\n", 0.3),
    "another name": (section("/my_fusion", 0.3), 0.3),
    "a camera of several": (section("/**", 0.2) + section("/segment_front", 0.3), 0.3),
    "everything": (section("/**", 0.3), 0.3),
    "one part": (section("/*", 0.3), 0.3),
    "any namespace": (section("/**/segment", 0.3), 0.3),
    "one namespace": (section("/*/segment", 0.3), 0.3),
    "a pattern of another node": (section("/**", 0.3) + section("/**/camera", 9.0), 0.3),
    "a pattern beside a node": (section("/**", 0.3) + section("/other_fusion_node", 9.0), 0.3),
    "a pattern after a node": (section("/other", 9.0) + section("/*", 0.3), 0.3),
    "a pattern of our name beside a node": (section("/*/segment", 0.3) + section("/other", 9.0), 0.3),
    "a pattern beside two nodes": (section("/a", 9.0) + section("/**", 0.3) + section("/b", 9.0), 0.3),
    "the later one wins": (section("/segment", 9.0) + section("/**", 0.3), 0.3),
    "the later one wins too": (section("/**", 9.0) + section("/segment", 0.3), 0.3),
    "one part is no namespace": (section("/perception/segment", 0.3) + section("/*", 9.0), 0.3),
    "patterns in a namespace": (section("/perception/segment", 9.0) + section("/perception/*", 0.3), 0.3),
    "an exponent without a point": (section("/**", "3e-1"), 0.3),
}


@pytest.mark.parametrize(("text", "timeout_s"), PARAMS_FILES.values(), ids=PARAMS_FILES)
def test_value_sections_of_a_params_file_count_as_in_ros2(tmp_path, text, timeout_s):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert load_params_file(path) == {"timeout_s": timeout_s}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (section("/a") + section("/b"), ("node-ambiguous", "/a and /b")),
        (section("/front/segment") + section("/rear/segment"), ("node-ambiguous", "/front/segment and /rear/segment")),
        (
            section("/segment_left") + section("/segment_right") + section("/**"),
            ("node-ambiguous", "/segment_left and /segment_right"),
        ),
        (section("/**/camera"), ("key-missing", "/segment")),
        (section("/**/camera") + section("/a") + section("/b"), ("node-ambiguous", "/a and /b")),
    ],
)
def test_exception_a_params_file_of_which_it_is_not_clear_who_is_meant(tmp_path, text, told):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with user_error(*told) as caught:
        load_params_file(path)
    assert "\n" not in str(caught.value)


def test_value_an_empty_list_in_a_params_file_is_one(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("/**:\n  ros__parameters:\n    health:\n      frozen_sensors: []\n")
    assert input_options(load_params_file(path)).health.frozen_sensors == ()
