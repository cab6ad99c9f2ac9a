"""A clip of a recording, read by the `mcap` package and by this project, against the recording itself."""

from __future__ import annotations

import pytest
from bag_files import START_NS, STORE, small_entries, write_bag, write_ros1
from raised import user_error
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from any2seg_core.bags.clip import clip_parts
from any2seg_core.bags.mcap_writing import McapParts
from any2seg_core.bags.reader import Recording

STEP_NS = 100_000_000
FIRST_NS = START_NS + 10
STRING = "std_msgs/msg/String"


def string_entry(time_ns, topic, text):
    return time_ns, topic, STRING, bytes(STORE.serialize_cdr(STORE.types[STRING](text), STRING))


def entries():
    """Twenty images, a word of another topic beside each, and transforms that stand still at the begin."""
    words = [string_entry(time_ns + 5, "/word <b>", f"word {k}") for k, (time_ns, *_) in enumerate(small_entries(20))]
    return sorted([string_entry(START_NS + 1, "/tf_static", "still"), *small_entries(20), *words])


def read(path):
    with Recording(path) as bag:
        assert bag.warnings == []
        return [(m.topic, m.kind, m.time_ns, m.data) for m in bag.messages()]


def clip(bag, folder, from_ns, until_ns):
    path = folder / "clip.mcap"
    path.write_bytes(b"".join(clip_parts(bag, from_ns, until_ns)))
    return path


@pytest.mark.parametrize("options", [
    {}, {"compression": CompressionMode.STORAGE}, {"compression": CompressionMode.MESSAGE},
    {"storage": StoragePlugin.SQLITE3}, {"compression": CompressionMode.FILE},
], ids=["mcap", "chunks", "messages", "sqlite3", "file"])  # fmt: skip
def test_value_clip_holds_what_the_recording_holds_in_between(tmp_path, options):
    """All topics, the same bytes; what was latched before stands at the begin."""
    bag = write_bag(tmp_path / "bag", entries(), **options)
    from_ns, until_ns = FIRST_NS + 3 * STEP_NS, FIRST_NS + 9 * STEP_NS
    whole = read(bag)
    inside = [message for message in whole if from_ns <= message[2] < until_ns]
    latched = [(topic, kind, from_ns, data) for topic, kind, _, data in whole if topic == "/tf_static"]
    assert len(inside) == 12 and len(latched) == 1
    assert sorted(read(clip(bag, tmp_path, from_ns, until_ns))) == sorted([*latched, *inside])


def test_value_clip_of_a_ros1_bag(tmp_path):
    """Messages keep their serialisation; read again they are what the bag gives."""
    bag = write_ros1(tmp_path / "drive.bag", small_entries(12))
    path = clip(bag, tmp_path, FIRST_NS + 2 * STEP_NS, FIRST_NS + 5 * STEP_NS)
    assert read(path) == read(bag)[2:5]


def test_value_clip_is_a_sound_mcap_to_others(tmp_path):
    """The `mcap` package checks every checksum, and finds messages through the index of several chunks."""
    reader = pytest.importorskip("mcap.reader")
    bag = write_bag(tmp_path / "bag", entries())
    path = clip(bag, tmp_path, 0, 2**63)
    with path.open("rb") as file:
        found = reader.make_reader(file, validate_crcs=True)
        summary = found.get_summary()
        counts = {summary.channels[key].topic: n for key, n in summary.statistics.channel_message_counts.items()}
        assert counts == {"/camera/image_raw": 20, "/tf_static": 1, "/word <b>": 20}
        schema = next(each for each in summary.schemas.values() if each.name == STRING)
        assert (schema.encoding, schema.data.decode().strip()) == ("ros2msg", "string data")
        times = [m.log_time for _, _, m in found.iter_messages(["/camera/image_raw"], FIRST_NS + STEP_NS)]
        assert times == [FIRST_NS + k * STEP_NS for k in range(1, 20)]
        qos = next(each for each in summary.channels.values() if each.topic == "/tf_static").metadata
        assert "transient_local" in qos["offered_qos_profiles"] or "durability: 1" in qos["offered_qos_profiles"]


def test_value_clip_keeps_messages_that_nobody_here_can_read(tmp_path):
    """A channel of JSON keeps its encoding, its schema and its bytes."""
    pytest.importorskip("mcap.writer")
    from mcap_files import write_mcap

    def json_channel(writer):
        schema = writer.register_schema("Pose", "jsonschema", b'{"type": "object"}')
        channel = writer.register_channel("/pose", "json", schema)
        writer.add_message(channel, FIRST_NS + STEP_NS, b'{"x": 1}', FIRST_NS + STEP_NS)

    source = write_mcap(tmp_path / "source.mcap", small_entries(3), more=json_channel)
    path = clip(source, tmp_path, 0, 2**63)
    from mcap.reader import make_reader

    with path.open("rb") as file:
        ((schema, channel, message),) = make_reader(file).iter_messages(["/pose"])
    assert (schema.name, schema.encoding, schema.data) == ("Pose", "jsonschema", b'{"type": "object"}')
    assert (channel.message_encoding, message.data) == ("json", b'{"x": 1}')


def test_value_a_long_file_has_many_chunks(tmp_path):
    """Twelve messages of a third of a megabyte: the index leads to each."""
    parts = McapParts("ros2")
    channel = parts.channel("/words", parts.schema(STRING, "ros2msg", b"string data\n"), "cdr")
    data = [string_entry(0, "", letter * 350_000)[3] for letter in "abcdefghijkl"]
    written = [parts.head()]
    for k, each in enumerate(data):
        written += parts.message(channel, FIRST_NS + k, each)
    written += parts.end()
    path = tmp_path / "long.mcap"
    path.write_bytes(b"".join(written))
    assert len(written) > 5
    with Recording(path) as bag:
        assert [m.data for m in bag.messages(None, FIRST_NS + 4, FIRST_NS + 9)] == data[4:9]
        assert (bag.start_ns, bag.end_ns, bag.warnings) == (FIRST_NS, FIRST_NS + 11, [])


def test_exception_an_interval_that_is_none_and_a_bag_that_is_none(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(3))
    with user_error("value-range", 5):
        next(clip_parts(bag, 5, 5))
    with user_error("bag-missing", tmp_path / "none"):
        next(clip_parts(tmp_path / "none", 0, 5))
