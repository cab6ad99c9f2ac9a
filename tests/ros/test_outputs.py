"""LabelInfo where vision_msgs is installed. No wheel ships it: its classes stand in, by the published definition."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from any2seg_core.vocabulary.labels import DELIVER, LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE

pytest.importorskip("rclpy")

DEFINITIONS = {  # vision_msgs 4, Humble and Jazzy
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
}


@pytest.fixture(scope="module")
def store():
    store = get_typestore(Stores.ROS2_JAZZY)
    for kind, text in DEFINITIONS.items():
        store.register(get_types_from_msg(text, kind))
    return store


class VisionClass:
    """As the generated class: keyword arguments of the definition, each with a default."""

    def __init__(self, *, class_id: int = 0, class_name: str = "") -> None:
        self.class_id, self.class_name = class_id, class_name


class LabelInfo:
    def __init__(self, *, header=None, class_map: list | None = None, threshold: float = 0.0) -> None:
        from std_msgs.msg import Header

        self.header, self.class_map, self.threshold = header or Header(), class_map or [], threshold


class Node:
    """Keeps what is published, by topic."""

    def __init__(self) -> None:
        self.kinds, self.profiles, self.sent = {}, {}, {}

    def create_lifecycle_publisher(self, kind, topic, profile, **_):
        self.kinds[topic], self.profiles[topic], self.sent[topic] = kind, profile, []
        return SimpleNamespace(publish=self.sent[topic].append, get_subscription_count=lambda: 0, topic=topic)

    def destroy_lifecycle_publisher(self, publisher):
        del self.kinds[publisher.topic]

    def get_clock(self):
        from builtin_interfaces.msg import Time

        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Time(sec=7, nanosec=5)))


@pytest.fixture()
def node(monkeypatch):
    from any2seg_ros import distro

    messages = SimpleNamespace(LabelInfo=LabelInfo, VisionClass=VisionClass)
    monkeypatch.setattr(distro, "vision_messages", lambda: messages)
    return Node()


def as_defined(store, info):
    """The message through the CDR of its definition: an absent field, a foreign type or range would raise."""
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](info.header.stamp.sec, info.header.stamp.nanosec)
    header = types["std_msgs/msg/Header"](stamp, info.header.frame_id)
    entries = [types["vision_msgs/msg/VisionClass"](**vars(entry)) for entry in info.class_map]
    message = types["vision_msgs/msg/LabelInfo"](header, entries, info.threshold)
    data = store.serialize_cdr(message, "vision_msgs/msg/LabelInfo")
    return store.deserialize_cdr(data, "vision_msgs/msg/LabelInfo")


def test_value_label_info_holds_every_class_and_is_latched(node, store):
    from any2seg_ros import qos
    from any2seg_ros.outputs import Outputs

    outputs = Outputs(node, DELIVER, VEHICLE, 0.5)
    assert node.kinds["~/out/label_info"] is LabelInfo
    assert node.profiles["~/out/label_info"] is qos.LATCHED
    outputs.publish_label_info(0.25)
    (sent,) = node.sent["~/out/label_info"]
    info = as_defined(store, sent)
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == list(enumerate(DELIVER.classes))
    assert (info.header.stamp.sec, info.header.stamp.nanosec) == (7, 5)
    assert info.threshold == np.float32(0.25)
    assert len(node.sent["~/out/label_info_json"]) == 1
    outputs.destroy()
    assert node.kinds == {}


@pytest.mark.parametrize("count", [3, 150, 300])
def test_value_label_info_of_other_numbers_of_classes(node, store, count):
    from any2seg_ros.outputs import Outputs

    colours = tuple((k % 256, k // 256, 9) for k in range(count))
    space = LabelSpace("own", tuple(f"class {k}" for k in range(count)), colours)
    Outputs(node, space, VEHICLE, 0.5).publish_label_info(0.25)
    info = as_defined(store, node.sent["~/out/label_info"][0])
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == list(enumerate(space.classes))
    (sent,) = node.sent["~/out/label_info_json"]
    assert len(json.loads(sent.data)["class_map"]) == count


def test_value_without_vision_msgs_there_is_the_json_alone(node, monkeypatch):
    from any2seg_ros import distro
    from any2seg_ros.outputs import Outputs

    monkeypatch.setattr(distro, "vision_messages", lambda: None)
    Outputs(node, DELIVER, VEHICLE, 0.5).publish_label_info(0.25)
    assert "~/out/label_info" not in node.kinds
    assert len(node.sent["~/out/label_info_json"]) == 1
