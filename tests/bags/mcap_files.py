"""MCAP files as other programs than rosbag2 write them: by the `mcap` package, with any of its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from bag_files import STORE, Entry
from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

Schema = tuple[str, str, bytes]
"""Name, encoding, text."""


def ros2_schema(kind: str) -> Schema:
    return kind, "ros2msg", STORE.generate_msgdef(kind, ros_version=2)[0].encode()


def ros1_schema(kind: str) -> Schema:
    noetic = get_typestore(Stores.ROS1_NOETIC)
    noetic.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms\n", "tf2_msgs/msg/TFMessage"))
    return kind.replace("/msg/", "/"), "ros1msg", noetic.generate_msgdef(kind, ros_version=1)[0].encode()


def write_mcap(
    path: Path,
    entries: Iterable[Entry],
    schema: Callable[[str], Schema] = ros2_schema,
    serialization: str = "cdr",
    profile: str = "ros2",
    before: Callable[[Writer], None] = lambda writer: None,
    more: Callable[[Writer], None] = lambda writer: None,
    **options,
) -> Path:
    """One .mcap; `options` are those of the writer, `before` and `more` add what is no message of ROS."""
    options.setdefault("compression", CompressionType.NONE)
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start(profile=profile)
        before(writer)
        schemas, channels = {}, {}
        for sequence, (time_ns, topic, kind, data) in enumerate(entries):
            if kind not in schemas:
                name, encoding, text = schema(kind)
                schemas[kind] = writer.register_schema(name=name, encoding=encoding, data=text)
            if topic not in channels:
                channels[topic] = writer.register_channel(
                    topic=topic, message_encoding=serialization, schema_id=schemas[kind]
                )
            data = bytes(STORE.cdr_to_ros1(data, kind)) if serialization == "ros1" else data
            writer.add_message(channels[topic], time_ns, data, time_ns, sequence)
        more(writer)
        writer.finish()
    return path
