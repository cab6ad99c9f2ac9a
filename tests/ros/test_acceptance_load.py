"""Acceptance, trouble from within and from the transport: a slow model, a failing model, bags that loop, QoS.

Nodes are processes of their own over real DDS; their model is a stand-in that is told at run time what to do.
"""

from __future__ import annotations

import threading
import time

import fake_car
import numpy as np
import pytest
from acceptance import START_TIMEOUT_S, Listener, OddModelProcess, wait_for
from fake_car import NS_PER_S, START_NS, TOPICS

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

COMBINATIONS = {"bb": ("best_effort", "best_effort"), "br": ("best_effort", "reliable"),
                "rb": ("reliable", "best_effort"), "rr": ("reliable", "reliable")}  # fmt: skip
MOST_SETS_REPLACED = 6
"""Of the 60 sets of two loops, in a try that counts."""


@pytest.fixture(scope="module")
def node(monitor, checkpoint, calibration_file, tmp_path_factory):
    """One node with all sensors, whose queues hold a whole recording of the fake car."""
    from any2seg_ros.processes import ros_arguments

    parameters = {"checkpoint": checkpoint, "calibration_file": calibration_file,
                  "input_reliability": "reliable", "input_depth": 100}  # fmt: skip
    process = OddModelProcess(ros_arguments(parameters, TOPICS.node_remappings()), tmp_path_factory.mktemp("node"))
    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), process.tail()
    yield process
    process.stop()


@pytest.fixture()
def diagnostics(monitor):
    from diagnostic_msgs.msg import DiagnosticArray

    listener = Listener(monitor.node, {"/diagnostics": (DiagnosticArray, 10)})
    assert wait_for(lambda: listener.got["/diagnostics"])
    yield listener
    listener.close()


