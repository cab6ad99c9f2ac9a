"""Acceptance, sensors that come and go: the node as a process of its own over real DDS; the oracle is what was sent."""

from __future__ import annotations

import signal
import time

import fake_car
import numpy as np
import pytest
from acceptance import (
    DEAD_AFTER_MS,
    START_TIMEOUT_S,
    TIMEOUT_S,
    Listener,
    labels_until_fused,
    longest_gap_ms,
    wait_for,
)
from fake_car import HEIGHT, PERIOD_NS, TOPICS, WIDTH

from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

# timeout_without_reference_s and the car's period, until each sensor has sent; the rest is the model and its transport
FIRST_AFTER_MS = 200.0 + 100.0 + 250.0


@pytest.fixture(scope="module")
def monitor(node_process):
    from any2seg_ros.demo_monitor import Monitor

    monitor = Monitor("segment", TOPICS.truth)
    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), node_process.tail()
    yield monitor
    monitor.close()


@pytest.fixture(scope="module")
def car(monitor):
    car = fake_car.FakeCar(monitor.node)
    yield car
    car.stop()


@pytest.mark.parametrize("alive", all_subsets()[:-1], ids=",".join)
def test_property_every_subset_survives_and_whoever_returns_is_used(car, monitor, alive):
    """Kill all others mid-run, then give them back; labels go on meanwhile."""
    usual_ms = longest_gap_ms(labels_until_fused(monitor, VEHICLE.members))  # says how busy the machine is
    car.silent = set(VEHICLE.members) - set(alive)
    try:
        records = labels_until_fused(monitor, alive)
    finally:
        car.silent = set()
    partial = [record for record in records if record.used == alive]
    steps_ns = np.diff([record.stamp_ns for record in partial])
    assert (steps_ns > 0).all()
    for record in partial:
        assert record.labels.shape == (HEIGHT, WIDTH)
        assert record.reference == alive[0]  # the best that is alive leads
    assert longest_gap_ms(records) <= DEAD_AFTER_MS + 3 * usual_ms
    assert longest_gap_ms(labels_until_fused(monitor, VEHICLE.members)) <= DEAD_AFTER_MS + 3 * usual_ms


def transition(monitor, name):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    client = monitor.node.create_client(ChangeState, "/segment/change_state")
    assert client.wait_for_service(TIMEOUT_S)
    future = client.call_async(ChangeState.Request(transition=Transition(label=name)))
    wait_for(future.done)
    monitor.node.destroy_client(client)
    return future.result().success


@pytest.mark.parametrize("absent", VEHICLE.members)
def test_value_start_with_a_sensor_that_was_never_seen(car, monitor, absent):
    """A new activation knows nothing of what came before; it says who is missing and why, and does not wait for it."""
    from diagnostic_msgs.msg import DiagnosticArray

    alive = tuple(name for name in VEHICLE.members if name != absent)
    usual_ms = longest_gap_ms(labels_until_fused(monitor, VEHICLE.members))
    assert transition(monitor, "deactivate")
    car.silent = set(VEHICLE.members)
    assert wait_for(lambda: not any(car.listeners().values()))
    listener = Listener(monitor.node, {"/segment/out/modalities": (DiagnosticArray, 10)})
    try:
        assert transition(monitor, "activate")
        assert wait_for(lambda: all(car.listeners().values()))
        count, begin_ns = len(monitor.recorded()[0]), time.monotonic_ns()
        car.silent = {absent}
        labels_until_fused(monitor, alive)
        first_ms = (monitor.recorded()[0][count].received_ns - begin_ns) / 1e6
        assert first_ms <= FIRST_AFTER_MS + 3 * usual_ms
        assert wait_for(lambda: listener.values("/segment/out/modalities").get(f"{absent}.missing") == "never_seen")
    finally:
        car.silent = set()
        listener.close()
    labels_until_fused(monitor, VEHICLE.members)


