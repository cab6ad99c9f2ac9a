from __future__ import annotations

import pytest

from any2seg_core.vocabulary.modalities import MCUBES, MUSES, VEHICLE, SensorSuite
from any2seg_core.vocabulary.topics import carla_bridge, node_camera_infos, node_input

YARD = SensorSuite.of_document({
    "name": "yard",
    "sensors": {
        "rgb": {"kind": "image", "letter": "R"},
        "range": {"kind": "depth", "letter": "G"},
        "dvs": {"kind": "events", "letter": "D"},
        "lidar": {"kind": "points", "letter": "L"},
    },
})  # fmt: skip


@pytest.mark.parametrize(
    ("suite", "inputs", "infos"),
    [
        (VEHICLE, ["image", "depth", "events", "points"],
         {"rgb": "camera_info", "depth": "depth_camera_info", "event": "events_camera_info"}),
        (MUSES, ["image", "events", "points"], {"rgb": "camera_info", "event": "events_camera_info"}),
        (MCUBES, ["image", "aolp", "dolp", "nir"],
         {"rgb": "camera_info", "aolp": "aolp_camera_info", "dolp": "dolp_camera_info", "nir": "nir_camera_info"}),
        (YARD, ["rgb", "range", "dvs", "lidar"],
         {"rgb": "rgb_camera_info", "range": "range_camera_info", "dvs": "dvs_camera_info"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)  # fmt: skip
def test_value_inputs_are_called_as_the_sensors_but_for_the_shipped_suites(suite, inputs, infos):
    assert [node_input(suite, name) for name in suite.members] == inputs
    assert node_camera_infos(suite) == infos


def test_value_every_sensor_has_a_bridge_topic_and_a_remapping():
    topics = carla_bridge("hero")
    assert tuple(topics.streams) == VEHICLE.members
    assert topics.streams["lidar"] == "/carla/hero/lidar"
    remappings = topics.node_remappings()
    assert len(remappings) == 4 + 3
    assert remappings["~/in/points"] == "/carla/hero/lidar"
    assert remappings["~/in/events_camera_info"] == "/carla/hero/dvs_front/camera_info"


def test_value_sensor_of_a_topic():
    topics = carla_bridge()
    assert topics.sensor_of("/carla/ego_vehicle/depth_front/camera_info") == "depth"
    assert topics.sensor_of("/carla/ego_vehicle/dvs_front/events") == "event"
    assert topics.sensor_of(topics.truth) is None
