"""The judge: what it reads as truth, and how it joins the two topics of the node. Over real DDS in test_launch.py."""

from __future__ import annotations

import json

import numpy as np
import pytest

from any2seg_core.messages import array_to_image_fields
from any2seg_core.vocabulary.labels import DELIVER

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

STAMPS = (3, 7)


def image(pixels: np.ndarray, encoding: str):
    from sensor_msgs.msg import Image

    return Image(**array_to_image_fields(pixels, encoding))


@pytest.mark.parametrize("label_first", [True, False])
def test_value_label_and_status_are_joined_in_any_order(domain, checkpoint, tmp_path, label_first):
    """Callbacks by hand: two labels of road over road; the figures in the file are the oracle's 100 percent."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    from any2seg_ros.processes import ros_arguments
    from any2seg_ros.score_node import ScoreNode, report

    road = np.full((3, 5), DELIVER.id("Road"), np.uint8)
    rclpy.init(args=ros_arguments({"checkpoint": checkpoint, "out": tmp_path / "score.json"}), domain_id=domain)
    node = ScoreNode()
    try:
        for stamp in STAMPS:
            label = image(road, "mono8")
            status = DiagnosticArray(status=[DiagnosticStatus(values=[KeyValue(key="used", value="rgb,lidar")])])
            label.header.stamp.sec = status.header.stamp.sec = stamp
            node._on_truth(label)
            steps = [lambda m=label: node._on_label(m), lambda m=status: node._on_modalities(m)]
            for step in steps if label_first else reversed(steps):
                step()
        report(node)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    figures = json.loads((tmp_path / "score.json").read_text())
    assert figures["subsets"]["RL"]["miou_present"] == 100.0
    assert figures["judged"] == len(STAMPS)


def test_exception_messages_that_are_none_cost_themselves_alone(domain, checkpoint, capfd):
    """A label of an odd step, a status without an entry and a truth of no size, by the callbacks that rclpy calls."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    from any2seg_ros.processes import ros_arguments
    from any2seg_ros.score_node import ScoreNode

    rclpy.init(args=ros_arguments({"checkpoint": checkpoint}), domain_id=domain)
    node = ScoreNode()
    try:
        callbacks = {each.topic_name.rpartition("/")[2]: each.callback for each in node.subscriptions}
        odd = image(np.zeros((3, 5), np.uint8), "mono8")
        odd.step = 2
        callbacks["label"](odd)
        callbacks["modalities"](DiagnosticArray())
        odd.encoding = "rgb77"
        callbacks["truth"](odd)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    written = capfd.readouterr().err
    for name in ("label", "status", "truth"):
        assert f"{name} left out: " in written
