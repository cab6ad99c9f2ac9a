"""Recordings without ROS: raw and typed messages of a rosbag2, in order of the bag's time."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from any2seg_core.errors import UserError
from any2seg_core.topics import TopicMap
from any2seg_core.units import NS_PER_S

# What rosbags and its parsers raise on flipped and missing bytes.
_DAMAGES = (
    AnyReaderError, ReaderError, SerdeError, OSError, LookupError, ValueError, ArithmeticError, EOFError, RuntimeError,
    MemoryError, AssertionError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """One message of a bag: topic, type, the bag's time in nanoseconds, CDR bytes."""

    topic: str
    kind: str
    time_ns: int
    data: bytes


@contextmanager
def _opened(path: Path) -> Iterator[AnyReader]:
    try:
        if not path.exists():
            raise UserError(f"{path}: no such bag; give a rosbag2 folder (with metadata.yaml) or an .mcap file")
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            yield reader
    except UserError:
        raise
    except _DAMAGES as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{path}: is not a readable rosbag2 ({reason}); record it anew or give another bag") from None


def topic_kinds(path: Path) -> dict[str, str]:
    """Topic -> type of everything in a bag; UserError for an unreadable one."""
    with _opened(path) as reader:
        return {connection.topic: connection.msgtype for connection in reader.connections}


def start_ns(path: Path) -> int:
    """The bag's time of its first message; UserError for an unreadable bag."""
    with _opened(path) as reader:
        return reader.start_time


def read_raw(path: Path) -> Iterator[Recorded]:
    """All messages, serialised; UserError for an unreadable bag."""
    with _opened(path) as reader:
        for connection, time_ns, data in reader.messages():
            yield Recorded(connection.topic, connection.msgtype, time_ns, bytes(data))


def header_stamp_ns(data: bytes) -> int:
    """Stamp of a serialised message that begins with a std_msgs/Header."""
    order = "<" if data[1] & 1 else ">"  # CDR encapsulation: bit 0 of the second byte is little-endian
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return seconds * NS_PER_S + nanoseconds


def read_sets(
    path: Path, topics: TopicMap, wanted: Mapping[int, Mapping[str, Sequence[int]]]
) -> dict[int, dict[str, list[Any]]]:
    """The very messages that given sets were made of.

    Args:
        path: bag. topics: which topic carries which sensor.
        wanted: stamp of the set -> modality -> header stamps of its messages, nanoseconds.

    Returns:
        Stamp of the set -> modality -> messages, ready for ``FrameBuilder.build``. A message that the bag does not
        hold is left out.
    """
    found: dict[int, dict[str, list[Any]]] = {stamp_ns: {} for stamp_ns in wanted}
    names = {topic: name for name, topic in topics.streams.items()}
    sets_of: dict[tuple[str, int], list[int]] = {}
    for set_stamp_ns, members in wanted.items():
        for name, stamps_ns in members.items():
            for stamp_ns in stamps_ns:
                sets_of.setdefault((name, stamp_ns), []).append(set_stamp_ns)
    with _opened(path) as reader:
        connections = [connection for connection in reader.connections if connection.topic in names]
        for connection, _, data in reader.messages(connections) if connections else ():
            name = names[connection.topic]
            for set_stamp_ns in sets_of.get((name, header_stamp_ns(data)), ()):
                found[set_stamp_ns].setdefault(name, []).append(reader.deserialize(data, connection.msgtype))
    return found
