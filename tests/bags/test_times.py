from __future__ import annotations

import pytest
from bag_files import NS_PER_S, START_NS, small_entries, write_bag, write_ros1, write_split
from mcap.writer import IndexType
from mcap_files import write_mcap
from rosbags.rosbag2 import StoragePlugin

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.messages import image_to_array

FILES = {
    "mcap": lambda path, entries: write_bag(path, entries),
    "mcap in chunks": lambda path, entries: write_bag(path, entries, chunk_every=2),
    "mcap without an index": lambda path, entries: write_mcap(path.with_suffix(".mcap"), entries, use_chunking=False),
    "mcap without statistics": lambda path, entries: write_mcap(
        path.with_suffix(".mcap"), entries, use_statistics=False, index_types=IndexType.CHUNK
    ),
    "sqlite3": lambda path, entries: write_bag(path, entries, StoragePlugin.SQLITE3),
    "ros1": lambda path, entries: write_ros1(path.with_suffix(".bag"), entries),
    "split": lambda path, entries: write_split(path, [entries[:2], entries[2:]]),
}  # fmt: skip


def read(path):
    with Recording(path) as bag:
        got = [(int(image_to_array(message.value)[0, 0]), message.time_ns) for message in bag.messages()]
        return got, bag.start_ns, bag.end_ns, bag.warnings


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
@pytest.mark.parametrize("zeros", [1, 3])
def test_value_messages_before_the_first_clock_count_from_the_first_time_that_is_known(tmp_path, write, zeros):
    entries = small_entries(6)
    untimed = [(0, *rest) for _, *rest in entries[:zeros]]
    got, start_ns, end_ns, warnings = read(write(tmp_path / "bag", untimed + entries[zeros:]))
    first_ns = entries[zeros][0]
    assert got == [(k, max(time_ns, first_ns)) for k, (time_ns, *_) in enumerate(entries)]
    assert (start_ns, end_ns) == (first_ns, entries[-1][0])
    (warning,) = warnings
    assert f"{zeros} messages have the log time 0" in warning and "/clock" in warning


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
@pytest.mark.parametrize("times_ns", [(1000,), (0, 1000, 3000), (999, 999_999_999)])
def test_value_times_near_zero_are_none_where_the_others_are_years_later(tmp_path, write, times_ns):
    entries, count = small_entries(6), len(times_ns)
    untimed = [(time_ns, *rest) for time_ns, (_, *rest) in zip(times_ns, entries, strict=False)]
    got, start_ns, end_ns, warnings = read(write(tmp_path / "bag", untimed + entries[count:]))
    first_ns = entries[count][0]
    assert got == [(k, max(time_ns, first_ns)) for k, (time_ns, *_) in enumerate(entries)]
    assert (start_ns, end_ns) == (first_ns, entries[-1][0])
    (warning,) = warnings
    assert f"{count} messages have a log time near 0: recorded with simulated time before the first" in warning


def test_value_a_simulation_that_begins_near_zero_keeps_its_times(tmp_path):
    entries = [(time_ns - START_NS + 1000, *rest) for time_ns, *rest in small_entries(30)]
    got, start_ns, _, warnings = read(write_bag(tmp_path / "bag", entries))
    assert got == [(k, entries[k][0]) for k in range(30)] and (start_ns, warnings) == (entries[0][0], [])


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
def test_value_a_simulation_that_begins_at_zero_has_no_untimed_messages(tmp_path, write):
    entries = [(time_ns - START_NS - 10, *rest) for time_ns, *rest in small_entries(5)]
    got, start_ns, end_ns, warnings = read(write(tmp_path / "bag", entries))
    assert got == [(k, k * NS_PER_S // 10) for k in range(5)]
    assert (start_ns, end_ns, warnings) == (0, 4 * NS_PER_S // 10, [])


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
def test_value_a_recording_without_any_time_is_read_and_said(tmp_path, write):
    got, start_ns, end_ns, warnings = read(write(tmp_path / "bag", [(0, *rest) for _, *rest in small_entries(4)]))
    assert got == [(k, 0) for k in range(4)]
    assert (start_ns, end_ns) == (0, 0)
    assert len(warnings) == 1 and "4 messages have the log time 0, as all have" in warnings[0]


def test_value_inspect_counts_seconds_from_the_first_time(tmp_path):
    entries = small_entries(6)
    found = inspect_bag(write_bag(tmp_path / "bag", [(0, *entries[0][1:]), *entries[1:]]))
    assert found.end_ns - found.start_ns == 4 * NS_PER_S // 10
    assert found.topics["/camera/image_raw"].timing.longest_gap_s == pytest.approx(0.1)
