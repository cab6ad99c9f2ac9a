from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from bag_files import KITTI_CAMERA, NS_PER_S, START_NS, kitti_entries, small_entries, write_ros1, write_split
from mcap.writer import CompressionType, IndexType
from mcap_files import ros1_schema, ros2_schema, write_mcap

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.data.check import check_tree
from any2seg_core.messages import cloud_to_points, image_to_array
from any2seg_core.sensors.camera import CameraModel

TOPIC, IMAGE = "/camera/image_raw", "sensor_msgs/msg/Image"


def pixels_of(path):
    with Recording(path) as bag:
        return [int(image_to_array(message.value)[0, 0]) for message in bag.messages([TOPIC])], bag.warnings, bag.damage


OPTIONS = {
    "no message index": {"index_types": IndexType.CHUNK},
    "no chunk index": {"index_types": IndexType.MESSAGE},
    "no index": {"index_types": IndexType.NONE},
    "no chunks": {"use_chunking": False},
    "no statistics": {"use_statistics": False},
    "no repeated declarations": {"repeat_channels": False, "repeat_schemas": False},
    "nothing but chunks": {"use_statistics": False, "repeat_channels": False, "repeat_schemas": False,
                           "use_summary_offsets": False},
    "message index alone": {"use_statistics": False, "index_types": IndexType.MESSAGE},
    "zstd": {"compression": CompressionType.ZSTD},
    "lz4": {"compression": CompressionType.LZ4},
    "small chunks": {"chunk_size": 100},
    "no profile": {"profile": ""},
    "a profile of one's own": {"profile": "acme", "index_types": IndexType.CHUNK},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_value_whatever_is_optional_in_mcap_may_be_missing(tmp_path, options):
    """Two topics whose messages are written out of order."""
    entries = small_entries(9) + small_entries(5, "/other", START_NS + NS_PER_S // 20)
    order = np.random.default_rng(3).permutation(len(entries))
    path = write_mcap(tmp_path / "drive.mcap", [entries[k] for k in order], **options)
    with Recording(path) as bag:
        got = [(message.time_ns, message.topic, message.data) for message in bag.messages()]
        assert got == sorted((time_ns, topic, data) for time_ns, topic, _, data in entries)
        assert {name: topic.count for name, topic in bag.topics.items()} == {TOPIC: 9, "/other": 5}
        assert (bag.start_ns, bag.end_ns, bag.damage, bag.warnings) == (START_NS + 10, START_NS + 800_000_010, [], [])
        assert [int(image_to_array(message.value)[0, 0]) for message in bag.messages(["/other"])] == list(range(5))


def test_value_ros1_messages_in_mcap_read_like_the_bag_that_they_came_from(tmp_path):
    entries = kitti_entries(3)
    converted = write_mcap(tmp_path / "drive.mcap", entries, ros1_schema, "ros1", "ros1")
    with Recording(write_ros1(tmp_path / "drive.bag", entries)) as bag:
        expected = [(m.topic, m.kind, m.time_ns, m.stamp_ns, m.data) for m in bag.messages()]
    with Recording(converted) as bag:
        got = [(m.topic, m.kind, m.time_ns, m.stamp_ns, m.data) for m in bag.messages()]
        assert bag.warnings == []
    assert got == expected
    found = inspect_bag(converted)
    assert set(found.choice.map.streams) == {"rgb", "lidar"}
    np.testing.assert_array_equal(found.calibration.calibration.camera.K, KITTI_CAMERA.K)


def test_value_what_was_latched_in_ros1_is_latched_in_mcap(tmp_path):
    """`mcap convert` keeps the header of a connection as metadata of the channel."""

    def add_latched(writer):
        schema = writer.register_schema("std_msgs/String", "ros1msg", b"string data\n")
        for topic, latching in (("/map", {"latching": "1"}), ("/plain", {"latching": "0"}), ("/none", {})):
            channel = writer.register_channel(topic, "ros1", schema, {"callerid": "/a"} | latching)
            writer.add_message(channel, START_NS, b"\1\0\0\0a", START_NS)

    path = write_mcap(tmp_path / "drive.mcap", small_entries(2), more=add_latched)
    with Recording(path) as bag:
        durability = {name: [qos.durability for qos in topic.qos] for name, topic in bag.topics.items()}
    assert durability == {"/map": ["transient_local"], "/plain": ["volatile"], "/none": ["volatile"], TOPIC: []}


@pytest.mark.parametrize("encoding", ["", "ros1msg"])
def test_value_ros1_messages_without_definitions(tmp_path, encoding):
    entries = kitti_entries(2)
    path = write_mcap(tmp_path / "drive.mcap", entries, lambda kind: (ros1_schema(kind)[0], encoding, b""), "ros1")
    with Recording(path) as bag:
        messages = {message.kind.rpartition("/")[2]: message.value for message in bag.messages()}
        assert bag.warnings == []
    assert CameraModel.from_camera_info(messages["CameraInfo"]).width == 1242
    assert messages["Image"].header.frame_id == KITTI_CAMERA.frame_id
    assert len(cloud_to_points(messages["PointCloud2"])) == 4000
    assert len(messages["TFMessage"].transforms) == 2


def without_parts(kind):
    """The definition of the type alone, as some converters write it, not of the types in it."""
    name, encoding, text = ros2_schema(kind)
    return name, encoding, text.partition(b"=" * 80)[0]


TEXTS = {
    "empty": lambda kind: (kind, "ros2msg", b""),
    "type's name": lambda kind: (kind, "ros2msg", kind.encode()),
    "comment": lambda kind: (kind, "ros2msg", b"# see docs.ros.org\n"),
    "unknown": lambda kind: (kind, "unknown", b""),
    "no encoding": lambda kind: (kind, "", b""),
    "empty idl": lambda kind: (kind, "ros2idl", b""),
    "no parts": without_parts,
    "a comment in Latin-1": lambda kind: (*ros2_schema(kind)[:2], b"# 90\xb0\n" + ros2_schema(kind)[2]),
}


@pytest.mark.parametrize("schema", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("options", [{}, {"use_chunking": False}], ids=["indexed", "not"])
def test_value_common_types_are_known_without_a_definition(tmp_path, schema, options):
    path = write_mcap(tmp_path / "drive.mcap", kitti_entries(2), schema, **options)
    found = inspect_bag(path)
    assert set(found.choice.map.streams) == {"rgb", "lidar"}
    assert found.calibration.missing == ()
    assert found.warnings == ()
    assert found.topics["/kitti/camera_color_left/image"].peek.width == 1242


@pytest.mark.parametrize("schema", [TEXTS["empty"], TEXTS["type's name"], TEXTS["unknown"]])
def test_value_a_type_that_nobody_knows_is_named_with_a_way_out(tmp_path, schema):
    entries = [(START_NS, "/status", "acme/msg/Status", b"\0\1\0\0\7\0\0\0")]
    with Recording(write_mcap(tmp_path / "drive.mcap", entries, schema)) as bag:
        (warning,) = bag.warnings
    assert warning.startswith("/status: 1 messages of type acme/msg/Status are skipped: ")
    assert "ros2 bag convert" in warning or "cannot be parsed" in warning


def foreign(writer):
    schema = writer.register_schema(name="foxglove.CompressedImage", encoding="protobuf", data=b"\x0a\xff\x10abc")
    channel = writer.register_channel(topic="/fox/image", message_encoding="protobuf", schema_id=schema)
    writer.add_message(channel, START_NS, b"\x01\x02", START_NS)
    for topic, encoding in (("/json", "json"), ("/nothing", "cdr")):
        channel = writer.register_channel(topic=topic, message_encoding=encoding, schema_id=0)
        writer.add_message(channel, START_NS + 1, b"{}", START_NS + 1)


@pytest.mark.parametrize("options", [{}, {"use_chunking": False}, {"use_statistics": False}])
def test_value_foreign_channels_are_skipped_by_name_and_nothing_is_damaged(tmp_path, options):
    path = write_mcap(tmp_path / "drive.mcap", small_entries(4), more=foreign, **options)
    pixels, warnings, damage = pixels_of(path)
    assert (pixels, damage) == ([0, 1, 2, 3], [])
    assert warnings == [
        "/fox/image: 1 messages of type foxglove.CompressedImage are skipped: serialised as protobuf, not as CDR",
        "/json: 1 messages of type unknown are skipped: serialised as json, not as CDR",
        "/nothing: 1 messages of type unknown are skipped: its channel names no type",
    ]
    report = check_tree(path, modalities=("rgb",), read=True)
    assert [line for lines in report.problems.values() for line in lines] == []


def add_foreign(writer, name, schema_encoding, encoding, count):
    """A second program on the topic of the camera: `count` messages under a type called `name`."""
    schema = writer.register_schema(name=name, encoding=schema_encoding, data=b"{}")
    channel = writer.register_channel(topic=TOPIC, message_encoding=encoding, schema_id=schema)
    for index in range(count):
        writer.add_message(channel, START_NS + index, b"{}", START_NS + index)


@pytest.mark.parametrize("place", ["before", "more"])
@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize(
    ("name", "schema_encoding", "encoding", "told"),
    [
        (IMAGE, "jsonschema", "json", f"messages of type {IMAGE} are skipped: serialised as json, not as CDR"),
        ("foxglove.RawImage", "protobuf", "protobuf", "messages of a second type, foxglove.RawImage, are left out"),
        ("acme/msg/Status", "ros2msg", "cdr", "messages of a second type, acme/msg/Status, are left out"),
    ],
)
def test_value_a_foreign_channel_on_the_topic_of_a_sensor_costs_itself(
    tmp_path, place, count, name, schema_encoding, encoding, told
):
    add = partial(add_foreign, name=name, schema_encoding=schema_encoding, encoding=encoding, count=count)
    path = write_mcap(tmp_path / "drive.mcap", small_entries(4), **{place: add})
    with Recording(path) as bag:
        topic = bag.topics[TOPIC]
        assert (topic.kind, topic.count, topic.problem) == (IMAGE, 4, "")
    pixels, warnings, damage = pixels_of(path)
    assert (pixels, damage) == ([0, 1, 2, 3], [])
    assert warnings == [f"{TOPIC}: {count} {told}"]


def test_value_of_two_types_that_can_be_read_the_one_with_more_messages_counts(tmp_path):
    string = [(START_NS, TOPIC, "std_msgs/msg/String", b"\0\1\0\0\2\0\0\0a\0")]
    with Recording(write_split(tmp_path / "bag", [string, small_entries(4)])) as bag:
        assert (bag.topics[TOPIC].kind, bag.topics[TOPIC].count) == (IMAGE, 4)
        assert bag.warnings == [f"{TOPIC}: 1 messages of a second type, std_msgs/msg/String, are left out"]


@pytest.mark.parametrize("options", [{}, {"use_chunking": False}], ids=["chunks", "no chunks"])
def test_value_log_times_that_run_back_are_sorted_and_told(tmp_path, options):
    """The clock is set back by two hours after four messages."""
    entries = small_entries(4, start_ns=START_NS + 7200 * NS_PER_S) + small_entries(3)
    pixels, warnings, damage = pixels_of(write_mcap(tmp_path / "drive.mcap", entries, chunk_size=1, **options))
    assert pixels == [0, 1, 2, 0, 1, 2, 3]
    assert len(warnings) == 1 and "run back by 2.0 h" in warnings[0] and damage == []
