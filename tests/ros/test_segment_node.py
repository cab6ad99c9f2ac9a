"""The node as a process of its own, over real DDS. The oracle is what the fake car sent."""

from __future__ import annotations

import time

import fake_car
import numpy as np
import pytest
from acceptance import DEAD_AFTER_MS, START_TIMEOUT_S, labels_until, longest_gap_ms, wait_for
from fake_car import HEIGHT, PERIOD_NS, TOPICS, WIDTH

from any2seg_core.vocabulary.modalities import VEHICLE

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def node_process(domain, checkpoint, calibration_file, tmp_path_factory):
    from any2seg_ros.processes import RosProcess, ros_arguments

    arguments = ros_arguments(
        {"checkpoint": checkpoint, "calibration_file": calibration_file}, TOPICS.node_remappings()
    )
    process = RosProcess("any2seg_ros.segment_node", arguments, tmp_path_factory.mktemp("node") / "node.log")
    yield process
    process.stop()


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
    assert wait_for(lambda: monitor.state().labels > 3, 20.0), "no label although all sensors send"
    yield car
    car.stop()


def test_value_label_has_header_size_and_ids_of_the_reference(car, monitor):
    received = []
    from sensor_msgs.msg import Image

    subscription = monitor.node.create_subscription(Image, "/segment/out/label", received.append, 10)
    assert wait_for(lambda: len(received) >= 3, 10.0)
    monitor.node.destroy_subscription(subscription)
    for message in received:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert stamp_ns % PERIOD_NS == 0  # only the camera fires then
        assert message.header.frame_id == "ego_vehicle/rgb_front"
        assert (message.width, message.height, message.step, message.encoding) == (WIDTH, HEIGHT, WIDTH, "mono8")
        ids = np.frombuffer(message.data, np.uint8)
        assert ids.size == WIDTH * HEIGHT
        assert ids[ids != 255].max() < 25
    assert labels_until(monitor, fuses(*VEHICLE.members))[-1].used == VEHICLE.members


def fuses(*sensors):
    return lambda record: set(record.used) == set(sensors)


@pytest.mark.parametrize("dead", [*((name,) for name in VEHICLE.members), ("rgb", "depth", "lidar")], ids=",".join)
def test_property_labels_go_on_without(car, monitor, dead):
    usual_ms = longest_gap_ms(labels_until(monitor, fuses(*VEHICLE.members)))  # says how busy the machine is
    alive = [name for name in VEHICLE.members if name not in dead]
    car.silent = set(dead)
    try:
        records = labels_until(monitor, fuses(*alive))
    finally:
        car.silent = set()
    assert records[-1].used == tuple(alive)
    assert longest_gap_ms(records) <= DEAD_AFTER_MS + 3 * usual_ms
    back = labels_until(monitor, fuses(*VEHICLE.members))[-1]
    assert back.used == VEHICLE.members, "a sensor that came back is not used"


def test_value_bad_message_costs_only_its_own_sensor(car, monitor, node_process):
    car.instead = {"rgb": fake_car.broken_image}
    try:
        records = labels_until(monitor, fuses("depth", "event", "lidar"))
    finally:
        car.instead = {}
    assert records[-1].used == ("depth", "event", "lidar")
    assert "step 7 is smaller than a row" in node_process.log.read_text()
    assert labels_until(monitor, fuses(*VEHICLE.members))[-1].used == VEHICLE.members


def test_value_time_may_jump_back_as_in_a_bag_that_loops(car, monitor):
    last_ns = monitor.recorded()[0][-1].stamp_ns
    car.stamp_ns = fake_car.START_NS - 50 * fake_car.NS_PER_S
    every = set(VEHICLE.members)
    records = labels_until(monitor, lambda record: record.stamp_ns < last_ns and set(record.used) == every)
    assert records[-1].stamp_ns < last_ns
    assert records[-1].used == VEHICLE.members


def test_value_late_joiner_gets_pictures_on_demand(car, monitor):
    from sensor_msgs.msg import Image

    wanted = {"color": "rgb8", "overlay": "rgb8", "confidence": "mono8"}
    got: dict[str, Image] = {}
    subscriptions = [
        monitor.node.create_subscription(Image, f"/segment/out/{name}", lambda m, name=name: got.update({name: m}), 2)
        for name in wanted
    ]
    assert wait_for(lambda: len(got) == 3, 10.0)
    for subscription in subscriptions:
        monitor.node.destroy_subscription(subscription)
    for name, encoding in wanted.items():
        assert (got[name].encoding, got[name].width, got[name].height) == (encoding, WIDTH, HEIGHT)


def test_value_diagnostics_tell_rates_and_drops(car, monitor):
    from diagnostic_msgs.msg import DiagnosticArray

    got: list[DiagnosticArray] = []
    subscription = monitor.node.create_subscription(DiagnosticArray, "/diagnostics", got.append, 2)
    assert wait_for(lambda: len(got) >= 1, 8.0)
    monitor.node.destroy_subscription(subscription)
    values = {pair.key: pair.value for pair in got[-1].status[0].values}
    assert got[-1].status[0].name == "segment: fusion"
    assert values["reference_stream"] == "rgb"
    assert abs(float(values["rgb.rate_hz"]) - 10.0) < 0.5
    assert int(values["rgb.malformed"]) >= 1
    assert {"rgb.drops_no_match", "rgb.drops_late", "rgb.drops_queue", "rgb.drops_jump"} <= set(values)
    assert int(values["time_jumps"]) >= 1


def test_value_sigint_ends_a_working_node_within_two_seconds(car, node_process):
    """Runs last: the node is in the middle of its work."""
    assert node_process.returncode is None
    begin_s = time.monotonic()
    assert node_process.stop(timeout_s=4.0) == 0, node_process.tail()
    assert time.monotonic() - begin_s < 2.0
    assert "Traceback" not in node_process.log.read_text()
