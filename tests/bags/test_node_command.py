"""The command that `bag inspect` prints, as a shell takes it apart; the oracle is shlex."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from bag_files import (
    COMPRESSED,
    INFO,
    KITTI_CAMERA,
    START_NS,
    STORE,
    compressed_image,
    compressed_pixels,
    kitti_entries,
    write_bag,
)

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.sensors.calibration import Calibration, save_calibration

BASE = "/kitti/camera_color_left"
RAW_K = [[959.8, 0.0, 696.0], [0.0, 956.9, 224.2], [0.0, 0.0, 1.0]]
"""Of KITTI's camera before rectification, which cut its pictures from 1392x512 to 1242x375."""


def words(found) -> list[str]:
    """Of the command of the node; what makes its calibration is another one before it."""
    return shlex.split("\n".join(found.node_command).replace("\\\n", " ").rpartition("&&")[2])


def as_kitti2bag(entries):
    """The camera_info of kitti2bag: K and D of the raw camera beside P and the size of the rectified pictures."""
    for time_ns, topic, kind, data in entries:
        if kind == INFO:
            info = STORE.deserialize_cdr(data, INFO)
            info.k, info.d = np.array(RAW_K).ravel(), np.array([-0.37, 0.2, 0.001, 0.0006, -0.07])
            info.p = np.column_stack([KITTI_CAMERA.K, [44.9, 0.2, 0.003]]).ravel()
            data = bytes(STORE.serialize_cdr(info, INFO))
        yield time_ns, topic.replace("/image", "/image_raw"), kind, data


def compressed(entries, below: str):
    for time_ns, topic, kind, data in entries:
        if topic.endswith("/image_raw"):
            stamp_ns = time_ns - 12_000_000
            data = compressed_image(np.zeros((375, 1242, 3), np.uint8), stamp_ns, KITTI_CAMERA.frame_id)
            topic, kind = topic + below, COMPRESSED
        yield time_ns, topic, kind, data


def test_value_raw_pictures_need_their_topics_alone(tmp_path):
    found = inspect_bag(write_bag(tmp_path / "bag", kitti_entries(3)))
    assert words(found) == [
        "any2seg-segment-node", "--ros-args", "-p", "calibration_file:=calibration.yaml",
        "-r", f"~/in/image:={BASE}/image",
        "-r", "~/in/points:=/kitti/velo/pointcloud", "-r", f"~/in/camera_info:={BASE}/camera_info",
    ]  # fmt: skip
    assert found.node_parameters == {}
    made = ["any2seg", "calib", "from-bag", str(tmp_path / "bag"), "calibration.yaml", "&&", "\\"]
    assert found.node_command[0].split() == made  # a node from pip wheels hears no transforms
    assert shlex.split(found.replay_command) == ["any2seg", "bag", "replay", str(tmp_path / "bag"), "--wait", "60"]


@pytest.mark.parametrize("below", ["", "/compressed", "_jpeg"])
def test_value_kitti2bag_is_rectified_and_may_be_compressed(tmp_path, below):
    entries = as_kitti2bag(kitti_entries(3))
    found = inspect_bag(write_bag(tmp_path / "bag", compressed(entries, below) if below else entries))
    transport = ["-p", "image_transport:=compressed"] if below else []
    assert words(found)[2:] == [
        *transport, "-p", "rectified:=true", "-p", "calibration_file:=calibration.yaml",
        "-r", f"~/in/image:={BASE}/image_raw{below}",
        "-r", "~/in/points:=/kitti/velo/pointcloud", "-r", f"~/in/camera_info:={BASE}/camera_info",
    ]  # fmt: skip
    assert found.parameters["rectified"] is True
    assert ("image_transport" in found.parameters) == bool(below)
    assert any("K lies at 56 % of its width and 60 % of its height" in note for note in found.notes)


@pytest.mark.parametrize("below", ["/compressedDepth", "_packed"])
def test_value_compressed_depth_is_found_and_needs_its_transport(tmp_path, below):
    pixels = np.full((5, 7), 1500, np.uint16)
    data = compressed_pixels(pixels, START_NS, "depth", ".png", "16UC1; compressedDepth png")
    topic = f"/cam/depth/image_raw{below}"
    found = inspect_bag(write_bag(tmp_path / "bag", [(START_NS, topic, COMPRESSED, data)]))
    assert words(found)[2:] == ["-p", "depth_transport:=compressedDepth", "-r", f"~/in/depth:={topic}"]


def test_value_a_calibration_that_is_given_goes_to_the_node_with_odd_names_quoted(tmp_path):
    file = tmp_path / "my car.yaml"
    save_calibration(file, Calibration(KITTI_CAMERA))
    bag = write_bag(tmp_path / "a bag", kitti_entries(3))
    found = inspect_bag(bag, BagOptions(topics=["lidar=none"], calibration=file))
    assert words(found)[2:] == ["-p", f"calibration_file:={file}", "-r", f"~/in/image:={BASE}/image"]
    assert shlex.split(found.replay_command)[3:] == [str(bag), "--wait", "60", "--topic", "lidar=none"]


def test_value_a_calibration_inside_the_recording_goes_to_the_node_beside_camera_info(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(3))
    save_calibration(bag / "calibration.yaml", Calibration(KITTI_CAMERA))
    given = words(inspect_bag(bag))
    assert f"calibration_file:={bag / 'calibration.yaml'}" in given
    assert f"~/in/camera_info:={BASE}/camera_info" in given


def test_value_no_sensor_no_command(tmp_path):
    found = inspect_bag(write_bag(tmp_path / "bag", kitti_entries(3)), BagOptions(topics=["rgb=none", "lidar=none"]))
    assert found.node_command == []
    assert found.document()["node_command"] == ""


def test_value_a_section_for_another_node_beside_a_pattern_is_told(tmp_path):
    params = tmp_path / "p.yaml"
    params.write_text("/**:\n  ros__parameters: {timeout_s: 0.1}\n/other:\n  ros__parameters: {timeout_s: 0.3}\n")
    with open_bag(write_bag(tmp_path / "bag", kitti_entries(3)), BagOptions(params=params)) as opened:
        assert opened.parameters["timeout_s"] == 0.1
        told = [note for note in opened.notes if "/other" in note]
    assert told == [f"{params}: section /other is not used: it is for another node than /segment"]


@pytest.mark.parametrize(
    ("name", "taken"), [("/lidar_driver", True), ("/car/segment", False), ("segment_front", False)]
)
def test_value_the_only_section_is_taken_and_told_where_its_name_is_another(tmp_path, name, taken):
    params = tmp_path / "p.yaml"
    params.write_text(f"{name}:\n  ros__parameters: {{timeout_s: 0.3}}\n")
    with open_bag(write_bag(tmp_path / "bag", kitti_entries(3)), BagOptions(params=params)) as opened:
        assert opened.parameters["timeout_s"] == 0.3
        told = [note for note in opened.notes if str(params) in note]
    assert told == ([f"{params}: has no section of /segment: that of {name} is taken for its own"] if taken else [])
