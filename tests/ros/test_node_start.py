"""How the node starts: bad input, and sensors that never were there."""

from __future__ import annotations

import re
import time
from pathlib import Path

import fake_car
import pytest
from acceptance import START_TIMEOUT_S, explained, wait_for
from fake_car import TOPICS

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

_SEGMENT = re.compile(r"/dev/shm/fast(?:rtps|dds)_[0-9a-f]{16}")  # of Fast DDS 2, of Fast DDS 3


def start(tmp_path, parameters):
    from any2seg_ros.processes import RosProcess, ros_arguments

    arguments = ros_arguments(parameters, TOPICS.node_remappings())
    return RosProcess("any2seg_ros.segment_node", arguments, tmp_path / "node.log")


def mapped_segments(pid):
    """Shared-memory segments of Fast DDS that a process has mapped, the locks and queues of its ports aside."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {path for line in lines if _SEGMENT.fullmatch(path := line.split()[-1])}


def test_value_shared_memory_is_given_back(monitor, tmp_path, checkpoint):
    """Each segment has 64 MB: a node that leaves its own behind fills the memory of the machine start by start."""
    before = {str(path) for path in Path("/dev/shm").glob("fast*_*")}
    process = start(tmp_path, {"checkpoint": checkpoint})
    try:
        assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), process.tail()
        own = mapped_segments(process.pid) - before
        assert own
        assert process.stop() == 0
        assert not [path for path in own if Path(path).exists()]
    finally:
        process.stop()


def test_exception_foreign_checkpoint_fails_configure_with_one_line(monitor, tmp_path, calibration_file):
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"not a checkpoint")
    process = start(tmp_path, {"checkpoint": foreign, "calibration_file": calibration_file})
    try:
        assert wait_for(lambda: monitor.lifecycle_state(1.0) == "unconfigured", START_TIMEOUT_S), process.tail()
        lines = [line for line in process.log.read_text().splitlines() if "ERROR" in line]
        assert len(lines) == 1
        assert "cannot configure" in lines[0]
        assert str(foreign) in lines[0]
        begin_s = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - begin_s < 2.0
    finally:
        process.stop()


def test_value_camera_that_never_was_there_stops_nothing(monitor, tmp_path, checkpoint, calibration_file):
    process = start(tmp_path, {"checkpoint": checkpoint, "calibration_file": calibration_file})
    car = None
    try:
        assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), process.tail()
        car = fake_car.FakeCar(monitor.node, silent=("rgb",))
        assert wait_for(lambda: len(explained(monitor)) >= 5, 10.0), process.tail()
        record = explained(monitor)[-1]
        assert record.used == ("depth", "event", "lidar")
        assert record.reference == "depth"
        assert record.labels.shape == (fake_car.HEIGHT, fake_car.WIDTH)
    finally:
        if car is not None:
            car.stop()
        assert process.stop() == 0


def test_value_lifecycle_mirrors_itself_and_can_be_repeated(domain, checkpoint, calibration_file):
    """The node in this process, without autostart; the oracle is the list of topics it has."""
    import rclpy
    from rclpy.lifecycle import TransitionCallbackReturn

    from any2seg_ros.processes import ros_arguments
    from any2seg_ros.segment_node import SegmentNode

    parameters = {"checkpoint": checkpoint, "calibration_file": calibration_file, "autostart": False}
    context = rclpy.Context()
    # A name of its own: nodes that other tests have ended stay in the graph for a while.
    rclpy.init(args=ros_arguments(parameters, {"__node": "mirror"}), context=context, domain_id=domain)
    node = SegmentNode(context=context)

    def topics(kind):
        names = getattr(node, f"get_{kind}_names_and_types_by_node")(node.get_name(), node.get_namespace())
        return {name for name, _ in names if "/in/" in name or "/out/" in name}

    def comes(condition):
        return wait_for(condition, 20.0)  # a node hears of its own topics through discovery, a moment later

    try:
        for _ in range(2):
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert comes(lambda: "/mirror/out/label" in topics("publisher"))
            for _ in range(2):
                assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
                assert comes(lambda: len(topics("subscriber")) == 7)
                assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
                assert comes(lambda: topics("subscriber") == set())
            assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
            assert comes(lambda: topics("publisher") == set())
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
