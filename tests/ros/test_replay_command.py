"""The replay program: what it says at the end, and where ROS is not installed before anything is read."""

from __future__ import annotations

import subprocess
import sys

import pytest
from bag_files import write_bag
from fake_car import PERIOD_NS, START_NS, TOPICS, TYPES, broken_image, message

from any2seg_ros import distro, replay


def test_exception_without_rclpy_the_command_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(distro, "has", lambda package: False)
    monkeypatch.setattr(sys, "argv", ["replay", str(tmp_path / "bag")])
    with pytest.raises(SystemExit) as caught:
        replay.main()
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert len(told.strip().splitlines()) == 1
    assert "pip install 'any2seg[ros]'" in told and told.endswith(" [package-missing]\n")


@pytest.mark.ros
def test_smoke_replay_says_what_the_faults_hit(domain, tmp_path):
    """One second at ten times the speed in a process of its own; one picture cannot be read."""
    pytest.importorskip("rclpy")
    entries = [
        (stamp_ns, TOPICS.streams["rgb"], TYPES["rgb"], message("rgb", stamp_ns))
        for stamp_ns in range(START_NS, START_NS + 10 * PERIOD_NS, PERIOD_NS)
    ]
    entries[4] = (*entries[4][:3], broken_image(entries[4][0]))
    bag = write_bag(tmp_path / "bag", entries)
    command = [sys.executable, "-m", "any2seg_core", "bag", "replay", str(bag), "--rate", "10"]
    command += ["--drop", "camera@0.75:", "--fault", "exposure:rgb@0.25:0.65"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "replayed 8 messages" in done.stderr
    assert "drop:rgb@0.75: hit camera 2" in done.stderr
    assert "exposure:rgb@0.25:0.65 hit camera 3; unreadable and left as they were: camera 1" in done.stderr
