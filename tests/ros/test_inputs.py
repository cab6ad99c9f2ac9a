"""What arrives on the node's input topics and cannot be used is named."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from acceptance import wait_for

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


@pytest.fixture
def node(domain: int) -> Iterator[Any]:
    """Plain node `front`, and how to spin it for a moment: ``node.spin()``."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("front", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.spin = lambda: executor.spin_once(timeout_sec=0.05)
    yield node
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def subscribed(node: Any, checkpoint: Any) -> Iterator[Any]:
    """Subscribes with these parameters; what the callbacks were told is in ``got``, ``bad`` and ``told``."""
    from any2seg_ros.guard import Guard
    from any2seg_ros.inputs import Inputs
    from any2seg_ros.parameter_table import TABLE
    from any2seg_ros.parameters import check

    made = []

    def subscribe(**changes: Any) -> SimpleNamespace:
        found = SimpleNamespace(got=[], bad=[], told=[], failed=[])
        values = {name: entry.default for name, entry in TABLE.items()} | {"checkpoint": str(checkpoint)} | changes
        made.append(Inputs(
            node,
            check(values),
            lambda name, message, shift_ns: message,
            lambda *arguments: found.got.append(arguments),
            lambda *_: None,
            lambda *arguments: found.bad.append(arguments),
            lambda *arguments: found.told.append(arguments),
            Guard(lambda name, error: found.failed.append((name, error))),
        ))  # fmt: skip
        return found

    yield subscribe
    for inputs in made:
        inputs.destroy()


@pytest.mark.parametrize("source", ["header", "arrival"])
def test_value_a_stamp_of_zero_is_handed_on_and_told(node, subscribed, source):
    from sensor_msgs.msg import Image

    found = subscribed(modalities=["rgb"], stamp_source=source)
    publisher = node.create_publisher(Image, "/front/in/image", 10)

    def three() -> bool:
        publisher.publish(Image())
        node.spin()
        return len(found.got) >= 3

    assert wait_for(three)
    assert not found.bad
    if source == "arrival":
        assert found.got[0][1] > 0
        assert not found.told
        return
    assert found.got[0][1] == 0
    assert len(found.told) == len(found.got)
    assert {(name, kind) for name, kind, _ in found.told} == {("rgb", "zero")}
    assert all("stamp is 0" in text and "arrival" in text for _, _, text in found.told)


def test_value_every_topic_of_another_quality_of_service_is_told(node, subscribed):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, PointCloud2

    found = subscribed(modalities=["rgb", "lidar"], input_reliability="reliable")
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    topics = {"rgb": (Image, "/front/in/image"), "lidar": (PointCloud2, "/front/in/points")}
    for kind, topic in topics.values():
        node.create_publisher(kind, topic, best_effort)

    def both() -> bool:
        node.spin()
        return {name for name, _, _ in found.told} == set(topics)

    assert wait_for(both)
    for name, kind, text in found.told:
        assert kind == "quality of service"
        assert topics[name][1] in text
        assert "best_effort" in text


def test_value_livox_messages_on_the_lidar_topic_are_named_with_the_drivers_setting():
    from sensor_msgs.msg import PointCloud2

    from any2seg_ros.inputs import Inputs

    inputs = object.__new__(Inputs)
    kind = SimpleNamespace(topic_type="livox_ros_driver2/msg/CustomMsg")
    inputs._node = SimpleNamespace(get_publishers_info_by_topic=lambda _: [kind])
    inputs._settings, inputs._auto = SimpleNamespace(modalities=("lidar",)), []
    inputs._subscriptions = {"lidar": SimpleNamespace(msg_type=PointCloud2, topic_name="/livox/lidar")}
    (text,) = inputs.foreign_types().values()
    assert "published as livox_ros_driver2/msg/CustomMsg" in text
    assert text.endswith("set xfer_format of the driver to 0")
