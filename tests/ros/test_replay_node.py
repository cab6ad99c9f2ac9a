"""The replay process: what it sends, what it leaves out, what it says about bad input."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from fake_car import CAMERA, NS_PER_S, PERIOD_NS, START_NS, TOPICS, message
from raised import assert_refused, user_error
from rosbags.rosbag2 import StoragePlugin, Writer
from test_qos import offered

from any2seg_core.faults.grammar import parse_fault
from any2seg_core.faults.kinds import Drop, save_faults
from any2seg_core.messages import serialise
from any2seg_core.vocabulary.modalities import VEHICLE

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros
INFO_TOPIC = TOPICS.camera_infos["rgb"]


def play(tmp_path, timeout_s=40.0, **parameters):
    from any2seg_ros.processes import RosProcess, ros_arguments

    process = RosProcess("any2seg_ros.replay_node", ros_arguments(parameters), tmp_path / "replay.log")
    try:
        return process.wait(timeout_s), process.tail()
    finally:
        process.stop()


def test_value_schedule_rate_and_loops(domain, tmp_path, bag):
    """Twice eight seconds at four times the speed, with outages; counts by hand from the recording's rates."""
    from sensor_msgs.msg import Image, PointCloud2

    from any2seg_ros.demo_monitor import Monitor

    save_faults(
        tmp_path / "schedule.json",
        [Drop(start_s=2.0, end_s=4.0, sensors=("rgb", "lidar")), Drop(start_s=6.0, end_s=8.0, sensors=("event",))],
    )
    log = tmp_path / "log.jsonl"
    monitor = Monitor("segment", TOPICS.truth)
    received = dict.fromkeys(VEHICLE.members, 0)
    for name, kind in (("rgb", Image), ("depth", Image), ("event", PointCloud2), ("lidar", PointCloud2)):

        def count(message, name=name):
            received[name] += 1

        monitor.node.create_subscription(kind, TOPICS.streams[name], count, 100)
    begin_s = time.monotonic()
    code, tail = play(
        tmp_path, bag=bag, schedule=tmp_path / "schedule.json", rate=4.0, loops=2, log_file=log, wait_s=20.0
    )
    elapsed_s = time.monotonic() - begin_s
    truths = monitor.recorded()[1]
    monitor.close()
    assert code == 0, tail
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    counts = {name: sum(entry["sensor"] == name for entry in entries) for name in VEHICLE.members}
    assert counts == {"rgb": 2 * 60, "depth": 2 * 80, "event": 2 * 60, "lidar": 2 * (79 - 20)}
    silent = [e for e in entries if e["sensor"] == "rgb" and 2.0 <= (e["stamp_ns"] - START_NS) / NS_PER_S < 4.0]
    assert silent == []
    assert elapsed_s >= 2 * 7.9 / 4
    assert all(0 <= counts[name] - received[name] <= 4 for name in VEHICLE.members), received
    assert len(truths) >= 156


def test_exception_missing_bag_is_one_line_and_code_2(domain, tmp_path):
    code, tail = play(tmp_path, bag=tmp_path / "nothing")
    assert code == 2
    assert "no such bag" in tail
    assert "Traceback" not in tail


def test_value_at_another_speed_listeners_on_wall_time_are_named(domain, tmp_path, small_bag):
    import rclpy
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import Image

    from any2seg_ros import qos

    rclpy.init()
    follows = [Parameter("use_sim_time", value=True)]
    nodes = [
        rclpy.create_node("on_wall_time", namespace="/car"),
        rclpy.create_node("follows_clock", parameter_overrides=follows),
    ]
    try:
        for node in nodes:
            profile = qos.sensor_input("best_effort", 5)
            node.create_subscription(Image, TOPICS.streams["rgb"], lambda message: None, profile)
        code, tail = play(tmp_path, bag=small_bag, rate=0.4, wait_s=20.0)
        assert code == 0, tail
        assert "at rate 0.4 /car/on_wall_time on wall time" in tail
        assert "follows_clock" not in tail
        assert "use_sim_time" not in play(tmp_path, bag=small_bag, rate=1.0, wait_s=20.0)[1]
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown()


@pytest.mark.parametrize(("heard", "waited_s", "told"), [
    (("/rgb", "/truth"), 0.0, []), (("/rgb",), 10.0, ["/truth"]), (("/truth",), 60.0, ["/rgb"]),
])  # fmt: skip
def test_value_a_truth_that_nobody_judges_is_waited_for_ten_seconds(monkeypatch, heard, waited_s, told):
    """The node subscribes to the sensors alone; on a clock of the test, which only waiting moves."""
    from any2seg_core.vocabulary.topics import TopicMap
    from any2seg_ros import replay_node

    now_s, warnings = [0.0], []
    clock = SimpleNamespace(monotonic=lambda: now_s[0], sleep=lambda s: now_s.__setitem__(0, now_s[0] + s))
    monkeypatch.setattr(replay_node, "time", clock)
    monkeypatch.setattr(replay_node.rclpy, "ok", lambda: True)
    outgoing = {
        topic: SimpleNamespace(get_subscription_count=lambda topic=topic: int(topic in heard))
        for topic in ("/rgb", "/truth", "/clock")
    }
    logger = SimpleNamespace(warning=warnings.append)
    node = SimpleNamespace(
        _topics=TopicMap({"rgb": "/rgb"}, {}, "/truth", ""), _outgoing=outgoing, get_logger=lambda: logger
    )
    replay_node.ReplayNode._wait_for_subscribers(node, 60.0)
    assert now_s[0] == pytest.approx(waited_s + (0.0 if told else replay_node._SETTLING_S), abs=0.1)
    assert [topic for topic in outgoing if any(topic in line for line in warnings)] == told


