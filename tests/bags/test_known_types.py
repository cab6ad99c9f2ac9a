from __future__ import annotations

import struct

import numpy as np
import pytest
from bag_files import (
    KITTI_CAMERA,
    LIVOX,
    NS_PER_S,
    PACKET,
    START_NS,
    event_array,
    event_packet,
    kitti_entries,
    livox_cloud,
    scan,
    without_definitions,
    write_bag,
    write_ros1,
)  # fmt: skip
from raised import user_error
from rosbags.rosbag2 import StoragePlugin

from any2seg_core.bags.codec import Codec
from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.known_types import known_types
from any2seg_core.bags.livox import livox_to_cloud
from any2seg_core.bags.opened import open_bag
from any2seg_core.bags.reader import LazyPayload, Recording
from any2seg_core.bags.topics import choose_topics
from any2seg_core.messages import cloud_to_points, event_array_from_cdr
from any2seg_core.runtime.frame_builder import FrameBuilder

EVT3 = np.array([0x8000 | 5, 0x6000 | 7, 3, 0x2800 | 4], "<u2").tobytes()


def events(package, kind):
    """Six messages, one every 20 ms."""
    for index in range(6):
        stamp_ns = START_NS + index * NS_PER_S // 50
        if kind == "EventArray" and package != "event_array_msgs":
            data = event_array(stamp_ns, [1, 2], package)
        else:
            data = event_packet(stamp_ns, index, EVT3, (6, 9))
        yield stamp_ns, "/dvs/events", f"{package}/msg/{kind}", data


@pytest.mark.parametrize(
    ("package", "kind", "read_as"),
    [
        ("event_camera_msgs", "EventPacket", PACKET),
        ("event_array_msgs", "EventArray", PACKET),
        ("dvs_msgs", "EventArray", "dvs_msgs/msg/EventArray"),
        ("prophesee_event_msgs", "EventArray", "prophesee_event_msgs/msg/EventArray"),
    ],
)
@pytest.mark.parametrize("has_definitions", [False, True])
def test_value_events_of_every_driver_with_and_without_definitions(tmp_path, package, kind, read_as, has_definitions):
    entries = sorted([*kitti_entries(3), *events(package, kind)], key=lambda entry: entry[0])
    bag = write_bag(tmp_path / "bag", entries, StoragePlugin.SQLITE3)
    builder = FrameBuilder(None)
    with Recording(bag if has_definitions else without_definitions(bag)) as opened:
        assert opened.topics["/dvs/events"].kind == read_as
        assert choose_topics(opened).map.streams["event"] == "/dvs/events"
        assert opened.warnings == []
        for message in opened.messages(["/dvs/events"]):
            is_array = message.kind.endswith("/EventArray")
            payload = event_array_from_cdr(message.data) if is_array else LazyPayload(message)
            got = builder.receive("event", payload).events
            assert got[["x", "y", "p"]].tolist() == ([(1, 1, 1), (2, 1, 1)] if is_array else [(4, 3, 1)])
    assert builder.event_counts["packets"] == 6


@pytest.mark.parametrize("package", LIVOX)
@pytest.mark.parametrize("write", ["mcap", "humble", "ros1"])
def test_value_livox_custom_messages_are_points(tmp_path, package, write):
    points = scan(5, 301)
    stamp_ns = START_NS + 123_456_789
    data = livox_cloud(points, stamp_ns, "livox", package)
    entries = [(stamp_ns + 5, "/livox/lidar", f"{package}/msg/CustomMsg", data)]
    if write == "ros1":
        bag = write_ros1(tmp_path / "drive.bag", entries)
    else:
        storage = StoragePlugin.MCAP if write == "mcap" else StoragePlugin.SQLITE3
        bag = write_bag(tmp_path / "bag", entries, storage)
        bag = without_definitions(bag) if write == "humble" else bag
    with Recording(bag) as opened:
        topic = opened.topics["/livox/lidar"]
        assert (topic.kind, topic.stored_kind) == ("sensor_msgs/msg/PointCloud2", f"{package}/msg/CustomMsg")
        (message,) = opened.messages()
        assert (message.kind, message.stamp_ns, opened.warnings) == (topic.kind, stamp_ns, [])
        got = cloud_to_points(message.value)
    np.testing.assert_array_equal(got[:, :3], points[:, :3])
    np.testing.assert_allclose(got[:, 3], points[:, 3], atol=0.5 / 255 + 1e-6)


def test_value_a_livox_lidar_is_used_and_inspect_says_how_it_is_read(tmp_path):
    entries = [entry for entry in kitti_entries(4) if "velo" not in entry[1]]
    for index in range(4):
        stamp_ns = START_NS + index * NS_PER_S // 10
        data = livox_cloud(scan(index, 900), stamp_ns, "velo_link")
        entries.append((stamp_ns + 1, "/livox/lidar", f"{LIVOX[0]}/msg/CustomMsg", data))
    bag = write_bag(tmp_path / "bag", sorted(entries, key=lambda entry: entry[0]))
    assert any("/livox/lidar: livox_ros_driver2/msg/CustomMsg, read as PointCloud2" in note
               for note in inspect_bag(bag).notes)  # fmt: skip
    with open_bag(bag) as opened:
        frames = [found.frame() for found in opened.sets()]
    assert len(frames) == 4 and all({"rgb", "lidar"} == set(frame.planes) for frame in frames)
    assert frames[0].planes["lidar"].shape == (KITTI_CAMERA.height, KITTI_CAMERA.width, 3)


@pytest.mark.parametrize("name", ["livox", "a", "", "frame_with_a_long_name"])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_value_livox_points_by_hand_whatever_the_name_of_the_frame(name, count):
    """Big-endian CDR by hand: rosbags writes little-endian alone."""
    points = scan(1, max(count, 1))[:count]
    frame = name.encode() + b"\0"
    head = struct.pack(">iII", 7, 8, len(frame)) + frame
    head += b"\0" * (-len(head) % 8) + struct.pack(">QIB3xI", 1, count, 0, count)
    rows = [struct.pack(">IfffBBB", 0, *map(float, point[:3]), 51, 0, 0) for point in points]
    message = Codec("livox_ros_driver2/msg/CustomMsg").decode(
        livox_to_cloud(b"\0\0\0\0" + head + b"\0".join(rows), is_ros1=False)
    )
    assert (message.header.frame_id, message.header.stamp.sec, message.header.stamp.nanosec) == (name, 7, 8)
    np.testing.assert_array_equal(cloud_to_points(message)[:, :3], points[:, :3])
    np.testing.assert_allclose(cloud_to_points(message)[:, 3], 0.2, atol=1e-6)


@pytest.mark.parametrize("is_ros1", [False, True])
def test_exception_livox_messages_that_are_cut(is_ros1):
    data = livox_cloud(scan(2, 30), START_NS, "livox")
    if is_ros1:
        data = bytes(known_types(False).cdr_to_ros1(data, "livox_ros_driver2/msg/CustomMsg"))
    for length in range(0, len(data), 7):
        with user_error("message-length"):
            livox_to_cloud(data[:length], is_ros1)


def test_value_a_livox_type_of_other_fields_is_not_taken_for_the_known_one():
    codec = Codec("livox_ros_driver2/msg/CustomMsg", "std_msgs/Header header\nuint8[] points\n", "msg")
    assert codec.kind == "livox_ros_driver2/msg/CustomMsg" and codec.problem == ""
