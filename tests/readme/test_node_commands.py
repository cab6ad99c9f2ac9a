"""Commands of the node, documented and printed, as a reader pastes them: labels come out of what is published."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bag_files import COMPRESSED, KITTI_CAMERA, compressed_image, kitti_entries, scan, write_bag
from commands import documented_commands
from table import NODES, filled, reason_not_to_run, runnable

from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

COMMANDS = [c.text for c in documented_commands() if NODES.match(c.text) and not reason_not_to_run(c.text)]
STARTED = [text for text in COMMANDS if "any2seg-segment-" in text.split()[0]]
PLAYED = [text for text in COMMANDS if text not in STARTED]
FRAMES = 8


@pytest.fixture(scope="module", autouse=True)
def domain() -> Iterator[int]:
    """A ROS domain of its own, for the shells too."""
    from any2seg_ros.processes import private_domain, use_large_message_profile

    use_large_message_profile()
    with private_domain() as number:
        yield number


@pytest.fixture
def other(domain: int) -> Iterator[SimpleNamespace]:
    """A node of somebody else: it publishes sensors and hears labels and diagnostics."""
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("other", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    heard = SimpleNamespace(node=node, labels=[], said={}, spin=lambda: executor.spin_once(timeout_sec=0.02))
    for name in ("segment", "segment_front"):
        node.create_subscription(Image, f"/{name}/out/label", heard.labels.append, 10)

    def listen(message: DiagnosticArray) -> None:
        heard.said.update({pair.key: pair.value for pair in message.status[0].values})

    node.create_subscription(DiagnosticArray, "/diagnostics", listen, 10)
    yield heard
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def start(home, environment) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Function that gives a command to bash and lets it run; SIGINT ends it."""
    running = []

    def run(command: str) -> subprocess.Popen:
        log = (home / f"{len(running)}.log").open("wb")
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(20)


def log_of(home) -> str:
    return "".join(path.read_text(errors="replace") for path in sorted(home.glob("*.log")))


def until(condition: Callable[[], object], step: Callable[[], None], seconds: float = 60.0) -> bool:
    end_s = time.monotonic() + seconds
    while not condition() and time.monotonic() < end_s:
        step()
    return bool(condition())


def camera(topic: str, other: SimpleNamespace) -> Callable[[], None]:
    """Publishes a picture of noise at most every 50 ms."""
    from rclpy.clock import Clock
    from sensor_msgs.msg import Image

    publisher = other.node.create_publisher(Image, topic, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (75, 97, 3), np.uint8)
    message = Image(height=75, width=97, encoding="rgb8", step=291, data=pixels.tobytes())
    last_s = [0.0]

    def step() -> None:
        other.spin()
        if time.monotonic() - last_s[0] > 0.05:
            last_s[0] = time.monotonic()
            message.header.stamp = Clock().now().to_msg()
            message.data[0] = (message.data[0] + 1) % 256
            publisher.publish(message)

    return step


@pytest.mark.parametrize("command", STARTED, ids=lambda text: text[:70])
def test_value_a_documented_node_makes_labels(command, home, start, other):
    """A camera publishes on the topic that the command names."""
    remapped = re.search(r"~/in/image:=([^' ]+)", command)
    topic = remapped[1] if remapped else "/segment/in/image"
    save_calibration(home / "car.yaml", Calibration(CameraModel.from_fov(97, 75, 90.0)))
    process = start(filled(command).replace(".venv/bin/", ""))
    assert until(lambda: other.labels or process.poll() is not None, camera(topic, other))
    assert other.labels, log_of(home)
    assert (other.labels[0].height, other.labels[0].width) == (75, 97)


@pytest.mark.parametrize("command", PLAYED, ids=lambda text: text[:70])
def test_value_a_documented_replay_plays_to_the_end(command, paste):
    done = paste(runnable(command))
    assert done.returncode == 0, done.stderr
    assert re.search(r"replayed [1-9]\d* messages", done.stdout + done.stderr)


def recorded(below: str) -> Iterator[tuple]:
    """KITTI's camera and LiDAR; ``below``: what a compressed topic adds to the name, empty for raw pictures."""
    for time_ns, topic, kind, data in kitti_entries(FRAMES):
        if below and topic.endswith("/image"):
            stamp_ns = time_ns - 12_000_000
            pixels = np.random.default_rng(stamp_ns % 1000).integers(0, 256, (15, 54, 3), np.uint8)
            picture = cv2.resize(pixels, (KITTI_CAMERA.width, KITTI_CAMERA.height))
            data, kind = compressed_image(picture, stamp_ns, KITTI_CAMERA.frame_id), COMPRESSED
            topic += below
        elif topic == "/kitti/velo/pointcloud":
            stamp_ns = time_ns - 20_000_000
            data = serialise.point_cloud(scan(stamp_ns % 1000, 1000), stamp_ns, "velo_link")
        yield time_ns, topic, kind, data


@pytest.mark.parametrize("below", ["", "/compressed", "_jpeg"])
def test_value_the_printed_block_receives_every_message_of_its_recording(below, home, paste, start, other):
    """Both commands of `bag inspect` are pasted as they are printed, and the node has every picture and every scan."""
    write_bag(home / "my drive", recorded(below))
    text = paste("any2seg bag inspect 'my drive'").stdout
    node, replay = (re.search(rf"{title}\n(.*?)\n\n", text, re.DOTALL)[1] for title in
                    ("the node on these topics", "play the recording to it"))  # fmt: skip
    start(node)
    start(replay)
    counts = {"rgb.received": str(FRAMES), "lidar.received": str(FRAMES - 1)}
    complete = until(lambda: counts.items() <= other.said.items(), other.spin, 60.0)
    assert complete, ({name: other.said.get(name) for name in counts}, text, log_of(home))
    assert until(lambda: other.labels, other.spin, 10.0), log_of(home)
    assert other.said["lidar.extrinsics"] == "calibration_file"
