from __future__ import annotations

from any2seg_core.vocabulary.modalities import MODALITIES
from any2seg_core.vocabulary.topics import NODE_CAMERA_INFOS, NODE_INPUTS, carla_bridge


def test_value_every_modality_has_an_input_and_a_bridge_topic():
    topics = carla_bridge("hero")
    assert tuple(NODE_INPUTS) == MODALITIES
    assert tuple(topics.streams) == MODALITIES
    assert topics.streams["lidar"] == "/carla/hero/lidar"
    remappings = topics.node_remappings()
    assert len(remappings) == len(NODE_INPUTS) + len(NODE_CAMERA_INFOS)
    assert remappings["~/in/points"] == "/carla/hero/lidar"
    assert remappings["~/in/events_camera_info"] == "/carla/hero/dvs_front/camera_info"


def test_value_sensor_of_a_topic():
    topics = carla_bridge()
    assert topics.sensor_of("/carla/ego_vehicle/depth_front/camera_info") == "depth"
    assert topics.sensor_of("/carla/ego_vehicle/dvs_front/events") == "event"
    assert topics.sensor_of(topics.truth) is None
