"""The TF listener against tf2_msgs as they come over the wire; no wheel has the type, so the wire is a byte string."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from any2seg_core.messages.transforms import TransformTree

pytest.importorskip("rclpy")

STORE = get_typestore(Stores.ROS2_JAZZY)
TF = "tf2_msgs/msg/TFMessage"
NS_PER_S = 1_000_000_000


def wire(*edges) -> bytes:
    """Serialised TFMessage of (parent, child, stamp_ns, translation, euler angles in degrees)."""
    def make(name):
        return STORE.types[name]

    items = []
    for parent, child, stamp_ns, move, turn in edges:
        stamp = make("builtin_interfaces/msg/Time")(*divmod(stamp_ns, NS_PER_S))
        header = make("std_msgs/msg/Header")(stamp, parent)
        quaternion = Rotation.from_euler("xyz", turn, degrees=True).as_quat()
        transform = make("geometry_msgs/msg/Transform")(
            make("geometry_msgs/msg/Vector3")(*map(float, move)), make("geometry_msgs/msg/Quaternion")(*quaternion)
        )
        items.append(make("geometry_msgs/msg/TransformStamped")(header, child, transform))
    return bytes(STORE.serialize_cdr(make(TF)(items), TF))


class Wire:
    """Stands for a node: keeps the subscriptions, and delivers to them what is sent."""

    def __init__(self) -> None:
        self.subscriptions, self.warnings = {}, []

    def create_subscription(self, kind, topic, callback, profile):
        self.subscriptions[topic] = (callback, profile)
        return topic

    def destroy_subscription(self, topic) -> None:
        del self.subscriptions[topic]

    def get_logger(self):
        return self

    def warning(self, text, **_options) -> None:
        self.warnings.append(text)

    def send(self, topic, data: bytes) -> None:
        self.subscriptions[topic][0](STORE.deserialize_cdr(data, TF))


@pytest.fixture()
def listening(monkeypatch):
    from any2seg_ros import distro
    from any2seg_ros.guard import Guard
    from any2seg_ros.throttle import Throttle
    from any2seg_ros.transform_listener import TransformListener

    monkeypatch.setattr(distro, "transform_message", lambda: object)
    wire, tree = Wire(), TransformTree()
    guard = Guard(lambda name, error: wire.warning(repr(error)))
    return wire, tree, TransformListener(wire, tree, guard, Throttle().is_due)


def pose(move, turn) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix(), move
    return matrix


def test_value_latched_mount_and_moving_robot(listening):
    """A cloud of one moment in the camera of another: through odom, with the robot interpolated; by hand below."""
    wire_, tree, _ = listening
    camera, lidar = ([1.0, 0.0, 1.5], [0, 20, 0]), ([0.0, 0.5, 2.0], [0, 0, 90])
    static = wire(("base", "camera", 0, *camera), ("/base", "/lidar", 0, *lidar))
    wire_.send("/tf_static", static)
    for second, metres in ((10, 0.0), (11, 4.0)):
        wire_.send("/tf", wire(("odom", "base", second * NS_PER_S, [metres, 0, 0], [0, 0, 0])))
    found = tree.lookup("camera", 10_750_000_000, "lidar", 10_250_000_000, "odom")
    moved = pose([1.0 - 3.0, 0, 0], [0, 0, 0])  # 1 m along at the cloud, 3 m at the image
    np.testing.assert_allclose(found, np.linalg.inv(pose(*camera)) @ moved @ pose(*lidar), atol=1e-12)


def test_value_static_transforms_come_from_latched_publishers(listening):
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

    profile = listening[0].subscriptions["/tf_static"][1]
    assert profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert profile.reliability == ReliabilityPolicy.RELIABLE
    assert listening[0].subscriptions["/tf"][1].durability == DurabilityPolicy.VOLATILE


def test_value_nonsense_is_named_and_costs_only_its_message(listening):
    wire_, tree, listener = listening
    good = ("base", "camera", 0, [1, 2, 3], [0, 0, 0])
    wire_.send("/tf_static", wire(good))
    wire_.send("/tf_static", wire(("base", "base", 0, [0, 0, 0], [0, 0, 0])))
    for _ in range(2):  # the second one within the period of the log
        wire_.send("/tf", wire(("base", "lidar", 0, [np.nan, 0, 0], [0, 0, 0])))
    assert [text.startswith("tf: ") for text in wire_.warnings] == [True, True]
    np.testing.assert_allclose(tree.lookup("base", 0, "camera", 0), pose([1, 2, 3], [0, 0, 0]))
    assert tree.lookup("base", 0, "lidar", 0) is None
    listener.destroy()
    assert wire_.subscriptions == {}


def test_value_a_static_transform_that_changes_is_used_at_once_and_told(listening):
    wire_, tree, _ = listening
    first, second = (("base", "lidar", 0, [x, 0, 0], [0, 0, 0]) for x in (1, 3))
    other = ("base", "camera", 0, [0, 0, 1], [0, 0, 0])
    for edges in ((first, other), (first,), (other, first)):  # latched ones come again
        wire_.send("/tf_static", wire(*edges))
    assert wire_.warnings == []
    wire_.send("/tf_static", wire(second, other))
    assert wire_.warnings == ["/tf_static changes base to lidar: the new value holds from now on"]
    np.testing.assert_allclose(tree.lookup("camera", 0, "lidar", 0), pose([3, 0, -1], [0, 0, 0]))