class Camera:
    """Publishes camera images only, at a rate, with stamps of the same rate."""

    def __init__(self, node, rate_hz: float, start_ns: int) -> None:
        from sensor_msgs.msg import Image

        self._publisher = node.create_publisher(Image, TOPICS.streams["rgb"], 10)
        self._period_s, self._stamp_ns = 1.0 / rate_hz, start_ns
        self._running = True
        self._thread = threading.Thread(target=self._drive, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._running = False
        self._thread.join(2.0)

    def _drive(self) -> None:
        due_s = time.monotonic()
        while self._running:
            self._publisher.publish(fake_car.message("rgb", self._stamp_ns))
            self._stamp_ns += round(self._period_s * NS_PER_S)
            due_s += self._period_s
            time.sleep(max(0.0, due_s - time.monotonic()))


def bag_with_leftovers(path):
    """Three seconds of the fake car, and ten clouds after the last image that match nothing."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    from any2seg_core.messages import serialise

    entries = []
    for index in range(30):
        stamp_ns = START_NS + index * fake_car.PERIOD_NS
        entries += [(stamp_ns, name) for name in ("rgb", "depth", "lidar")]
    last_ns = entries[-1][0]
    entries += [(last_ns + k * 5_000_000, "lidar") for k in range(1, 11)]
    store, connections = serialise.typestore(), {}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for stamp_ns, name in sorted(entries):
            if name not in connections:
                connections[name] = writer.add_connection(TOPICS.streams[name], fake_car.TYPES[name], typestore=store)
            writer.write(connections[name], stamp_ns, fake_car.message(name, stamp_ns))
    return path


def loops_of_labels(monitor, bag, folder) -> tuple[list[int], list[int]]:
    """Play a bag twice in a row; the stamps of its images' labels in each loop."""
    from any2seg_ros.processes import RosProcess, ros_arguments

    before = len(monitor.recorded()[0])
    arguments = ros_arguments({"bag": bag, "loops": 2, "rate": 0.5, "wait_s": 20.0})
    replay = RosProcess("any2seg_ros.replay_node", arguments, folder / "replay.log")
    try:
        assert replay.wait(START_TIMEOUT_S) == 0, replay.tail()
    finally:
        replay.stop()
    images = [START_NS + index * fake_car.PERIOD_NS for index in range(30)]

    def loops():
        stamps = [record.stamp_ns for record in monitor.recorded()[0][before:]]
        cut = next((k for k in range(1, len(stamps)) if stamps[k] < stamps[k - 1] - NS_PER_S), len(stamps))
        return [stamp for stamp in stamps[:cut] if stamp in images], [s for s in stamps[cut:] if s in images]

    wait_for(lambda: images[-1] in loops()[1], 10.0)
    return loops()


def test_value_a_bag_that_loops_twice_gives_the_same_labels_each_time(node, monitor, diagnostics, tmp_path):
    """Every image has its label in both loops, save those whose set the node itself says a newer one replaced.

    On a busy machine a set is replaced now and then; a try with many of them would say nothing and is repeated.
    """
    bag = bag_with_leftovers(tmp_path / "bag")
    images = [START_NS + index * fake_car.PERIOD_NS for index in range(30)]
    for _ in range(4):
        overrun_before = int(diagnostics.values("/diagnostics")["sets_overrun"])
        loops = loops_of_labels(monitor, bag, tmp_path)
        seen = len(diagnostics.got["/diagnostics"])
        assert wait_for(lambda seen=seen: len(diagnostics.got["/diagnostics"]) > seen + 1)
        overrun = int(diagnostics.values("/diagnostics")["sets_overrun"]) - overrun_before
        if overrun <= MOST_SETS_REPLACED:
            break
    assert overrun <= MOST_SETS_REPLACED
    for loop in loops:
        assert loop == sorted(set(loop)) and set(loop) <= set(images)
    assert sum(len(images) - len(loop) for loop in loops) <= overrun
    assert int(diagnostics.values("/diagnostics")["time_jumps"]) >= 1


def test_value_a_model_that_fails_stops_nothing(node, monitor, diagnostics):
    """Logged, ERROR in diagnostics with the reason, and labels again as soon as the model works again."""
    car = fake_car.FakeCar(monitor.node)
    try:
        assert wait_for(lambda: diagnostics.values("/diagnostics")["fusion_state"] == "ok")
        node.tell(fail=True)
        assert wait_for(lambda: diagnostics.got["/diagnostics"][-1].status[0].level == b"\x02")
        assert "the model fails as it was told to" in diagnostics.got["/diagnostics"][-1].status[0].message
        received = int(diagnostics.values("/diagnostics")["rgb.received"])
        assert wait_for(lambda: int(diagnostics.values("/diagnostics")["rgb.received"]) > received + 5)
        node.tell()
        assert wait_for(lambda: diagnostics.values("/diagnostics")["fusion_state"] == "ok")
        assert diagnostics.got["/diagnostics"][-1].status[0].level == b"\x00"
    finally:
        node.tell()
        car.stop()
    assert "the model fails as it was told to" in node.log.read_text()


def test_value_labels_of_a_2_hz_model_under_a_30_hz_camera_stay_fresh(node, monitor, diagnostics):
    """Age of a label, from the arrival of its image to its publication, against twice the time of an inference."""
    from diagnostic_msgs.msg import DiagnosticArray

    topic = "/segment/out/modalities"
    node.tell(delay_s=0.5)
    before = int(diagnostics.values("/diagnostics")["sets_overrun"])
    listener = Listener(monitor.node, {topic: (DiagnosticArray, 100)})
    camera = Camera(monitor.node, 30.0, START_NS + 1000 * NS_PER_S)
    try:
        assert wait_for(lambda: len(listener.got[topic]) >= 14)
        assert wait_for(lambda: int(diagnostics.values("/diagnostics")["sets_overrun"]) - before >= 50)
    finally:
        camera.stop()
        node.tell()
        listener.close()
    pairs = [{pair.key: pair.value for pair in message.status[0].values} for message in listener.got[topic]][2:]
    inference_ms = np.array([float(values["inference_ms"]) for values in pairs])
    latency_ms = np.array([float(values["latency_ms"]) for values in pairs])
    assert (inference_ms >= 500).all()
    # A label waits for the inference before its own at the longest, and it is the newest set that then goes in.
    assert (latency_ms[1:] < inference_ms[1:] + inference_ms[:-1] + 100).all(), (latency_ms, inference_ms)
    assert np.median(latency_ms) < 2 * np.median(inference_ms)


@pytest.fixture(scope="module")
def pairs_of_qos(monitor, checkpoint, tmp_path_factory):
    """Four nodes in one process: our reliability and the publisher's."""
    from any2seg_ros.processes import ros_arguments

    parameters = {"checkpoint": checkpoint, "modalities": "[rgb]"}
    parameters |= {f"segment_{name}:input_reliability": ours for name, (ours, _) in COMBINATIONS.items()}
    remappings = {f"segment_{name}:~/in/image": f"/{theirs}/image" for name, (_, theirs) in COMBINATIONS.items()}
    folder = tmp_path_factory.mktemp("qos")
    process = OddModelProcess(ros_arguments(parameters, remappings), folder, "--cameras", ",".join(COMBINATIONS))
    yield process
    process.stop()


def test_value_every_pair_of_reliabilities_delivers_or_says_why_not(monitor, pairs_of_qos):
    """Only a reliable subscriber of a best-effort publisher gets nothing: that is DDS; it must be told."""
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image

    from any2seg_ros.qos import RELIABILITIES

    outputs = {name: f"/segment_{name}/out/label" for name in COMBINATIONS}
    listener = Listener(
        monitor.node, {**dict.fromkeys(outputs.values(), (Image, 10)), "/diagnostics": (DiagnosticArray, 50)}
    )
    publishers = [
        monitor.node.create_publisher(Image, f"/{name}/image", QoSProfile(depth=10, reliability=policy))
        for name, policy in RELIABILITIES.items()
    ]
    stamps_ns = iter(range(START_NS, 2 * START_NS, fake_car.PERIOD_NS))

    def diagnosed(name):
        statuses = [message.status[0] for message in listener.got["/diagnostics"]]
        return next((status for status in reversed(statuses) if status.name == f"segment_{name}: fusion"), None)

    def publish_and_look():
        stamp_ns = next(stamps_ns)
        for publisher in publishers:
            publisher.publish(fake_car.message("rgb", stamp_ns))
        time.sleep(0.1)
        status = diagnosed("rb")
        values = {pair.key: pair.value for pair in status.values} if status else {}
        told = int(values.get("rgb.incompatible_qos", 0)) >= 1 and status.level == b"\x02"
        return told and all(len(listener.got[outputs[name]]) >= 3 for name in ("bb", "br", "rr"))

    assert wait_for(publish_and_look, START_TIMEOUT_S), pairs_of_qos.tail()
    assert listener.got[outputs["rb"]] == []
    assert "quality of service" in diagnosed("rb").message
    assert "quality of service" in pairs_of_qos.log.read_text()
    listener.close()
    for publisher in publishers:
        monitor.node.destroy_publisher(publisher)