def test_value_ill_sensor_is_left_out_and_named_until_the_check_is_switched_off(car, monitor):
    from diagnostic_msgs.msg import DiagnosticArray
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters

    def set_check(is_on):
        value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=is_on)
        request = SetParameters.Request(parameters=[Parameter(name="health.enabled", value=value)])
        client = monitor.node.create_client(SetParameters, "/segment/set_parameters")
        assert client.wait_for_service(TIMEOUT_S)
        future = client.call_async(request)
        assert wait_for(future.done)
        monitor.node.destroy_client(client)
        assert future.result().results[0].successful

    listener = Listener(monitor.node, {"/diagnostics": (DiagnosticArray, 10)})
    car.instead = {"rgb": fake_car.black_image}
    try:
        labels_until_fused(monitor, ("depth", "event", "lidar"))
        assert wait_for(lambda: int(listener.values("/diagnostics").get("rgb.ill.black", 0)) > 0)
        assert "black" in listener.values("/diagnostics")["rgb.missing"]
        set_check(False)
        labels_until_fused(monitor, VEHICLE.members)
    finally:
        car.instead = {}
        set_check(True)
        listener.close()


def test_value_header_size_and_ids_are_those_of_the_reference(car, monitor):
    from sensor_msgs.msg import Image

    received = Listener(monitor.node, {"/segment/out/label": (Image, 10)})
    assert wait_for(lambda: len(received.got["/segment/out/label"]) >= 3)
    received.close()
    for message in received.got["/segment/out/label"]:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert stamp_ns % PERIOD_NS == 0  # only the camera fires then
        assert message.header.frame_id == "ego_vehicle/rgb_front"
        assert (message.width, message.height, message.step, message.encoding) == (WIDTH, HEIGHT, WIDTH, "mono8")
        assert set(message.data) == {6}  # the class of the stand-in


def test_value_late_joiner_gets_the_class_names(car, monitor):
    """As JSON in a std_msgs/String, which every machine has; vision_msgs/LabelInfo only where it is installed."""
    import json

    from std_msgs.msg import String

    from any2seg_core.vocabulary.labels import DELIVER
    from any2seg_ros import distro, qos

    topics = {"/segment/out/label_info_json": (String, qos.LATCHED)}
    if (messages := distro.vision_messages()) is not None:
        topics["/segment/out/label_info"] = (messages.LabelInfo, qos.LATCHED)
    listener = Listener(monitor.node, topics)
    assert wait_for(lambda: all(listener.got.values()))
    listener.close()
    info = json.loads(listener.got["/segment/out/label_info_json"][-1].data)
    assert [entry["class_name"] for entry in info["class_map"]] == list(DELIVER.classes)
    assert [entry["class_id"] for entry in info["class_map"]] == list(range(25))
    assert info["unlabelled"] == 255
    for message in listener.got.get("/segment/out/label_info", []):
        assert [entry.class_name for entry in message.class_map] == list(DELIVER.classes)


def test_value_semantic_cloud_has_the_header_and_the_points_of_the_cloud(car, monitor):
    from sensor_msgs.msg import PointCloud2

    from any2seg_core.messages import cloud_to_points, stamp_ns
    from any2seg_core.vocabulary.labels import DELIVER

    inputs, outputs = TOPICS.streams["lidar"], "/segment/out/points"
    listener = Listener(monitor.node, {inputs: (PointCloud2, 50), outputs: (PointCloud2, 10)})
    assert wait_for(lambda: len(listener.got[outputs]) >= 3)
    listener.close()
    sent = {stamp_ns(message.header): message for message in listener.got[inputs]}
    message = listener.got[outputs][-1]
    original = sent[stamp_ns(message.header)]
    assert message.header.frame_id == original.header.frame_id == "ego_vehicle/lidar"
    np.testing.assert_array_equal(cloud_to_points(message)[:, :3], cloud_to_points(original)[:, :3])
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb", "label", "confidence"]
    raw = np.frombuffer(message.data, np.uint8).reshape(-1, message.point_step)
    offsets = {field.name: field.offset for field in message.fields}
    labels = raw[:, offsets["label"] : offsets["label"] + 2].copy().view("<u2")[:, 0]
    colours = raw[:, offsets["rgb"] : offsets["rgb"] + 3]
    confidence = raw[:, offsets["confidence"] : offsets["confidence"] + 4].copy().view("<f4")[:, 0]
    assert set(labels) == {6, 65535}
    assert (colours[labels == 6][:, ::-1] == DELIVER.colours[6]).all()
    assert (confidence == np.where(labels == 6, np.float32(0.75), 0)).all()


