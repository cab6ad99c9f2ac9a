"""Only a part of a recording is read: between two log times, whatever the kind of file."""

from __future__ import annotations

import pytest
from bag_files import START_NS, small_entries, write_bag, write_ros1, write_split
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from any2seg_core.bags.reader import Recording

STEP_NS = 100_000_000
FIRST_NS = START_NS + 10  # log time of the first of the small entries; each next one is a step later


def log_times(path, *between):
    with Recording(path) as bag:
        return [message.time_ns for message in bag.messages(None, *between)]


def never_closed(folder):
    whole = write_bag(folder / "whole", small_entries(9), chunk_every=2) / "whole.mcap"
    cut = folder / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[:-40])
    return cut


def written(kind, folder):
    if kind == "mcap":
        return write_bag(folder / "bag", small_entries(9), chunk_every=2)
    if kind == "sqlite3":
        return write_bag(folder / "bag", small_entries(9), StoragePlugin.SQLITE3)
    if kind == "compressed messages":
        return write_bag(folder / "bag", small_entries(9), compression=CompressionMode.MESSAGE)
    if kind == "split":
        return write_split(folder / "bag", [small_entries(9)[:4], small_entries(9)[4:]])
    if kind == "ROS 1":
        return write_ros1(folder / "bag.bag", small_entries(9))
    return never_closed(folder)


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "compressed messages", "split", "ROS 1", "never closed"])
def test_value_messages_between_two_log_times(tmp_path, kind):
    """The first time belongs to the interval, the second one does not; either may be left out."""
    bag = written(kind, tmp_path)
    times_ns = [FIRST_NS + k * STEP_NS for k in range(9)]
    assert log_times(bag) == times_ns
    assert log_times(bag, times_ns[3], times_ns[6]) == times_ns[3:6]
    assert log_times(bag, times_ns[3] + 1, times_ns[6] + 1) == times_ns[4:7]
    assert log_times(bag, times_ns[7], None) == times_ns[7:]
    assert log_times(bag, None, times_ns[2]) == times_ns[:2]
    assert log_times(bag, 0, 2**64) == times_ns
    assert log_times(bag, times_ns[8] + 1, None) == log_times(bag, None, FIRST_NS) == []


def test_value_messages_without_a_clock_belong_to_the_start(tmp_path):
    entries = [(0, *small_entries(1)[0][1:]), *small_entries(3)]
    bag = write_bag(tmp_path / "bag", entries)
    assert log_times(bag, FIRST_NS, FIRST_NS + STEP_NS) == [FIRST_NS, FIRST_NS]
    assert log_times(bag, FIRST_NS + STEP_NS) == [FIRST_NS + STEP_NS, FIRST_NS + 2 * STEP_NS]
    assert log_times(bag, None, FIRST_NS) == []


def test_value_damage_elsewhere_is_not_met(tmp_path):
    """Only the chunks of the interval are opened."""
    bag = write_bag(tmp_path / "bag", small_entries(8), chunk_every=2, compression=CompressionMode.STORAGE)
    path = bag / "bag.mcap"
    raw = bytearray(path.read_bytes())
    packed = raw.find(b"\x28\xb5\x2f\xfd")  # of the first chunk
    raw[packed + 30 : packed + 34] = b"\xff" * 4
    path.write_bytes(raw)
    with Recording(bag) as recording:
        later = [message.time_ns for message in recording.messages(None, FIRST_NS + 4 * STEP_NS)]
        assert later == [FIRST_NS + k * STEP_NS for k in range(4, 8)] and recording.damage == []
        assert len(list(recording.messages(None, FIRST_NS))) < 8
        assert "broken" in recording.damage[0]
