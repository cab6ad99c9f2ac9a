"""Acceptance, a model or a process that is too slow, and the account of every message: the node over real DDS."""

from __future__ import annotations

import signal
import time

import fake_car
import pytest
from acceptance import START_TIMEOUT_S, Listener, OddModelProcess, labels_until_fused, wait_for
from fake_car import NS_PER_S, START_NS, TOPICS

from any2seg_core.vocabulary.modalities import VEHICLE

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

AGE_LIMIT_S = 2.0  # of the node's defaults, for sensors of 10 Hz
DEADLINE_S = 0.4
ERROR = b"\x02"


@pytest.fixture(scope="module")
def node(monitor, checkpoint, calibration_file, tmp_path_factory):
    """Reliable, so that the test knows how many messages come in."""
    from any2seg_ros.processes import ros_arguments

    parameters = {"checkpoint": checkpoint, "calibration_file": calibration_file,
                  "input_reliability": "reliable", "input_depth": 500}  # fmt: skip
    process = OddModelProcess(ros_arguments(parameters, TOPICS.node_remappings()), tmp_path_factory.mktemp("node"))
    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), process.tail()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def diagnostics(monitor, node):
    from diagnostic_msgs.msg import DiagnosticArray

    listener = Listener(monitor.node, {"/diagnostics": (DiagnosticArray, 10)})
    assert wait_for(lambda: listener.got["/diagnostics"])
    yield listener
    listener.close()


@pytest.fixture()
def car(monitor, node):
    car = fake_car.FakeCar(monitor.node)
    labels_until_fused(monitor, VEHICLE.members)
    yield car
    node.tell()
    car.stop()


def told(diagnostics, text):
    """Function that gives the newest status once its message holds the text."""

    def look():
        status = diagnostics.got["/diagnostics"][-1].status[0]
        return status if text in status.message else None

    return look


def ages_s(monitor, car, begin):
    """Age of each label from the `begin`th on when it was received: since its image was sent."""
    return [
        (record.received_ns - car.sent_ns.get(record.stamp_ns, record.received_ns)) / NS_PER_S
        for record in monitor.recorded()[0][begin:]
    ]


def test_value_slow_model_is_named_while_it_is_busy_and_its_old_label_is_dropped(car, node, monitor, diagnostics):
    before = int(diagnostics.values("/diagnostics")["labels_too_old"])
    begin = len(monitor.recorded()[0])
    node.tell(delay_s=2.5)
    count = len(monitor.recorded()[0])
    assert wait_for(lambda: int(diagnostics.values("/diagnostics")["inference_busy_ms"]) > 1e3 * DEADLINE_S)
    begin_s = time.monotonic()
    status = wait_for(told(diagnostics, "model too slow: busy with a set for"))
    assert time.monotonic() - begin_s < 1.0
    assert "deadline 0.4 s" in status.message and status.level >= b"\x01"
    assert wait_for(lambda: diagnostics.got["/diagnostics"][-1].status[0].level == ERROR)
    assert wait_for(lambda: int(diagnostics.values("/diagnostics")["labels_too_old"]) > before)
    assert len(monitor.recorded()[0]) <= count + 1  # the one that was under way
    assert wait_for(told(diagnostics, "label dropped: 2."))
    assert wait_for(told(diagnostics, f"max_label_age_s is {AGE_LIMIT_S}"))
    node.tell()
    assert wait_for(lambda: diagnostics.values("/diagnostics")["fusion_state"] == "ok")
    assert max(ages_s(monitor, car, begin)) < AGE_LIMIT_S
    assert int(diagnostics.values("/diagnostics")["rgb.drops_too_old"]) >= 1
    assert "label dropped" in node.log.read_text()


