"""One storage file of a recording: MCAP, sqlite3 or ROS 1, through its index."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rosbags.interfaces import Connection, MessageDefinitionFormat, Qos
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader

from any2seg_core.bags.codec import Form, first_line

ROS1_SUFFIX = ".bag"
SUFFIXES = (".mcap", ".db3", ROS1_SUFFIX)

_FORMS: dict[MessageDefinitionFormat, Form] = {
    MessageDefinitionFormat.NONE: "",
    MessageDefinitionFormat.MSG: "msg",
    MessageDefinitionFormat.IDL: "idl",
}


class Break(Exception):  # noqa: N818 not an error: a place in a file
    """Where a file stops making sense."""


@dataclass(frozen=True)
class RecordedQos:
    """Quality of service that a publisher offered while it was recorded; words as in rclpy, lower case."""

    reliability: str
    durability: str
    history: str
    depth: int


LATCHED = RecordedQos("reliable", "transient_local", "keep_last", 1)
PLAIN = RecordedQos("reliable", "volatile", "keep_last", 10)


@dataclass(frozen=True)
class StoredTopic:
    """A topic as one storage file declares it."""

    name: str
    kind: str
    definition: str = ""
    form: Form = ""
    serialization: str = "cdr"
    qos: tuple[RecordedQos, ...] = ()


Stored = tuple[StoredTopic, int, bytes]
"""Topic, bag time in nanoseconds, bytes as stored."""


class Storage(Protocol):
    """What the bag needs of one file.

    Attributes:
        counts: topic -> number of messages. start_ns, end_ns: first and last bag time; None when empty.
        damage: what is wrong with the file, one line, "" while nothing is; may become known while reading.
    """

    path: Path
    counts: dict[StoredTopic, int]
    start_ns: int | None
    end_ns: int | None
    damage: str

    def messages(self, wanted: Collection[StoredTopic]) -> Iterator[Stored]:
        """Messages of some topics in order of the bag's time; ends at a break, after setting `damage`."""

    def close(self) -> None:
        """Give the file back."""


def simple_qos(profiles: Collection[Qos]) -> tuple[RecordedQos, ...]:
    """rosbags' profiles in plain words."""
    return tuple(
        RecordedQos(q.reliability.name.lower(), q.durability.name.lower(), q.history.name.lower(), int(q.depth))
        for q in profiles
    )


class IndexedFile:
    """A healthy file, read through the index that it carries. The constructor raises anything for a damaged one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self._is_ros1 = path.suffix == ROS1_SUFFIX
        self._reader = Ros1Reader(path) if self._is_ros1 else Ros2Reader(path)
        self._reader.open()
        self._connections: list[tuple[StoredTopic, Connection]] = [
            (self._topic(connection), connection) for connection in self._reader.connections
        ]
        self.counts: dict[StoredTopic, int] = {}
        for topic, connection in self._connections:
            self.counts[topic] = self.counts.get(topic, 0) + connection.msgcount
        is_empty = not any(self.counts.values())
        self.start_ns = None if is_empty else self._reader.start_time
        self.end_ns = None if is_empty else self._reader.end_time - 1  # rosbags counts to just after the last message

    @property
    def is_unindexed(self) -> bool:
        """An MCAP without chunks (rosbag2's fastwrite): rosbags reads it only if its messages happen to be in order."""
        return self.path.suffix == ".mcap" and any(self.counts.values()) and not self._reader.storage.chunks

    def messages(self, wanted: Collection[StoredTopic]) -> Iterator[Stored]:
        """See `Storage`; Break where the file is damaged."""
        topics = {connection.id: topic for topic, connection in self._connections if topic in wanted}
        chosen = [connection for _, connection in self._connections if connection.id in topics]
        reading = self._reader.messages(chosen) if chosen else iter(())
        while True:
            try:
                connection, time_ns, data = next(reading)
            except StopIteration:
                return
            except Exception as error:  # damaged bytes: rosbags and what it decompresses with raise anything
                raise Break(first_line(error)) from None
            yield topics[connection.id], time_ns, data

    def close(self) -> None:
        """See `Storage`."""
        self._reader.close()

    def _topic(self, connection: Connection) -> StoredTopic:
        if self._is_ros1:
            qos, serialization = (LATCHED if connection.ext.latching else PLAIN,), "ros1"
        else:
            qos, serialization = simple_qos(connection.ext.offered_qos_profiles), connection.ext.serialization_format
        definition = connection.msgdef
        return StoredTopic(
            connection.topic, connection.msgtype, definition.data, _FORMS[definition.format], serialization, qos
        )
