"""Launch arguments for the sensors that a checkpoint names: no `launch` needed."""

from __future__ import annotations

import pytest
import van_files
from raised import user_error
from van_files import VAN

from any2seg_core.vocabulary.topics import TopicMap, carla_bridge
from any2seg_ros import launch_arguments as la
from any2seg_ros.parameter_table import TABLE, parameter_table


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(van_files.checkpoint(tmp_path_factory.mktemp("van") / "van.safetensors"))


def values_of(checkpoint: str, **given: str) -> dict[str, str]:
    """As segment.launch.py has them when it starts the node."""
    values = {"checkpoint": checkpoint, "cameras": "", **given}
    values |= la.own_topics(values)
    arguments = [*la.topic_arguments(carla_bridge()), *la.parameter_arguments()]
    for argument in [*arguments, *la.further_arguments(values)]:
        values.setdefault(argument.name, argument.default)
    return values


def test_value_arguments_of_the_suite_are_those_that_the_vehicle_lacks(checkpoint):
    names = {argument.name for argument in la.further_arguments({"checkpoint": checkpoint})}
    assert names >= {"thermal_topic", "thermal_camera_info_topic", "thermal_transport", "radar_topic",
                     "radar.max_age_s", "front.enabled", "left_camera_info_url"}  # fmt: skip
    every = (*la.topic_arguments(TopicMap({}, {}, suite=VAN)), *la.parameter_arguments(VAN))
    usual = (*la.topic_arguments(carla_bridge()), *la.parameter_arguments())
    assert names == {argument.name for argument in every} - {argument.name for argument in usual}
    assert la.further_arguments({}) == []  # of the shipped checkpoint
    assert all(argument.description.endswith(".") for argument in la.further_arguments({"checkpoint": checkpoint}))


def test_value_remappings_and_parameters_follow_the_suite(checkpoint):
    given = {"thermal_topic": "/flir/image", "radar.max_age_s": "0.4", "modalities": "[front, R]"}
    values = values_of(checkpoint, **given)
    pairs = dict(la.remappings(values, "front"))
    assert pairs["~/in/thermal"] == "/flir/image"
    assert pairs["~/in/radar"] == "/ars/detections"  # as the suite says
    assert pairs["~/in/lidar"] == "~/in/lidar"  # nobody says where it is
    assert pairs["~/in/front_camera_info"] == "~/in/front_camera_info"
    assert len(pairs) == 8
    given = la.given_parameters(values, "front")
    assert given == {"checkpoint": checkpoint, "radar.max_age_s": 0.4, "modalities": ["front", "radar"]}


def test_value_a_given_topic_wins_over_that_of_the_suite(checkpoint):
    assert dict(la.remappings(values_of(checkpoint, radar_topic="/mine"), "front"))["~/in/radar"] == "/mine"


def test_exception_a_sensor_that_the_checkpoint_does_not_have(checkpoint):
    with user_error("sensor-unknown", "argument modalities", "'depth'", "thermal"):
        la.given_parameters(values_of(checkpoint, modalities="[front, depth]"), "front")


def test_value_the_shipped_parameter_file_is_for_the_vehicle_alone(checkpoint):
    assert la.parameter_file({"params_file": "shipped.yaml"}, "shipped.yaml") == ["shipped.yaml"]
    assert la.parameter_file({"params_file": "shipped.yaml", "checkpoint": checkpoint}, "shipped.yaml") == []
    assert la.parameter_file({"params_file": "own.yaml", "checkpoint": checkpoint}, "shipped.yaml") == ["own.yaml"]


def test_value_a_checkpoint_may_be_named_in_the_parameter_file(checkpoint, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(f"/**:\n  ros__parameters: {{checkpoint: {checkpoint}}}\n")
    assert la.suite_of({"params_file": str(file)}, "front") == VAN
    assert la.suite_of({"params_file": str(tmp_path / "none.yaml")}, "front").name == "vehicle"
    assert la.suite_of({"checkpoint": str(tmp_path / "none.safetensors")}, "front").name == "vehicle"


def test_value_every_camera_may_have_a_checkpoint_of_its_own(checkpoint, tmp_path):
    values = {"checkpoint": checkpoint.replace("van.s", "{camera}.s"), "cameras": "van,other"}
    assert la.suite_of(values, "van") == VAN
    assert la.suite_of(values, "other").name == "vehicle"
    assert "thermal_topic" in {argument.name for argument in la.further_arguments(values)}


def test_exception_two_cameras_on_one_topic_of_the_suites_camera(checkpoint):
    values = values_of(checkpoint, cameras="a,b", front_topic="/front/image")
    with user_error("value-twice", "argument front_topic", "a, b"):
        la.check_distinct(("a", "b"), values)


def test_value_parameters_that_are_no_sensors_are_the_same_for_every_suite():
    of_sensors = {name for name in TABLE if name.partition(".")[0] in ("rgb", "depth", "event", "lidar")}
    common = [name for name in TABLE if name not in of_sensors and not name.endswith(("_url", "_transport", "_format"))]
    assert [name for name in parameter_table(VAN) if name in common] == common