def test_value_aligned_cloud_is_what_a_costmap_layer_of_nav2_reads(car, monitor):
    """Its subscriptions (best effort), its test of the sizes, and its walk: one x, y, z per pixel of the mask in a row.

    The layer (semantic_segmentation_layer 1.0.0) takes x, y and z by name as float32 and skips pixels that are not
    finite. Values by the closed form of the pinhole from the depth that the car sent.
    """
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image, PointCloud2, PointField

    from any2seg_core.messages import stamp_ns

    mask, certainty, cloud = (f"/segment/out/{name}" for name in ("label", "confidence", "aligned_points"))
    kinds = {mask: Image, certainty: Image, cloud: PointCloud2, TOPICS.streams["depth"]: Image}
    listener = Listener(monitor.node, {topic: (kind, qos_profile_sensor_data) for topic, kind in kinds.items()})
    assert wait_for(lambda: len(listener.got[cloud]) >= 3)
    assert wait_for(lambda: len(listener.got[certainty]) >= 3)
    listener.close()
    found = listener.got[cloud][1]
    (label,) = [message for message in listener.got[mask] if message.header == found.header]
    (sure,) = [message for message in listener.got[certainty] if message.header == found.header]
    assert label.encoding == sure.encoding == "mono8" and label.step == label.width
    assert (found.height, found.width) == (label.height, label.width) == (sure.height, sure.width) == (HEIGHT, WIDTH)
    assert [(field.name, field.offset, field.datatype, field.count) for field in found.fields] == [
        ("x", 0, PointField.FLOAT32, 1), ("y", 4, PointField.FLOAT32, 1), ("z", 8, PointField.FLOAT32, 1)
    ]  # fmt: skip
    assert (found.point_step, found.row_step, len(found.data)) == (12, 12 * WIDTH, 12 * WIDTH * HEIGHT)
    assert not found.is_dense and not found.is_bigendian and found.header.frame_id == "ego_vehicle/rgb_front"
    points = np.frombuffer(found.data, "<f4").reshape(HEIGHT, WIDTH, 3)
    sent = min(listener.got[TOPICS.streams["depth"]], key=lambda m: abs(stamp_ns(m.header) - stamp_ns(found.header)))
    depth_m = np.frombuffer(sent.data, "<f4").reshape(HEIGHT, WIDTH)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    focal = fake_car.CAMERA.K[0, 0]
    np.testing.assert_array_equal(points[..., 2], depth_m)
    np.testing.assert_allclose(points[..., 0], (u - (WIDTH - 1) / 2) / focal * depth_m, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(points[..., 1], (v - (HEIGHT - 1) / 2) / focal * depth_m, rtol=1e-5, atol=1e-5)


def test_value_without_depth_the_aligned_cloud_is_that_of_the_lidar(car, monitor):
    from sensor_msgs.msg import PointCloud2

    topic = "/segment/out/aligned_points"
    car.silent = {"depth"}
    try:
        labels_until_fused(monitor, ("rgb", "event", "lidar"))
        listener = Listener(monitor.node, {topic: (PointCloud2, 10)})
        assert wait_for(lambda: len(listener.got[topic]) >= 2)
    finally:
        car.silent = set()
    listener.close()
    points = np.frombuffer(listener.got[topic][-1].data, "<f4").reshape(HEIGHT, WIDTH, 3)
    row, column = np.nonzero(np.isfinite(points[..., 2]))
    assert 20 < len(row) < 800  # the points that the car sends
    uv, seen = fake_car.CAMERA.project(points[row, column])
    assert seen.all() and (np.rint(uv) == np.stack([column, row], -1)).mean() > 0.99  # float32 on the edge of a pixel


def test_value_sigterm_in_the_middle_of_an_inference_ends_the_node_within_two_seconds(car, monitor, node_process):
    """Runs last. The model of this moment takes a minute."""
    node_process.tell(delay_s=60.0)

    def stands_still():
        count = len(monitor.recorded()[0])
        time.sleep(1.0)
        return len(monitor.recorded()[0]) == count

    assert wait_for(stands_still)
    begin_s = time.monotonic()
    node_process.signal(signal.SIGTERM)
    assert node_process.wait(10.0) == 0, node_process.tail()
    assert time.monotonic() - begin_s < 2.0
    assert "Traceback" not in node_process.log.read_text()
