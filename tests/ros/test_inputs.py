"""What arrives on the node's input topics and cannot be used is named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from acceptance import wait_for

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


@pytest.mark.parametrize(("source", "warnings"), [("header", 1), ("arrival", 0)])
def test_value_a_stamp_of_zero_is_handed_on_and_told_once_per_period(domain, checkpoint, source, warnings):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from any2seg_ros.inputs import Inputs
    from any2seg_ros.parameter_table import TABLE
    from any2seg_ros.parameters import check

    values = {name: entry.default for name, entry in TABLE.items()}
    values |= {"checkpoint": str(checkpoint), "modalities": ["rgb"], "stamp_source": source}
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("zero", context=context)
    told, got, bad = [], [], []
    logger = SimpleNamespace(warning=lambda text, **_: told.append(text))
    node.get_logger = lambda: logger
    inputs = Inputs(
        node, check(values), lambda name, message, shift_ns: message, lambda *found: got.append(found),
        lambda *_: None, lambda *found: bad.append(found),
    )  # fmt: skip
    publisher = node.create_publisher(Image, "/zero/in/image", 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def three():
        publisher.publish(Image())
        executor.spin_once(timeout_sec=0.05)
        return len(got) >= 3

    try:
        assert wait_for(three)
        assert (got[0][1] > 0) == (source == "arrival")
        assert not bad
        assert len(told) == warnings
        assert all("rgb" in text and "stamp is 0" in text and "arrival" in text for text in told)
    finally:
        inputs.destroy()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.shutdown(context=context)
