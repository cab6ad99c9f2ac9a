"""The launch files, run by the real launch system, with the real nodes. Skipped where launch_ros is not installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_car
import pytest
from acceptance import explained, wait_for
from fake_car import TOPICS

pytest.importorskip("launch_ros")
pytestmark = [pytest.mark.ros, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ros2_ws" / "src" / "any2seg_ros"
START_TIMEOUT_S = 90.0
PROGRAM = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
pairs = [tuple(text.split(":=", 1)) for text in sys.argv[2:]]
service = LaunchService(noninteractive=True)
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=pairs))
sys.exit(service.run())
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    """The package as colcon would install it, but with the sources of this tree."""
    prefix = tmp_path_factory.mktemp("prefix")
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "any2seg_ros"
    marker.parent.mkdir(parents=True)
    marker.touch()
    share, scripts = prefix / "share" / "any2seg_ros", prefix / "lib" / "any2seg_ros"
    share.mkdir()
    scripts.mkdir(parents=True)
    for name in ("launch", "config", "rviz"):
        (share / name).symlink_to((PACKAGE / name).resolve())
    for name in ("segment_node", "segment_cameras", "replay_node", "score_node"):
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m any2seg_ros.{name} "$@"\n')
        script.chmod(0o755)
    return prefix


class Launch:
    """A launch file in a process of its own."""

    def __init__(self, prefix: Path, log: Path, name: str, **arguments: object) -> None:
        paths = [str(prefix), os.environ.get("AMENT_PREFIX_PATH", "")]
        environment = os.environ | {"AMENT_PREFIX_PATH": ":".join(filter(None, paths)), "ROS_LOG_DIR": str(log.parent)}
        command = [sys.executable, "-c", PROGRAM, str(PACKAGE / "launch" / f"{name}.launch.py")]
        command += [f"{key}:={value}" for key, value in arguments.items()]
        self.log = log
        with open(log, "wb") as stream:
            self._process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, timeout_s: float) -> int:
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """As Ctrl-C would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20.0)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


@pytest.fixture(scope="module")
def monitor(domain):
    from any2seg_ros.demo_monitor import Monitor

    monitor = Monitor("segment", TOPICS.truth)
    yield monitor
    monitor.close()


@pytest.fixture
def start(domain, prefix, tmp_path):
    started = []

    def start(name, **arguments) -> Launch:
        started.append(Launch(prefix, tmp_path / f"{name}.log", name, **arguments))
        return started[-1]

    yield start
    for launch in started:
        launch.stop()


def test_smoke_segment_publishes_labels_and_arguments_win(start, monitor, checkpoint, calibration_file):
    launch = start(
        "segment", checkpoint=checkpoint, calibration_file=calibration_file, modalities="[rgb, lidar]",
        reference_priority="[lidar, rgb]", log_level="info",
    )  # fmt: skip
    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), launch.text()
    car = fake_car.FakeCar(monitor.node)
    try:
        assert wait_for(lambda: len(explained(monitor)) >= 5, 20.0), launch.text()
    finally:
        car.stop()
    record = explained(monitor)[-1]
    assert record.used == ("rgb", "lidar")
    assert record.reference == "lidar"
    assert launch.stop() == 0, launch.text()
    assert "process has finished cleanly" in launch.text()


def test_value_autostart_false_waits(start, monitor, checkpoint):
    launch = start("segment", checkpoint=checkpoint, autostart="false")
    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "unconfigured", START_TIMEOUT_S), launch.text()
    assert "configured with" not in launch.text()


def subscribed(monitor, topic: str) -> list[str]:
    """Full names of the nodes that subscribe to a topic."""
    infos = monitor.node.get_subscriptions_info_by_topic(topic)
    return sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)


def all_subscribed(monitor, wanted: dict[str, list[str]]) -> bool:
    return wait_for(lambda: {topic: subscribed(monitor, topic) for topic in wanted} == wanted, START_TIMEOUT_S)


@pytest.mark.parametrize("shared", ["true", "false"])
def test_value_one_node_per_camera(start, monitor, checkpoint, tmp_path, shared):
    """{camera} works in file names too: with a wrong path no node would be configured and subscribe."""
    for camera in ("front", "left"):
        fake_car.write_calibration(tmp_path / f"{camera}.yaml")
    launch = start(
        "segment", checkpoint=checkpoint, cameras="front,left", namespace="car", shared_process=shared,
        calibration_file=tmp_path / "{camera}.yaml",
    )  # fmt: skip
    wanted = {
        "/carla/ego_vehicle/rgb_front/image": ["/car/segment_front"],
        "/carla/ego_vehicle/rgb_left/image": ["/car/segment_left"],
        "/carla/ego_vehicle/lidar": ["/car/segment_front", "/car/segment_left"],
    }
    assert all_subscribed(monitor, wanted), launch.text()
    assert launch.text().count("process started") == (1 if shared == "true" else 2)


def test_value_carla_bridge_profile_and_a_topic_of_ones_own(start, monitor, checkpoint):
    launch = start("carla", checkpoint=checkpoint, ego="hero", lidar="roof", image_topic="/own/image")
    wanted = dict.fromkeys(("/own/image", "/carla/hero/roof", "/carla/hero/dvs_front/events"), ["/segment"])
    assert all_subscribed(monitor, wanted), launch.text()


def test_value_carla_native_profile_takes_events_from_a_cloud(start, monitor, checkpoint, calibration_file):
    launch = start("carla", checkpoint=checkpoint, profile="native", calibration_file=calibration_file)
    topics = [f"/carla/ego_vehicle/{below}" for below in ("rgb_front/image", "dvs_front/point_cloud", "lidar")]
    assert all_subscribed(monitor, dict.fromkeys(topics, ["/segment"])), launch.text()
    assert subscribed(monitor, "/segment/in/camera_info") == ["/segment"]
    assert subscribed(monitor, "/carla/ego_vehicle/rgb_front/camera_info") == []


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("segment", {"timeout_s": "soon"}, "argument timeout_s: 'soon' is no float"),
        ("segment", {"cameras": "a,b", "image_topic": "/one"}, "argument image_topic"),
        ("segment", {"log_level": "loud"}, "log_level"),
        ("carla", {"profile": "native"}, "argument calibration_file: profile native needs one"),
        ("carla", {"profile": "ue7"}, "profile"),
        ("replay", {}, "bag"),
    ],
)
def test_exception_bad_arguments_end_the_launch_and_are_named(start, name, arguments, said):
    launch = start(name, **arguments)
    assert launch.wait(30.0) != 0
    assert said in launch.text()
    assert "process started" not in launch.text()


def test_value_replay_scores_and_ends_with_the_recording(start, bag, checkpoint, tmp_path):
    launch = start(
        "replay", bag=bag, checkpoint=checkpoint, loops=2, score_file=tmp_path / "score.json",
        faults="['drop:lidar@4:']",
    )  # fmt: skip
    begin_s = time.monotonic()
    assert launch.wait(180.0) == 0, launch.text()
    assert time.monotonic() - begin_s >= 2 * 7.9
    figures = json.loads((tmp_path / "score.json").read_text())
    assert figures["judged"] == figures["labels"] >= 5, launch.text()
    assert "RDE" in figures["subsets"]
    assert any("L" in letters for letters in figures["subsets"])
    assert "labels judged" in launch.text()
