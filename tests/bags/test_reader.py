from __future__ import annotations

import shutil
import struct

import pytest
import yaml
from bag_files import START_NS, STORE, small_entries, write_bag, write_ros1, write_split
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.lookup import read_sets, start_ns
from any2seg_core.bags.reader import LazyPayload, Recording, header_stamp_ns, is_recording
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.messages import image_to_array
from any2seg_core.vocabulary.topics import TopicMap

TOPIC = "/camera/image_raw"
STEP_NS = 100_000_000
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3


def read(path, topics=None):
    """(header stamp, bag time, first pixel) of all messages, and the warnings."""
    with Recording(path) as bag:
        got = [(m.stamp_ns, m.time_ns, int(image_to_array(m.value)[0, 0])) for m in bag.messages(topics)]
        return got, bag.warnings


def expected(count):
    return [(START_NS + k * STEP_NS, START_NS + k * STEP_NS + 10, k % 256) for k in range(count)]


def storage_file(bag):
    return next(path for path in bag.iterdir() if path.name != "metadata.yaml")


KINDS = {
    "mcap": {},
    "mcap zstd chunks": {"compression": CompressionMode.STORAGE},
    "mcap lz4 chunks": {"lz4_chunks": True},
    "mcap zstd messages": {"compression": CompressionMode.MESSAGE},
    "mcap zstd file": {"compression": CompressionMode.FILE},
    "sqlite3": {"storage": SQLITE},
    "sqlite3 zstd messages": {"storage": SQLITE, "compression": CompressionMode.MESSAGE},
    "sqlite3 zstd file": {"storage": SQLITE, "compression": CompressionMode.FILE},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_value_every_format_gives_the_same_messages(tmp_path, options):
    bag = write_bag(tmp_path / "bag", small_entries(5), **options)
    assert read(bag) == (expected(5), [])
    (bag / "metadata.yaml").unlink()
    got, warnings = read(bag)
    assert got == expected(5)
    assert warnings == ["no metadata.yaml: read from the files alone"]
    alone, warnings = read(storage_file(bag))
    assert alone == expected(5)
    assert warnings == []


@pytest.mark.parametrize("compression", ["", "BZ2", "LZ4"])
def test_value_ros1_bags_read_as_ros2(tmp_path, compression):
    bag = write_ros1(tmp_path / "drive.bag", small_entries(4), compression)
    assert read(bag) == (expected(4), [])
    with Recording(bag) as opened:
        assert opened.topics[TOPIC].kind == "sensor_msgs/msg/Image"
        message = next(opened.messages())
        assert message.data[:4] == b"\x00\x01\x00\x00"  # CDR, which rclpy publishes
        assert header_stamp_ns(message.data) == START_NS


def test_value_topics_with_type_count_and_qos(tmp_path):
    with Recording(write_bag(tmp_path / "bag", small_entries(3))) as bag:
        topic = bag.topics[TOPIC]
        assert (topic.kind, topic.count, topic.problem) == ("sensor_msgs/msg/Image", 3, "")
        assert [(q.reliability, q.durability, q.history, q.depth) for q in topic.qos] == [
            ("best_effort", "volatile", "keep_last", 5)
        ]
        assert (bag.start_ns, bag.end_ns) == (START_NS + 10, START_NS + 2 * STEP_NS + 10)
        assert bag.message_count == 3
        assert list(bag.messages(["/none"])) == []


@pytest.mark.parametrize("share", [1.0, 0.95])
def test_value_log_times_that_run_back_in_a_ros1_bag_are_told(tmp_path, share):
    later, earlier = small_entries(40), small_entries(40, start_ns=START_NS - 3600 * 10**9)
    path = write_ros1(tmp_path / "drive.bag", [*later, *earlier])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    got, warnings = read(path)
    assert [time_ns for _, time_ns, _ in got] == sorted(time_ns for _, time_ns, _ in got)
    assert any("log times run back by 1.0 h" in text for text in warnings)


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_value_split_bags_are_one_stream(tmp_path, storage):
    entries = small_entries(25)
    parts = [entries[2 * k : 2 * k + 2] for k in range(12)] + [entries[24:]]  # more than ten: 10 comes after 9
    bag = write_split(tmp_path / "split", parts, storage)
    assert read(bag) == (expected(25), [])
    missing = bag / ("split_3.mcap" if storage is MCAP else "split_3.db3")
    missing.unlink()
    got, warnings = read(bag)
    assert [pixel for _, _, pixel in got] == [k for k in range(25) if k not in (6, 7)]
    assert len(warnings) == 1 and missing.name in warnings[0]


def test_value_files_that_overlap_are_merged_by_time(tmp_path):
    left = small_entries(6, "/left")
    right = [(time_ns + 5, topic, kind, data) for time_ns, topic, kind, data in small_entries(6, "/right")]
    bag = write_split(tmp_path / "split", [left, right])
    with Recording(bag) as opened:
        topics = [message.topic for message in opened.messages()]
    assert topics == ["/left", "/right"] * 6


def test_value_unknown_types_are_named_with_counts_and_cost_nothing_else(tmp_path):
    entries = small_entries(3)
    entries += [(START_NS + k, "/status", "acme_msgs/msg/Status", b"\0\1\0\0\1\0\0\0") for k in range(4)]
    bag = write_bag(tmp_path / "bag", sorted(entries), SQLITE)
    import sqlite3

    with sqlite3.connect(storage_file(bag)) as database:
        database.execute("DELETE FROM message_definitions")
    with Recording(bag) as opened:
        assert opened.topics["/status"].problem
        assert len(opened.warnings) == 1
        for word in ("/status", "acme_msgs/msg/Status", "4 messages"):
            assert word in opened.warnings[0]
        values = [message for message in opened.messages() if message.topic == "/status"]
        assert len(values) == 4
        with user_error("message-unsupported", "acme_msgs/msg/Status"):
            _ = values[0].value
    got, _ = read(bag, [TOPIC])
    assert got == expected(3)


def test_value_definition_in_the_bag_is_used(tmp_path):
    entries = [(START_NS, "/status", "acme_msgs/msg/Status", b"\0\1\0\0\7\0\0\0")]
    with Recording(write_bag(tmp_path / "bag", entries)) as bag:
        message = next(bag.messages())
        assert message.value.value == 7
        assert message.stamp_ns is None
        assert bag.warnings == []


def test_value_payload_is_deserialised_when_it_is_looked_at(tmp_path):
    with Recording(write_bag(tmp_path / "bag", small_entries(1))) as bag:
        message = next(bag.messages())
        payload = LazyPayload(message)
        assert "value" not in vars(message)
        assert (payload.width, payload.height, payload.header.frame_id) == (7, 5, "camera")
        assert payload.data is message.value.data


@pytest.mark.parametrize("options", [{}, {"compression": CompressionMode.STORAGE}, {"lz4_chunks": True}])
def test_value_truncated_mcap_is_read_to_the_break(tmp_path, options):
    bag = write_bag(tmp_path / "bag", small_entries(40), chunk_every=4, **options)
    storage = storage_file(bag)
    whole = storage.read_bytes()
    seen = set()
    for share in (0.2, 0.3, 0.4):
        storage.write_bytes(whole[: int(share * len(whole))])
        got, warnings = read(bag)
        assert got == expected(len(got))
        assert 0 < len(got) < 40
        assert len(warnings) == 1 and "broken at byte" in warnings[0] and storage.name in warnings[0]
        seen.add(len(got))
    assert len(seen) == 3


def chunk_offsets(whole):
    """Offset and length of each chunk record, by walking the records."""
    offset, found = 8, []
    while whole[offset] != 0x0F:
        (length,) = struct.unpack_from("<Q", whole, offset + 1)
        if whole[offset] == 6:
            found.append((offset, 9 + length))
        offset += 9 + length
    return found


@pytest.mark.parametrize("options", [{}, {"compression": CompressionMode.STORAGE}, {"lz4_chunks": True}])
@pytest.mark.parametrize("hurt", ["content", "length", "index"])
def test_value_mcap_with_a_damaged_chunk_goes_on_behind_it(tmp_path, options, hurt):
    """Ten chunks of four: the content or the length of the fourth is wrong; after the length nothing fits."""
    bag = write_bag(tmp_path / "bag", small_entries(40), chunk_every=4, **options)
    storage = storage_file(bag)
    data = bytearray(storage.read_bytes())
    offset, length = chunk_offsets(data)[3]
    if hurt == "index":  # and nobody has closed the file
        data = data[:-300]
    if hurt == "length":
        data[offset + 1 : offset + 9] = struct.pack("<Q", length + 7)
    data[offset + 33 : offset + 37] = b"\1\2\3\4"  # the checksum
    storage.write_bytes(bytes(data))
    got, warnings = read(bag)
    assert got == [entry for entry in expected(40) if entry[2] not in range(12, 16)]
    assert len(warnings) == 1 and storage.name in warnings[0] and "lost" in warnings[0] and str(offset) in warnings[0]
    if hurt == "content":
        assert "read 36 of 40" in warnings[0]
        assert "0.30 s from" in warnings[0]
    with Recording(bag) as again:  # a pass over few topics warns too, and a second one reads the same
        assert len(list(again.messages([TOPIC]))) == len(list(again.messages([TOPIC]))) == 36


def test_value_sqlite_with_a_damaged_page_goes_on_behind_it(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(400), SQLITE)
    storage = storage_file(bag)
    data = bytearray(storage.read_bytes())
    page_size = int.from_bytes(data[16:18], "big")
    place = data.find(expected_data(200))
    start = place // page_size * page_size
    data[start : start + 60] = b"\xff" * 60
    storage.write_bytes(bytes(data))
    got, warnings = read(bag)
    whole = expected(400)
    assert set(got) < set(whole)
    assert got == sorted(got)
    assert set(whole[:150] + whole[250:]) <= set(got)
    assert 1 <= 400 - len(got) < 60
    assert len(warnings) == 1 and "lost" in warnings[0] and storage.name in warnings[0]
    assert f"{400 - len(got)} messages after" in warnings[0]


def expected_data(index):
    """Bytes of one small image, as they lie in the file."""
    return small_entries(index + 1)[index][3][-35:]


@pytest.mark.parametrize("compression", ["BZ2", "LZ4"])
def test_value_ros1_with_a_damaged_chunk_goes_on_behind_it(tmp_path, compression):
    bag = write_ros1(tmp_path / "drive.bag", small_entries(300), compression)
    data = bytearray(bag.read_bytes())
    middle = data.find(b"op=\x05", len(data) // 2)
    data[middle + 60 : middle + 120] = b"\xff" * 60
    bag.write_bytes(bytes(data))
    got, warnings = read(bag)
    assert 250 < len(got) < 300
    assert set(got) < set(expected(300))
    assert got[-1] == expected(300)[-1]
    assert len(warnings) == 1 and "lost" in warnings[0]


def test_value_mcap_that_was_never_closed_is_read_whole(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(12), chunk_every=4)
    storage = storage_file(bag)
    storage.write_bytes(storage.read_bytes()[:-300])
    got, warnings = read(bag)
    assert got == expected(12)
    assert len(warnings) == 1 and storage.name in warnings[0]


def test_value_partial_last_chunk_gives_its_messages(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(40))  # one chunk for all
    storage = storage_file(bag)
    whole = storage.read_bytes()
    storage.write_bytes(whole[: len(whole) // 3])
    got, warnings = read(bag)
    assert got == expected(len(got))
    assert len(got) >= 5
    assert "chunk cut off" in warnings[0]


def test_value_truncated_sqlite_is_read_to_the_break(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(400), SQLITE)
    storage = storage_file(bag)
    whole = storage.read_bytes()
    storage.write_bytes(whole[: len(whole) * 6 // 10])
    got, warnings = read(bag)
    assert got == expected(len(got))
    assert 50 < len(got) < 400
    assert len(warnings) == 1 and storage.name in warnings[0] and "broken" in warnings[0]


@pytest.mark.parametrize("compression", ["", "BZ2", "LZ4"])
def test_value_truncated_ros1_is_read_to_the_break(tmp_path, compression):
    bag = write_ros1(tmp_path / "drive.bag", small_entries(300), compression)
    whole = bag.read_bytes()
    bag.write_bytes(whole[: len(whole) // 2])
    got, warnings = read(bag)
    assert got == expected(len(got))
    assert 50 < len(got) < 250
    assert len(warnings) == 1 and "drive.bag" in warnings[0]


def test_value_compressed_file_that_was_cut_is_read_to_the_break(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(3000), compression=CompressionMode.FILE, chunk_every=10)
    storage = storage_file(bag)
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size * 3 // 4])
    got, warnings = read(bag)
    assert got == expected(len(got))
    assert len(got) > 0
    assert any("unpacked only in part" in warning for warning in warnings)


def unchunked_mcap(entries):
    """An MCAP as rosbag2's fastwrite makes it: no chunks, no summary; records by hand after the specification."""

    def text(value):
        return struct.pack("<I", len(value.encode())) + value.encode()

    def record(opcode, content):
        return struct.pack("<BQ", opcode, len(content)) + content

    magic = b"\x89MCAP0\r\n"
    definition, _ = STORE.generate_msgdef("sensor_msgs/msg/Image", ros_version=2)
    parts = [magic, record(1, text("ros2") + text("by hand"))]
    parts.append(record(3, struct.pack("<H", 1) + text("sensor_msgs/msg/Image") + text("ros2msg") + text(definition)))
    parts.append(record(4, struct.pack("<HH", 0, 1) + text(TOPIC) + text("cdr") + struct.pack("<I", 0)))
    parts += [record(5, struct.pack("<HIQQ", 0, 0, time_ns, time_ns) + data) for time_ns, _, _, data in entries]
    parts += [record(15, struct.pack("<I", 0)), record(2, struct.pack("<QQI", 0, 0, 0)), magic]
    return b"".join(parts)


def test_value_mcap_without_index_in_the_order_of_log_time(tmp_path):
    entries = small_entries(6)
    entries[2], entries[3] = entries[3], entries[2]
    path = tmp_path / "fast.mcap"
    path.write_bytes(unchunked_mcap(entries))
    got, warnings = read(path)
    assert [pixel for _, _, pixel in got] == [0, 1, 2, 3, 4, 5]
    assert warnings == []


def test_value_write_ahead_file_of_a_killed_recorder_is_told(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(2), SQLITE)
    storage = storage_file(bag)
    storage.with_name(f"{storage.name}-wal").write_bytes(b"pages")
    got, warnings = read(bag)
    assert got == expected(2)
    assert len(warnings) == 1 and "wal_checkpoint" in warnings[0]


def test_value_a_broken_part_does_not_take_the_others_along(tmp_path):
    entries = small_entries(9)
    bag = write_split(tmp_path / "split", [entries[:3], entries[3:6], entries[6:]])
    (bag / "split_1.mcap").write_bytes(b"nothing")
    got, warnings = read(bag)
    assert [pixel for _, _, pixel in got] == [0, 1, 2, 6, 7, 8]
    assert len(warnings) == 1 and "split_1.mcap" in warnings[0]


@pytest.mark.parametrize("content", ["a: [1", "a: 1", "\x00", "[]"])
def test_value_damaged_metadata_is_a_warning(tmp_path, content):
    bag = write_bag(tmp_path / "bag", small_entries(3))
    (bag / "metadata.yaml").write_text(content)
    got, warnings = read(bag)
    assert got == expected(3)
    assert warnings == ["metadata.yaml is damaged: read from the files alone"]


@pytest.mark.parametrize("name", ["drive.mcap", "drive.db3", "drive.bag", "drive.txt", "drive.mcap.zstd"])
@pytest.mark.parametrize("content", [None, b"", b"not a bag file at all" * 40])
def test_exception_unreadable_bag_names_the_path(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with user_error("bag-missing" if content is None else "bag-format", path) as caught, Recording(path):
        pass
    assert "\n" not in str(caught.value)


def test_exception_folders_that_are_no_bag(tmp_path):
    with user_error("bag-format"), Recording(tmp_path):
        pass
    for storage in (MCAP, SQLITE):
        shutil.copy(storage_file(write_bag(tmp_path / storage.name, small_entries(1), storage)), tmp_path)
    with user_error("bag-ambiguous"), Recording(tmp_path):
        pass
    with user_error("file-unreadable"), Recording(tmp_path / ("n" * 300)):
        pass


def test_value_start_and_sets_are_found_again(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(3))
    assert start_ns(bag) == START_NS + 10
    stamps = [START_NS + k * STEP_NS for k in range(3)]
    wanted = {50: {"rgb": (stamps[1], stamps[2])}, 60: {"rgb": (stamps[2],), "lidar": (1,)}}
    found = read_sets(bag, TopicMap({"rgb": TOPIC}, {}), wanted)
    assert [int(image_to_array(message)[0, 0]) for message in found[50]["rgb"]] == [1, 2]
    assert [int(image_to_array(message)[0, 0]) for message in found[60]["rgb"]] == [2]
    assert "lidar" not in found[60]


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, SQLITE])
def test_value_files_that_operating_systems_leave_are_no_recordings(tmp_path, storage):
    bag = write_bag(tmp_path / "bag", small_entries(4), storage)
    file = storage_file(bag)
    file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    (bag / "._another.mcap").write_bytes(b"\0\5\x16\7")
    (bag / "._metadata.yaml").write_bytes(b"\0\5\x16\7")
    (bag / ".DS_Store").touch()
    for metadata in (True, False):
        with Recording(bag) as opened:
            assert len(list(opened.messages())) == len(small_entries(4))
            assert all("._" not in warning for warning in opened.warnings)
        if metadata:
            (bag / "metadata.yaml").unlink()
    file.unlink()
    assert not is_recording(bag)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """(suffix, bytes) of one healthy storage file per format."""
    folder = tmp_path_factory.mktemp("originals")
    files = [
        storage_file(write_bag(folder / "mcap", small_entries(8), chunk_every=3)),
        storage_file(write_bag(folder / "zstd", small_entries(8), compression=CompressionMode.STORAGE)),
        storage_file(write_bag(folder / "db", small_entries(8), SQLITE)),
        write_ros1(folder / "one.bag", small_entries(8), "LZ4"),
    ]
    return [(file.suffix, file.read_bytes()) for file in files]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_property_flipped_and_cut_bytes_raise_only_user_errors(originals, tmp_path_factory, data):
    suffix, whole = data.draw(st.sampled_from(originals))
    damaged = bytearray(whole)
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        damaged[position] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    path = tmp_path_factory.mktemp("damaged") / f"drive{suffix}"
    path.write_bytes(bytes(damaged))
    try:
        with Recording(path) as bag:
            for message in bag.messages():
                assert message.topic in bag.topics
                try:
                    _ = message.stamp_ns, message.value
                except MessageError as error:
                    assert "\n" not in str(error)
            assert all("\n" not in warning for warning in bag.warnings)
        inspect_bag(path)
    except UserError as error:
        assert "\n" not in str(error)


def test_value_metadata_of_the_helper_is_what_rosbag2_writes(tmp_path):
    """The tests' own split bag names its files as rosbag2 does."""
    bag = write_split(tmp_path / "split", [small_entries(1)])
    document = yaml.safe_load((bag / "metadata.yaml").read_text())
    assert document["rosbag2_bagfile_information"]["relative_file_paths"] == ["split_0.mcap"]


@pytest.mark.parametrize(("data", "told"), [(b"", ("bag-format", "a.mcap")),
                                            (b"abcdef", ("bag-format", "a.mcap", "byte 0"))])  # fmt: skip
def test_exception_a_file_without_content_or_sense(tmp_path, data, told):
    path = tmp_path / "a.mcap"
    path.write_bytes(data)
    with user_error(*told), Recording(path):
        pass


@pytest.mark.parametrize("compression", ["", "LZ4"])
@pytest.mark.parametrize("share", [0.7, 1.0])
def test_value_a_bag_of_a_killed_ros1_recorder_is_read_under_the_name_that_it_has(tmp_path, compression, share):
    """NAME.bag.active: what the same bytes give under the name NAME.bag."""
    whole = write_ros1(tmp_path / "drive.bag", small_entries(300), compression)
    whole.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    got, warnings = read(whole)
    active = whole.rename(tmp_path / "drive.bag.active")
    assert is_recording(active) and is_recording(tmp_path)
    assert read(active)[0] == read(tmp_path)[0] == got
    assert [text.replace(".active", "") for text in read(active)[1]] == warnings
    assert not is_recording(tmp_path / "drive.active") and not is_recording(tmp_path / "drive.db3.active")


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_value_a_file_that_lies_there_packed_and_unpacked_is_read_once(tmp_path, storage):
    """`unzstd` keeps what it unpacks, and a recorder that was killed while it packed leaves both, no metadata.yaml."""
    bag = write_bag(tmp_path / "bag", small_entries(5), storage, CompressionMode.FILE)
    packed, plain = storage_file(bag), storage_file(write_bag(tmp_path / "plain", small_entries(5), storage))
    shutil.copy(plain, packed.with_suffix(""))
    (bag / "metadata.yaml").unlink()
    packed.write_bytes(packed.read_bytes()[:-20])
    got, warnings = read(bag)
    assert got == expected(5)
    assert any(f"{packed.name} is left out: {packed.stem} beside it" in text for text in warnings)
    assert not any("unpacked only in part" in text for text in warnings)


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_value_a_part_that_metadata_names_packed_may_be_unpacked(tmp_path, storage):
    entries = small_entries(4)
    bag = write_split(tmp_path / "split", [entries[:2], entries[2:]], storage)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(storage_file(bag).suffix, storage_file(bag).suffix + ".zstd"))
    assert read(bag) == (expected(4), [])
    first = sorted(path for path in bag.iterdir() if path != metadata)[0]
    first.unlink()
    got, warnings = read(bag)
    assert got == expected(4)[2:]
    assert len(warnings) == 1 and first.name in warnings[0]


def test_value_the_copy_that_reindexing_a_ros1_bag_leaves_is_left_out(tmp_path):
    write_ros1(tmp_path / "drive.bag", small_entries(5))
    shutil.copy(tmp_path / "drive.bag", tmp_path / "drive.orig.bag")
    got, warnings = read(tmp_path)
    assert got == expected(5)
    (warning,) = warnings
    assert "drive.orig.bag is left out: drive.bag beside it" in warning
    assert read(tmp_path / "drive.orig.bag") == (expected(5), [])
    (tmp_path / "drive.bag").unlink()
    assert read(tmp_path) == (expected(5), [])


def test_value_a_type_without_definition_does_not_make_a_sqlite_file_damaged(tmp_path):
    """rosbag2 notes the notation "unknown" where the recorder lacked the package of a type."""
    import sqlite3

    bag = write_bag(tmp_path / "bag", small_entries(4), SQLITE)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute("UPDATE message_definitions SET encoding = 'unknown', encoded_message_definition = ''")
    assert read(bag) == (expected(4), [])
