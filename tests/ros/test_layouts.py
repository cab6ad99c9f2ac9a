"""The RViz and Foxglove layouts show topics that exist, with displays that fit their types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from any2seg_core.vocabulary.topics import carla_bridge
from any2seg_ros.topic_table import OUTPUTS, input_topics

PACKAGE = Path(__file__).resolve().parents[2] / "ros2_ws" / "src" / "any2seg_ros"
RVIZ = yaml.safe_load((PACKAGE / "rviz" / "any2seg.rviz").read_text())
FOXGLOVE = json.loads((PACKAGE / "foxglove" / "any2seg.json").read_text())
TYPES = {"Image": "sensor_msgs/msg/Image", "PointCloud2": "sensor_msgs/msg/PointCloud2"}


def known() -> dict[str, str]:
    """Topic -> type: the node's outputs as /segment, its inputs as the CARLA bridge sends them."""
    targets = carla_bridge().node_remappings()
    topics = {targets[topic.name]: topic.kind for topic in input_topics()}
    return topics | {topic.name.replace("~", "/segment"): topic.kind for topic in OUTPUTS}


def leaves(node) -> list[str]:
    return [node] if isinstance(node, str) else leaves(node["first"]) + leaves(node["second"])


def test_value_rviz_displays_fit_the_types_of_their_topics():
    displays = [display for display in RVIZ["Visualization Manager"]["Displays"] if "Topic" in display]
    assert {display["Topic"]["Value"] for display in displays} >= {
        "/carla/ego_vehicle/rgb_front/image", "/carla/ego_vehicle/lidar", "/segment/out/overlay", "/segment/out/color",
    }  # fmt: skip
    for display in displays:
        assert known()[display["Topic"]["Value"]] == TYPES[display["Class"].rpartition("/")[2]]
        is_input = display["Topic"]["Value"].startswith("/carla")
        assert display["Topic"]["Reliability Policy"] == ("Best Effort" if is_input else "Reliable")


def test_value_rviz_windows_are_displays():
    names = {display["Name"] for display in RVIZ["Visualization Manager"]["Displays"]} | {"Displays"}
    assert {name for name, value in RVIZ["Window Geometry"].items() if isinstance(value, dict)} <= names


def test_value_foxglove_panels_are_placed_once():
    placed = leaves(FOXGLOVE["layout"])
    assert sorted(placed) == sorted(FOXGLOVE["configById"])
    assert len(set(placed)) == len(placed)


@pytest.mark.parametrize("panel", sorted(FOXGLOVE["configById"]))
def test_value_foxglove_panels_fit_the_types_of_their_topics(panel):
    settings = FOXGLOVE["configById"][panel]
    kind = panel.partition("!")[0]
    image = settings.get("imageMode", {})
    shown = {
        "Image": {image.get("imageTopic"): "sensor_msgs/msg/Image"},
        "3D": dict.fromkeys(settings.get("topics", {}), "sensor_msgs/msg/PointCloud2"),
        "RawMessages": {settings.get("topicPath", "").partition(".")[0]: "diagnostic_msgs/msg/DiagnosticArray"},
        "DiagnosticSummary": {settings.get("topicToRender"): "diagnostic_msgs/msg/DiagnosticArray"},
        "DiagnosticStatusPanel": {settings.get("topicToRender"): "diagnostic_msgs/msg/DiagnosticArray"},
    }[kind]
    if "calibrationTopic" in image:
        shown[image["calibrationTopic"]] = "sensor_msgs/msg/CameraInfo"
    assert shown
    assert {topic: known()[topic] for topic in shown} == shown
