"""The replay process: what it sends, what it leaves out, what it says about bad input."""

from __future__ import annotations

import json
import time

import pytest
from fake_car import NS_PER_S, START_NS, TOPICS

from any2seg_core.faults.kinds import Drop, save_faults
from any2seg_core.modalities import MODALITIES

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


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
    received = dict.fromkeys(MODALITIES, 0)
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
    counts = {name: sum(entry["sensor"] == name for entry in entries) for name in MODALITIES}
    assert counts == {"rgb": 2 * 60, "depth": 2 * 80, "event": 2 * 60, "lidar": 2 * (79 - 20)}
    silent = [e for e in entries if e["sensor"] == "rgb" and 2.0 <= (e["stamp_ns"] - START_NS) / NS_PER_S < 4.0]
    assert silent == []
    assert elapsed_s >= 2 * 7.9 / 4
    assert all(0 <= counts[name] - received[name] <= 4 for name in MODALITIES), received
    assert len(truths) >= 156


def test_exception_missing_bag_is_one_line_and_code_2(domain, tmp_path):
    code, tail = play(tmp_path, bag=tmp_path / "nothing")
    assert code == 2
    assert "no such bag" in tail
    assert "Traceback" not in tail
