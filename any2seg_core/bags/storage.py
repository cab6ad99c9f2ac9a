"""One storage file of a recording: what the bag needs of it, and a healthy ROS 1 bag."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag1.reader import decompressors

from any2seg_core.bags.codec import Form, first_line
from any2seg_core.bags.unpacking import Break, Budget
from any2seg_core.base.limits import limits, raising
from any2seg_core.base.units import NS_PER_S, duration_text

MCAP_SUFFIX, SQLITE_SUFFIX, ROS1_SUFFIX = ".mcap", ".db3", ".bag"
_ACTIVE = ".active"
SUFFIXES = (MCAP_SUFFIX, SQLITE_SUFFIX, ROS1_SUFFIX)

_FORMS: dict[MessageDefinitionFormat, Form] = {
    MessageDefinitionFormat.NONE: "",
    MessageDefinitionFormat.MSG: "msg",
    MessageDefinitionFormat.IDL: "idl",
}
_TOLD_BACK_NS = NS_PER_S  # messages of several publishers may be a little out of order


@dataclass(frozen=True)
class RecordedQos:
    """Quality of service that a publisher offered while it was recorded; words as in rclpy, lower case."""

    reliability: str
    durability: str
    history: str
    depth: int


LATCHED = RecordedQos("reliable", "transient_local", "keep_last", 1)
PLAIN = RecordedQos("reliable", "volatile", "keep_last", 10)


def ros1_qos(is_latched: bool) -> tuple[RecordedQos, ...]:
    """What a publisher of ROS 1 offers."""
    return (LATCHED if is_latched else PLAIN,)


def is_latched(name: str, qos: Iterable[RecordedQos]) -> bool:
    """Whether the last messages of a topic go on to count: it was offered so, or holds transforms that stand still."""
    return name.endswith("tf_static") or any(profile.durability == LATCHED.durability for profile in qos)


@dataclass(frozen=True)
class StoredTopic:
    """A topic as one storage file declares it.

    Attributes:
        schema: encoding and bytes of its definition in an MCAP file, whatever notation it is in. qos_text: profiles as
            they were stored. Both are what a copy of the topic declares.
    """

    name: str
    kind: str
    definition: str = ""
    form: Form = ""
    serialization: str = "cdr"
    qos: tuple[RecordedQos, ...] = ()
    schema: tuple[str, bytes] = field(default=("", b""), compare=False, repr=False)
    qos_text: str = field(default="", compare=False, repr=False)


Stored = tuple[StoredTopic, int, bytes]
"""Topic, bag time in nanoseconds, bytes as stored."""


class Interval(NamedTuple):
    """Bag times from `from_ns` up to, and without, `until_ns`."""

    from_ns: int
    until_ns: int

    def holds(self, time_ns: int) -> bool:
        """Whether a message of that time is meant."""
        return self.from_ns <= time_ns < self.until_ns


ALWAYS = Interval(-(2**63), 2**64)
"""Every time that a recording can hold."""


class Storage(Protocol):
    """What the bag needs of one file.

    Attributes:
        counts: topic -> number of messages. zeros: how many of them have the bag time 0, or less.
        start_ns, end_ns: first bag time after 0, and last one; 0 where all are 0, None when the file is empty.
        damage: what is wrong with the file, one line, "" while nothing is; may become known while reading.
        notes: what else a user should know, one line each.
    """

    path: Path
    counts: dict[StoredTopic, int]
    zeros: int
    start_ns: int | None
    end_ns: int | None
    damage: str
    notes: tuple[str, ...]

    def messages(self, wanted: Collection[StoredTopic], within: Interval = ALWAYS) -> Iterator[Stored]:
        """Messages of some topics in order of log time; ends at a break, after setting `damage`."""

    def close(self) -> None:
        """Give the file back."""


def storage_suffix(path: Path) -> str:
    """Which of SUFFIXES a file is of, "" for none; a ROS 1 bag is called NAME.bag.active while it is recorded."""
    suffix = Path(path.stem).suffix if path.suffix == _ACTIVE else path.suffix
    return suffix if suffix in SUFFIXES and (path.suffix != _ACTIVE or suffix == ROS1_SUFFIX) else ""


def run_back(path: Path, spans: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """What to tell of bag times that run back; `spans`: (first, last) of parts of the file, in the order of writing."""
    newest_ns, most_ns = 0, 0
    for start_ns, end_ns in spans:
        if start_ns > 0:
            most_ns = max(most_ns, newest_ns - start_ns)
        newest_ns = max(newest_ns, end_ns)
    if most_ns < _TOLD_BACK_NS:
        return ()
    return (
        f"{path.name}: log times run back by {duration_text(most_ns)} in the order of writing (the clock was set, or "
        "parts were joined): read in the order of log time",
    )


class Ros1File:
    """A healthy ROS 1 bag; see `Storage`. The constructor raises anything for a damaged one.

    Args:
        delivered: bytes of the recording as the user gave it, for the limits.
    """

    def __init__(self, path: Path, delivered: int) -> None:
        self.path = path
        self._delivered, self._budget = delivered, Budget(delivered)
        self.damage = ""
        self._reader = Ros1Reader(path)
        self._reader.open()
        chunks = sorted(self._reader.chunk_infos, key=lambda chunk: chunk.pos)
        self.notes = run_back(path, ((chunk.start_time, chunk.end_time) for chunk in chunks))
        names = {unpack: name for name, unpack in decompressors.items()}
        for place, chunk in self._reader.chunks.items():  # rosbags would unpack whatever the chunks claim
            bounded = partial(self._unpack, names[chunk.decompressor])
            self._reader.chunks[place] = chunk._replace(decompressor=bounded)
        self._connections = [(_topic(connection), connection) for connection in self._reader.connections]
        self.counts: dict[StoredTopic, int] = {}
        for topic, connection in self._connections:
            self.counts[topic] = self.counts.get(topic, 0) + connection.msgcount
        self.zeros = 0
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        if any(self.counts.values()):
            self.start_ns = self._reader.start_time
            self.end_ns = self._reader.end_time - 1  # rosbags counts to just after the last message
            if self.start_ns <= 0:
                self.zeros = sum(1 for _ in self._reader.messages(stop=1))
                self.start_ns = next((time_ns for _, time_ns, _ in self._reader.messages(start=1)), 0)

    def _unpack(self, compression: str, packed: bytes) -> bytes:
        most = limits().result_bytes(len(packed))
        raw, complaint = self._budget.unpack(packed, compression, most)
        if complaint or len(raw) == most:
            raise Break(complaint or f"a chunk of {len(packed)} bytes holds {most} or more; {raising('result_mib')}")
        return raw

    def messages(self, wanted: Collection[StoredTopic], within: Interval = ALWAYS) -> Iterator[Stored]:
        """See `Storage`; Break where the file is damaged."""
        self._budget = Budget(self._delivered)
        topics = {connection.id: topic for topic, connection in self._connections if topic in wanted}
        chosen = [connection for _, connection in self._connections if connection.id in topics]
        reading = self._reader.messages(chosen, *within) if chosen else iter(())
        while True:
            try:
                connection, time_ns, data = next(reading)
                self._budget.count()
            except StopIteration:
                return
            except Exception as error:  # damaged bytes: rosbags and what it decompresses with raise anything
                raise Break(first_line(error)) from None
            yield topics[connection.id], time_ns, data

    def close(self) -> None:
        """See `Storage`."""
        self._reader.close()


def _topic(connection: Connection) -> StoredTopic:
    definition, form = connection.msgdef, _FORMS[connection.msgdef.format]
    qos = ros1_qos(bool(getattr(connection.ext, "latching", 0)))
    return StoredTopic(connection.topic, connection.msgtype, definition.data, form, "ros1", qos)
