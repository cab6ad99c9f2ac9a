"""Launch arguments made from the tables, and read back: no `launch` needed."""

from __future__ import annotations

import pytest
import yaml
from raised import user_error

from any2seg_core.vocabulary.topics import CarlaSensors, carla_bridge
from any2seg_ros import launch_arguments as la
from any2seg_ros.parameter_table import TABLE
from any2seg_ros.topic_table import input_topics


def written(value) -> str:
    """A default as a user would type it."""
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def test_value_every_parameter_has_one_argument_that_is_unset_by_default():
    arguments = la.parameter_arguments()
    assert [argument.name for argument in arguments] == list(TABLE)
    assert la.given_parameters({argument.name: argument.default for argument in arguments}, "front") == {}
    for argument in arguments:
        assert TABLE[argument.name].description in argument.description
        assert not argument.choices or argument.default in argument.choices


@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry.default != ""])
def test_property_default_written_as_an_argument_is_read_back(name):
    value = la.given_parameters({name: written(TABLE[name].default)}, "front")[name]
    assert value == TABLE[name].default
    assert type(value) is type(TABLE[name].default)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1e-3", 0.001), ("1", 1.0), (" .25 ", 0.25)],
)
def test_value_numbers_as_people_write_them(text, expected):
    assert la.given_parameters({"timeout_s": text}, "front") == {"timeout_s": expected}


@pytest.mark.parametrize(
    "text", ["[rgb, lidar]", "rgb,lidar", "camera, L", "camera+lidar", "RL", "[RL]", "['rgb', \"lidar\"]"]
)
def test_value_lists_as_people_write_them(text):
    assert la.given_parameters({"modalities": text}, "front") == {"modalities": ["rgb", "lidar"]}


@pytest.mark.parametrize("text", ["[lidar, rgb]", "lidar,rgb", "L,camera"])
def test_value_an_order_is_a_list_of_single_sensors(text):
    assert la.given_parameters({"reference_priority": text}, "front") == {"reference_priority": ["lidar", "rgb"]}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("timeout_s", "soon", ("value-type", "'soon'", "float")),
        ("timeout_s", "nan", ("value-range", "0 to 10")),
        ("timeout_s", "11", ("value-range", "0 to 10")),
        ("input_depth", "1.5", ("value-type", "'1.5'", "int")),
        ("input_depth", "0", ("value-range", "1 to 1000")),
        ("autostart", "maybe", ("value-type", "'maybe'", "bool")),
        ("modalities", "[]", ("sensor-unknown", "''")),
        ("modalities", "rgb,", ("sensor-unknown", "''")),
        ("reference_priority", "RL", ("value-format", "rgb+lidar")),
        ("input_reliability", "sometimes", ("value-unknown", "best_effort, reliable")),
    ],
)
def test_exception_names_argument_and_what_it_takes(name, text, told):
    with user_error(*told, f"argument {name}: "):
        la.given_parameters({name: text}, "front")


def test_value_every_input_has_a_topic_and_a_remapping():
    sensors = CarlaSensors(rgb="rgb_{camera}", depth="depth_{camera}", event="dvs_{camera}")
    arguments = {argument.name: argument.default for argument in la.topic_arguments(carla_bridge("hero", sensors))}
    pairs = dict(la.remappings(arguments, "left"))
    assert list(pairs) == [topic.name for topic in input_topics()]
    assert pairs == carla_bridge("hero", CarlaSensors("rgb_left", "depth_left", "dvs_left")).node_remappings()
    assert len(set(arguments)) == len(input_topics())


def test_value_cameras_name_nodes():
    assert la.camera_names(" front, left,right ") == ("front", "left", "right")
    assert la.camera_names("") == ()
    assert [la.node_name(camera) for camera in ("", "left")] == ["segment", "segment_left"]


def test_value_nodes_of_one_process_get_their_own_files_and_topics():
    values = {argument.name: f"/{argument.name}/{{camera}}" for argument in la.topic_arguments(carla_bridge())}
    values |= {"namespace": "a/b", "calibration_file": "/{camera}.yaml"}
    values |= {"modalities": "[rgb,lidar]", "autostart": "false"}
    arguments = la.remappings_of_cameras(values, ("front", "left"))
    assert arguments[::2] == ["-r"] * 2 * len(input_topics())
    assert "segment_left:~/in/points:=/points_topic/left" in arguments[1::2]
    own = {"modalities": ["rgb", "lidar"], "autostart": False}
    assert yaml.safe_load(la.parameters_of_cameras(values, ("front", "left"))) == {
        f"/a/b/segment_{camera}": {"ros__parameters": own | {"calibration_file": f"/{camera}.yaml"}}
        for camera in ("front", "left")
    }


@pytest.mark.parametrize(
    ("namespace", "node"), [("", "/segment_front"), ("car", "/car/segment_front"), ("/car/", "/car/segment_front")]
)
def test_value_node_of_a_parameter_file_is_absolute(namespace, node):
    text = la.parameters_of_cameras({"namespace": namespace, "device": "cpu"}, ("front",))
    assert yaml.safe_load(text) == {node: {"ros__parameters": {"device": "cpu"}}}


def test_value_judges_stand_beside_their_nodes():
    arguments = la.score_arguments("/{camera}/truth", "tag", "0.9.16", "true")
    values = {argument.name: argument.default for argument in arguments}
    values |= {"namespace": "car", "checkpoint": "c", "cameras": "front,left", "score_file": "{camera}.json"}
    front, left = la.score_nodes(values)
    assert (front["name"], front["namespace"]) == ("score_front", "car")
    assert dict(left["remappings"])["~/in/label"] == "segment_left/out/label"
    assert dict(left["remappings"])["~/in/truth"] == "/left/truth"
    assert left["parameters"][0]["out"] == "left.json"
    assert la.score_nodes(values | {"score": "false"}) == []


@pytest.mark.parametrize("text", ["front,front", "rear left", "2nd", "a/b", "größe"])
def test_exception_cameras_that_cannot_name_a_node(text):
    with user_error("value-twice" if "," in text else "value-format", "argument cameras", text):
        la.camera_names(text)


def test_exception_cameras_that_share_one_topic():
    la.check_distinct(("left", "right"), {"image_topic": "/{camera}/image"})
    with user_error("value-twice", "image_topic", "'/image'", "left, right"):
        la.check_distinct(("left", "right"), {"image_topic": "/image"})