def test_value_stopped_node_sends_no_old_label_when_it_goes_on(car, node, monitor, diagnostics):
    """Messages that wait in the transport meanwhile are as old as they are, whenever they are taken."""
    begin = len(monitor.recorded()[0])
    node.signal(signal.SIGSTOP)
    try:
        stopped_ns = car.stamp_ns
        assert wait_for(lambda: car.stamp_ns - stopped_ns > 5 * NS_PER_S)
    finally:
        node.signal(signal.SIGCONT)
    assert wait_for(lambda: monitor.recorded()[0][-1].stamp_ns > stopped_ns + 6 * NS_PER_S)
    assert max(ages_s(monitor, car, begin)) < AGE_LIMIT_S + 0.2  # the way to the monitor
    labels_until_fused(monitor, VEHICLE.members)


def accounted(values, sensor):
    """Messages of which it is told what became of them."""
    own = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{sensor}.")}
    drops = sum(int(value) for key, value in own.items() if key.startswith("drops_"))
    return int(own["fused"]) + int(own["waiting"]) + int(own["malformed"]) + int(own["ill"]) + drops


def test_value_every_message_is_accounted_for(node, monitor, diagnostics):
    """Good, zero, negative and repeated stamps, broken and black images, under a model that is slow and fails."""
    from sensor_msgs.msg import Image, PointCloud2

    def negative(stamp_ns):
        return fake_car.spoiled("rgb", lambda image: setattr(image.header.stamp, "sec", -1), stamp_ns)

    makers = [lambda stamp_ns: fake_car.message("rgb", stamp_ns)] * 6
    makers += [lambda _: fake_car.message("rgb", 0), negative, fake_car.broken_image, fake_car.black_image]
    kinds = {"rgb": Image, "lidar": PointCloud2}
    publishers = {name: monitor.node.create_publisher(kind, TOPICS.streams[name], 500) for name, kind in kinds.items()}
    assert wait_for(lambda: all(publisher.get_subscription_count() for publisher in publishers.values()))
    begin = len(diagnostics.got["/diagnostics"])
    assert wait_for(lambda: len(diagnostics.got["/diagnostics"]) > begin + 1)  # what the car before sent is counted
    before = {name: int(diagnostics.values("/diagnostics")[f"{name}.received"]) for name in kinds}
    labels = len(monitor.recorded()[0])
    sent = dict.fromkeys(kinds, 0)
    for index in range(80):
        stamp_ns = START_NS + 10_000 * NS_PER_S + index * 50_000_000
        node.tell(delay_s=0.15, fail=15 < index % 20 < 19)  # the last, a black image, neither fails nor is overrun
        messages = [("rgb", makers[index % len(makers)](stamp_ns)), ("lidar", fake_car.message("lidar", stamp_ns))]
        for name, message in messages + messages[:1] * (index % 7 == 0):
            publishers[name].publish(message)
            sent[name] += 1
        time.sleep(0.05)
    node.tell()

    reasons = ("drops_overrun", "drops_failed", "drops_bad_stamp", "malformed.stamp", "malformed.step", "ill.black")

    def values():  # what a message was dropped for can be told a moment after that it was received
        found = diagnostics.values("/diagnostics")
        received = all(int(found[f"{name}.received"]) == before[name] + sent[name] for name in kinds)
        return found if received and all(int(found.get(f"rgb.{reason}", 0)) for reason in reasons) else None

    found = wait_for(values)
    assert found, diagnostics.values("/diagnostics")
    for name in kinds:
        assert accounted(found, name) == int(found[f"{name}.received"])
    assert int(found["lidar.fused"]) >= len(monitor.recorded()[0]) - labels - 1
    for publisher in publishers.values():
        monitor.node.destroy_publisher(publisher)


def test_value_killed_publisher_is_not_blamed_on_stamps_of_long_ago(node, monitor, diagnostics):
    """Runs last: everything is silent. Zero stamps came in the test before."""
    assert int(diagnostics.values("/diagnostics")["rgb.drops_bad_stamp"]) >= 1
    status = wait_for(told(diagnostics, "nothing comes from"))
    assert status and "stamps" not in status.message
    assert "rgb" in status.message
    assert wait_for(lambda: diagnostics.values("/diagnostics")["rgb.fault"] == "dead", 2.0)
    assert diagnostics.values("/diagnostics")["rgb.state"] == "dead"
