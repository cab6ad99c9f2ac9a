"""What `any2seg bench` runs to measure the node: the real node in a process, with little to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


def test_shape_the_node_tells_its_time_beside_plain_numpy(domain):
    words = [sys.executable, "-m", "any2seg_ros.callback_cost", "--rounds", "1", "--scale", "0.0625"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["case"].startswith("rgb, depth, event, lidar; 64x64, 7500 points")
    assert len(told["node_s"]) == len(told["plain_numpy_s"]) == 10
    assert min(told["node_s"]) > 0 and min(told["plain_numpy_s"]) > 0
