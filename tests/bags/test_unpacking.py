"""Recordings that claim to hold far more than their bytes: read as far as the limits allow, and said so."""

import bz2
import sqlite3
import struct
from pathlib import Path

import pytest
from bag_files import small_entries, write_ros1
from raised import user_error
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from any2seg_core.bags.reader import Recording
from any2seg_core.bags.unpacking import Break, Budget, decompress, unpack_file, unpack_message, zstd
from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import limits_of
from any2seg_core.messages.serialise import typestore

NOTE = "std_msgs/msg/String"


def text_bag(path: Path, count: int, size: int, mode: CompressionMode, plugin=StoragePlugin.MCAP) -> Path:
    """`count` messages of `size` equal characters each, which compress to next to nothing."""
    store = typestore()
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/note", NOTE, typestore=store)
        data = bytes(store.serialize_cdr(store.types[NOTE]("x" * size), NOTE))
        for number in range(count):
            writer.write(connection, 10**9 * (number + 1), data)
    return path


def read(path: Path) -> tuple[int, str]:
    with Recording(path) as bag:
        count = sum(1 for _ in bag.messages())
        return count, " ".join(bag.warnings)


def test_value_chunks_of_mcap_are_read_up_to_the_limit(tmp_path):
    bag = text_bag(tmp_path / "bag", 6, 1_500_000, CompressionMode.STORAGE)
    assert read(bag) == (6, "")
    with limits_of(result_mib=1, ratio=1):
        count, warnings = read(bag)
    assert count == 0 and "claim to hold 1500" in warnings and "ANY2SEG_LIMITS=result_mib" in warnings
    with limits_of(recording_mib=4, recording_ratio=1):
        count, warnings = read(bag)
    assert count == 2 and "ANY2SEG_LIMITS=recording_mib" in warnings


def test_value_messages_and_files_compressed_as_a_whole(tmp_path):
    single = text_bag(tmp_path / "single", 3, 1_500_000, CompressionMode.MESSAGE, StoragePlugin.SQLITE3)
    whole = text_bag(tmp_path / "whole", 3, 1_500_000, CompressionMode.FILE, StoragePlugin.SQLITE3)
    assert read(single) == (3, "") and read(whole) == (3, "")
    with limits_of(result_mib=1, ratio=1, recording_mib=1, recording_ratio=1):
        count, warnings = read(single)
        assert count == 0 and "cannot be unpacked" in warnings
        try:
            count, warnings = read(whole)
        except UserError as error:
            count, warnings = 0, str(error)
        assert count == 0 and "can be unpacked only in part" in warnings and "recording_mib" in warnings


def test_value_chunks_of_ros1(tmp_path):
    for name in ("BZ2", "LZ4"):
        path = write_ros1(tmp_path / f"{name}.bag", small_entries(200), name)
        assert read(path) == (200, "")
        with limits_of(result_mib=1, ratio=1, recording_mib=1, recording_ratio=1, recording_messages=7):
            count, warnings = read(path)
        most = max(7, path.stat().st_size // 4)
        assert count <= most and (count == 200 or "ANY2SEG_LIMITS" in warnings)


def test_value_more_messages_than_a_recording_may_hold(tmp_path):
    bag = text_bag(tmp_path / "bag", 400, 4, CompressionMode.STORAGE)
    with limits_of(recording_messages=5):
        count, warnings = read(bag)
    allowed = sum(path.stat().st_size for path in bag.glob("*.mcap")) // 4
    assert count == min(allowed, 400)
    assert count == 400 or f"more than {allowed} messages" in warnings


def test_value_chunks_that_overlap_are_not_held_together(tmp_path):
    """Chunks that all claim one time would all be open at once: they are read in the order of writing, and sorted."""
    store = typestore()
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/note", NOTE, typestore=store)
        for number in range(8):
            data = bytes(store.serialize_cdr(store.types[NOTE](str(number) * 1_100_000), NOTE))
            writer.write(connection, 10**9 + (number % 2) * 10**6, data)  # one chunk each
    for changes in ({}, {"result_mib": 2, "ratio": 1}):
        with limits_of(**changes), Recording(tmp_path / "bag") as bag:
            first = [(message.time_ns, message.value.data[0]) for message in bag.messages()]
        assert sorted(first) == sorted((10**9 + (k % 2) * 10**6, str(k)) for k in range(8))


@pytest.mark.parametrize(
    "made",
    [
        "CREATE VIEW messages AS WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) "
        "SELECT k AS id, 1 AS topic_id, k AS timestamp, x'00' AS data FROM n LIMIT 9",
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id, timestamp, data GENERATED ALWAYS AS (zeroblob(9)))",
    ],
)
def test_exception_sqlite_whose_rows_are_computed(tmp_path, made):
    database = sqlite3.connect(tmp_path / "a.db3")
    database.execute("CREATE TABLE topics (id INTEGER PRIMARY KEY, name, type, serialization_format)")
    database.execute("INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/String', 'cdr')")
    database.execute(made)
    database.commit()
    database.close()
    with user_error("bag-format", "a.db3"), Recording(tmp_path / "a.db3"):
        pass


def test_value_decompress_stops_at_its_size_and_refuses_claims():
    packed = zstd.compress(bytes(3_000_000))
    assert decompress(packed, "zstd", 10) == (bytes(10), "")
    assert decompress(bz2.compress(b"abc"), "bz2", 3) == (b"abc", "")
    with limits_of(result_mib=1, ratio=1):
        raw, complaint = decompress(packed, "zstd", 3_000_000)
        assert raw == b"" and "claim to hold 3000000, 1048576 are allowed" in complaint
        with user_error("message-codec", "result_mib"):
            unpack_message(packed)
    assert len(unpack_message(packed)) == 3_000_000


def test_exception_budget(tmp_path):
    packed = zstd.compress(bytes(700_000))
    with limits_of(recording_mib=1, recording_ratio=1, recording_messages=2):
        budget = Budget(8)
        assert len(budget.unpack(packed, "zstd", 700_000)[0]) == 700_000
        with pytest.raises(Break, match="8 bytes claim to hold far more.*recording_mib"):
            budget.unpack(packed, "zstd", 700_000)
        budget.count(), budget.count()
        with pytest.raises(Break, match="more than 2 messages"):
            budget.count()
        (tmp_path / "a.zstd").write_bytes(zstd.compress(struct.pack("<Q", 7) * 200_000))
        assert "recording_mib" in unpack_file(tmp_path / "a.zstd", tmp_path / "a")
        assert (tmp_path / "a").stat().st_size == 2**20
