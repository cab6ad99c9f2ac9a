"""A plain rclpy node with the subscriptions of the segmentation node and nothing behind them: python bare_node.py.

What it grows by under the same storm, the middleware grows by.
"""

from __future__ import annotations

import rclpy
from fake_car import TOPICS, TYPES
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import Image, PointCloud2

from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_ros import qos


def main() -> None:
    """Spin until a signal comes."""
    rclpy.init()
    node = rclpy.create_node("bare")
    kinds = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/PointCloud2": PointCloud2}
    for name in VEHICLE.members:
        topic, profile = TOPICS.streams[name], qos.sensor_input("best_effort", 10)
        node.create_subscription(kinds[TYPES[name]], topic, lambda message: None, profile)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