@pytest.fixture()
def small_bag(tmp_path):
    """One second of a best-effort camera, and its latched camera_info at the start."""
    path, store = tmp_path / "small", serialise.typestore()
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        plain = [offered("best_effort")]
        camera = writer.add_connection(
            TOPICS.streams["rgb"], "sensor_msgs/msg/Image", typestore=store, offered_qos_profiles=plain
        )
        latched = [offered("reliable", is_latched=True)]
        info = writer.add_connection(
            INFO_TOPIC, "sensor_msgs/msg/CameraInfo", typestore=store, offered_qos_profiles=latched
        )
        writer.write(info, START_NS, serialise.camera_info(CAMERA, START_NS))
        for index in range(11):
            stamp_ns = START_NS + index * PERIOD_NS
            writer.write(camera, stamp_ns, message("rgb", stamp_ns))
    return path


def test_value_recorded_qos_start_offset_clock_and_faults(domain, tmp_path, small_bag):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CameraInfo

    from any2seg_ros import qos
    from any2seg_ros.replay_node import ReplayNode, ReplayOptions

    log, seen = tmp_path / "log.jsonl", {"/clock": [], INFO_TOPIC: []}
    rclpy.init()
    listener = rclpy.create_node("listener")
    for topic, kind in (("/clock", Clock), (INFO_TOPIC, CameraInfo)):
        profile = qos.LATCHED if topic == INFO_TOPIC else qos.REPLAY
        listener.create_subscription(kind, topic, seen[topic].append, profile)
    executor = SingleThreadedExecutor()
    executor.add_node(listener)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    options = ReplayOptions(
        small_bag, rate=2.0, start_s=0.55, faults=(parse_fault("duplicate:rgb@0.8:"),), log_file=str(log)
    )
    node = ReplayNode(options)
    try:
        count = node.run()
        deadline_s = time.monotonic() + 20.0
        while time.monotonic() < deadline_s and not all(seen.values()):
            time.sleep(0.05)
        profiles = {
            topic: node.get_publishers_info_by_topic(topic)[0].qos_profile
            for topic in (TOPICS.streams["rgb"], INFO_TOPIC)
        }
    finally:
        executor.shutdown(timeout_sec=1.0)
        thread.join(2.0)
        node.destroy_node()
        listener.destroy_node()
        rclpy.try_shutdown()
    stamps = [(json.loads(line)["stamp_ns"] - START_NS) // PERIOD_NS for line in log.read_text().splitlines()]
    assert stamps == [6, 7, 8, 8, 9, 9, 10, 10]
    assert count == len(stamps)
    assert profiles[TOPICS.streams["rgb"]].reliability == ReliabilityPolicy.BEST_EFFORT
    assert profiles[INFO_TOPIC].durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert len(seen[INFO_TOPIC]) == 1  # recorded before the start, and latched
    assert seen["/clock"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rate": 0.0}, ("value-range",)),
        ({"loops": -1}, ("value-range",)),
        ({"start_s": 3.0}, ("value-range", "1.0")),
    ],
)
def test_exception_options_that_make_no_sense(domain, small_bag, options, told):
    import rclpy

    from any2seg_ros.replay_node import ReplayNode, ReplayOptions

    rclpy.init()
    try:
        with user_error(*told):
            ReplayNode(ReplayOptions(small_bag, **options)).run()
    finally:
        rclpy.try_shutdown()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], ("bag-missing", "nothing")),
        (["nothing", "--fault", "blurr:rgb"], ("value-unknown", "'blurr'")),
        (["nothing", "--drop", "R@2"], ("value-format", "'2'")),
    ],
)
def test_exception_command_line_is_one_line_and_code_2(domain, tmp_path, arguments, told):
    command = [sys.executable, "-m", "any2seg_core", "bag", "replay", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert_refused(done.stderr, *told)


def test_smoke_help_of_the_command_has_its_example():
    command = [sys.executable, "-m", "any2seg_core", "bag", "replay", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "Example: any2seg bag replay" in done.stdout
    assert "--drop" in done.stdout


def test_value_a_pause_of_the_recording_is_told_and_not_waited_for(domain, tmp_path):
    """Two pictures, the recorder stops for an hour, two more: all go out within seconds."""
    path = tmp_path / "paused"
    store = serialise.typestore()
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPICS.streams["rgb"], "sensor_msgs/msg/Image", typestore=store)
        for seconds in (0.0, 0.2, 3600.0, 3600.2):
            stamp_ns = START_NS + round(seconds * NS_PER_S)
            writer.write(connection, stamp_ns, message("rgb", stamp_ns))
    begin_s = time.monotonic()
    code, tail = play(tmp_path, bag=path)
    assert code == 0 and "replayed 4 messages" in tail, tail
    assert "the clock jumps forward by 3599.8 s at 0.2 s, or recording was paused: not waited for" in tail
    assert time.monotonic() - begin_s < 30
