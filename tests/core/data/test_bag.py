from __future__ import annotations

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from any2seg_core.data.bag import header_stamp_ns, read_raw, read_sets, start_ns, topic_kinds
from any2seg_core.drive import bag_messages
from any2seg_core.errors import UserError
from any2seg_core.messages import image_to_array
from any2seg_core.topics import carla_bridge

TOPIC = carla_bridge().streams["rgb"]


@pytest.fixture()
def bag(tmp_path):
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, "sensor_msgs/msg/Image", typestore=bag_messages.typestore())
        for index in range(3):
            stamp_ns = 7_000_000_001 + index
            pixels = np.full((5, 7), index, np.uint8)
            writer.write(connection, stamp_ns + 10, bag_messages.image(pixels, "mono8", stamp_ns, "camera"))
    return path


def test_value_raw_messages_in_order_with_their_header_stamps(bag):
    messages = list(read_raw(bag))
    assert [message.time_ns for message in messages] == [7_000_000_011, 7_000_000_012, 7_000_000_013]
    assert [header_stamp_ns(message.data) for message in messages] == [7_000_000_001, 7_000_000_002, 7_000_000_003]
    assert start_ns(bag) == 7_000_000_011
    assert topic_kinds(bag) == {TOPIC: "sensor_msgs/msg/Image"}


def test_value_sets_are_found_by_header_stamp(bag):
    wanted = {50: {"rgb": (7_000_000_002, 7_000_000_003)}, 60: {"rgb": (7_000_000_003,), "lidar": (1,)}}
    found = read_sets(bag, carla_bridge(), wanted)
    assert [int(image_to_array(message)[0, 0]) for message in found[50]["rgb"]] == [1, 2]
    assert [int(image_to_array(message)[0, 0]) for message in found[60]["rgb"]] == [2]
    assert "lidar" not in found[60]


@pytest.mark.parametrize("content", [None, b"", b"not an mcap file at all" * 40])
def test_exception_unreadable_bag_names_the_path(tmp_path, content):
    path = tmp_path / "drive.mcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"drive\.mcap.*bag"):
        topic_kinds(path)


def test_exception_bag_that_was_cut_off(bag):
    storage = next(bag.glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[:-300])
    with pytest.raises(UserError, match="not a readable rosbag2"):
        list(read_raw(bag))


@pytest.mark.parametrize("content", ["a: [1", "a: 1", "\x00"])
def test_exception_damaged_metadata_is_one_line(bag, content):
    (bag / "metadata.yaml").write_text(content)
    with pytest.raises(UserError, match="not a readable rosbag2") as caught:
        topic_kinds(bag)
    assert "\n" not in str(caught.value)


def test_exception_a_name_that_the_file_system_refuses(tmp_path):
    with pytest.raises(UserError, match="not a readable rosbag2 .*File name too long"):
        start_ns(tmp_path / ("n" * 300))


def test_property_flipped_bytes_raise_only_user_errors(bag):
    """Every 17th byte in turn: either the bag still reads, or one UserError says that it does not."""
    storage = next(bag.glob("*.mcap"))
    whole = storage.read_bytes()
    refused = 0
    for position in range(0, len(whole), 17):
        storage.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            assert all(message.topic for message in read_raw(bag))
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5
