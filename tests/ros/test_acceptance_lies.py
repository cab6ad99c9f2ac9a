"""Acceptance, sensors that lie: labels go on, made of those that do not, and the diagnostics name sensor and reason.

The node as a process of its own over real DDS, with the shipped checkpoint. The oracle is what was sent.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager

import fake_car
import numpy as np
import pytest
from acceptance import START_TIMEOUT_S, Listener, OddModelProcess, labels_until, longest_gap_ms, wait_for
from fake_car import NS_PER_S, PERIOD_NS, TOPICS

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.messages import serialise

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

CHECKPOINT = default_checkpoint()
SENSORS = ("rgb", "lidar")
# The longest gap of the promise for 10 Hz sensors: 2.5 periods and the wait for the others; the rest is the model.
BOUND_MS = 250.0 + 50.0
TOLD_S = 1.0


@pytest.fixture(scope="module")
def node(monitor, calibration_file, tmp_path_factory):
    from any2seg_ros.processes import ros_arguments

    parameters = {"checkpoint": CHECKPOINT, "calibration_file": calibration_file, "inference_deadline_s": 1.0}
    process = OddModelProcess(ros_arguments(parameters, TOPICS.node_remappings()), tmp_path_factory.mktemp("node"))
    process.tell(real=True)
    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), process.tail()
    yield process
    process.stop()


class Reports(Listener):
    """Diagnostics with the time at which they came."""

    def __init__(self, node) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        super().__init__(node, {"/diagnostics": (DiagnosticArray, 10)})

    def until(self, condition):
        """The newest status as soon as (message, values) fulfil a condition; how long that took, in seconds."""
        begin_s = time.monotonic()

        def look():
            status = self.got["/diagnostics"][-1].status[0]
            values = {pair.key: pair.value for pair in status.values}
            return (status, values) if condition(status.message, values) else None

        assert wait_for(lambda: self.got["/diagnostics"])
        found = wait_for(look, 20.0)
        assert found, self.got["/diagnostics"][-1].status[0].message
        return *found, time.monotonic() - begin_s


@pytest.fixture(scope="module")
def reports(monitor, node):
    reports = Reports(monitor.node)
    yield reports
    reports.close()


@pytest.fixture(scope="module")
def car(monitor, reports):
    car = fake_car.FakeCar(monitor.node, silent=("depth", "event"))
    labels_until(monitor, lambda record: record.used == SENSORS)
    yield car
    car.stop()


@contextmanager
def lying(car, monitor, reports, **instead):
    """Sensors send something else for a while; before and afterwards both are fused and nothing is wrong with them."""
    car.instead = instead
    try:
        yield
    finally:
        car.instead = {}
        labels_until(monitor, lambda record: record.used == SENSORS)
        reports.until(lambda _, values: not any(values[f"{sensor}.fault"] for sensor in SENSORS))


def repeating(sensor, frames):
    """Its last frames again and again, as a ring buffer that nobody fills."""
    held: list[bytes] = []
    turn = itertools.count()

    def make(stamp_ns):
        if len(held) < frames:
            held.append(fake_car.message(sensor, stamp_ns))
            return held[-1]
        return held[next(turn) % frames]

    return make


def backwards(sensor):
    """The clock runs back from where it was."""
    first_ns: list[int] = []

    def make(stamp_ns):
        first_ns.append(stamp_ns)
        return fake_car.message(sensor, 2 * first_ns[0] - stamp_ns)

    return make


def at_the_origin(stamp_ns):
    """A cloud as a driver makes it without returns: all points where the sensor is."""
    return serialise.point_cloud(np.zeros((800, 4), np.float32), stamp_ns, "ego_vehicle/lidar")


def behind(stamp_ns):
    """A LiDAR that looks to the other side, or whose extrinsics are wrong."""
    points = np.random.default_rng(stamp_ns).uniform([-40, -8, -2, 0], [-2, 8, 2, 1], (800, 4)).astype(np.float32)
    return serialise.point_cloud(points, stamp_ns, "ego_vehicle/lidar")


def every_fourth_ahead(stamp_ns):
    ahead_ns = 400_000_000 if stamp_ns // PERIOD_NS % 4 == 0 else 0
    return fake_car.message("rgb", stamp_ns + ahead_ns)


def fuses(sensor):
    return lambda record: sensor in record.used


def labels_while(monitor, reports, condition):
    """Labels from now until the diagnostics fulfil a condition and two seconds more; that status, and when it came."""
    begin = len(monitor.recorded()[0])
    status, values, took_s = reports.until(condition)
    end_ns = time.monotonic_ns() + 2 * NS_PER_S
    assert wait_for(lambda: time.monotonic_ns() > end_ns)
    records = monitor.recorded()[0][max(begin - 1, 0) :]
    assert len(records) > 5
    return records, status, values, took_s


@pytest.mark.parametrize(
    ("liar", "healthy", "make", "reason", "detectable_s"),
    [
        ("rgb", "lidar", lambda: repeating("rgb", 2), "repeats", 0.5),
        ("rgb", "lidar", lambda: repeating("rgb", 3), "repeats", 0.7),
        ("lidar", "rgb", lambda: repeating("lidar", 2), "repeats", 0.5),
        ("rgb", "lidar", lambda: backwards("rgb"), "backwards", 0.5),
        ("lidar", "rgb", lambda: backwards("lidar"), "backwards", 0.5),
        ("lidar", "rgb", lambda: at_the_origin, "sparse", 0.1),
        ("lidar", "rgb", lambda: behind, "empty", 0.1),
        ("rgb", "lidar", lambda: fake_car.black_image, "black", 0.1),
        ("rgb", "lidar", lambda: every_fourth_ahead, "future", 0.5),
    ],
    ids=["rgb repeats 2", "rgb repeats 3", "lidar repeats 2", "rgb backwards", "lidar backwards",
         "lidar at the origin", "lidar behind", "rgb black", "rgb future"],
)  # fmt: skip
def test_property_labels_go_on_and_the_liar_is_named(car, monitor, reports, liar, healthy, make, reason, detectable_s):
    usual_ms = longest_gap_ms(labels_until(monitor, fuses(healthy)))  # says how busy the machine is
    with lying(car, monitor, reports, **{liar: make()}):
        records, status, values, took_s = labels_while(
            monitor, reports, lambda _, values: values.get(f"{liar}.fault") == reason
        )
        assert took_s < detectable_s + TOLD_S
        assert status.level >= b"\x01"
        assert f"{liar}" in status.message and values[f"{liar}.fault_text"] in status.message
        assert longest_gap_ms(records) <= BOUND_MS + 3 * usual_ms
        assert np.mean([healthy in record.used for record in records if record.used]) >= 0.95
        last = labels_until(monitor, fuses(healthy))[-3:]
        if reason != "future":  # single wrong stamps leave the others as they are
            assert all(record.used == (healthy,) for record in last)
        assert values[f"{healthy}.fault"] == ""
        reports.until(lambda _, values: float(values[f"{liar}.reliability"]) <= 0.5)


def test_property_second_publisher_an_hour_apart_is_named_and_one_of_them_followed(car, monitor, reports):
    """A replay beside a live driver, while depth and event camera were never seen."""
    from sensor_msgs.msg import Image

    usual_ms = longest_gap_ms(labels_until(monitor, lambda record: record.used == SENSORS))
    publisher = monitor.node.create_publisher(Image, TOPICS.streams["rgb"], 10)
    running = threading.Event()

    def replay():
        while not running.wait(0.1):
            publisher.publish(fake_car.message("rgb", car.stamp_ns + 3600 * NS_PER_S))

    thread = threading.Thread(target=replay, daemon=True)
    thread.start()
    try:
        records, status, values, took_s = labels_while(
            monitor, reports, lambda _, values: values.get("rgb.fault") == "two_publishers"
        )
    finally:
        running.set()
        thread.join(2.0)
        monitor.node.destroy_publisher(publisher)
    assert took_s < 0.5 + TOLD_S
    assert "rgb: two publishers 3600 s apart" in status.message
    assert (values["rgb.publishers"], values["lidar.fault"]) == ("2", "")
    assert longest_gap_ms(records) <= BOUND_MS + 3 * usual_ms
    labels_until(monitor, lambda record: record.used == SENSORS)


def test_value_reliability_comes_with_every_label(car, monitor):
    from diagnostic_msgs.msg import DiagnosticArray

    topic = "/segment/out/modalities"
    listener = Listener(monitor.node, {topic: (DiagnosticArray, 10)})
    assert wait_for(lambda: len(listener.got[topic]) >= 5)
    values = listener.values(topic)
    listener.close()
    for sensor in SENSORS:
        parts = {key: float(value) for key, value in values.items() if key.startswith(f"{sensor}.reliability.")}
        assert {f"{sensor}.reliability.{part}" for part in ("presence", "data", "clock")} <= set(parts)
        assert float(values[f"{sensor}.reliability"]) == min(parts.values())
        assert all(0.0 <= value <= 1.0 for value in parts.values())
    assert "depth.reliability" not in values  # never seen


def test_value_logits_that_are_not_finite_are_no_labels_and_an_error_until_they_are_again(car, node, monitor, reports):
    labels_until(monitor, lambda record: record.used == SENSORS)
    node.tell(real=True, not_finite=True)
    try:
        status, values, took_s = reports.until(lambda message, _: "labels not finite" in message)
        assert took_s < TOLD_S
        assert status.level == b"\x02"
        assert "labels not finite: 100 % of the pixels" in status.message
        records = labels_until(monitor, lambda record: bool((record.labels == 255).all()))
        assert len(records) >= 3
        assert int(values["labels_not_finite"]) >= 1
    finally:
        node.tell(real=True)
    labels_until(monitor, lambda record: bool((record.labels != 255).any()))
    assert reports.until(lambda message, _: "not finite" not in message)[0].level < b"\x02"


def test_value_slow_model_is_named_while_it_is_busy_and_no_old_label_goes_out(car, node, monitor, reports):
    """Row by row as the others, with the shipped checkpoint; more about age and speed in test_acceptance_slow.py."""
    begin = len(monitor.recorded()[0])
    node.tell(real=True, delay_s=2.5)
    try:
        status, _, took_s = reports.until(lambda message, _: "model too slow: busy with a set for" in message)
        assert took_s < 1.0 + TOLD_S + 0.5  # its deadline, and the set before
        assert status.level >= b"\x01"
        reports.until(lambda message, _: "label dropped: " in message)
    finally:
        node.tell(real=True)
    labels_until(monitor, lambda record: record.used == SENSORS)
    ages_s = [
        (record.received_ns - car.sent_ns[record.stamp_ns]) / NS_PER_S
        for record in monitor.recorded()[0][begin:]
        if record.stamp_ns in car.sent_ns
    ]
    assert max(ages_s) < 2.0
