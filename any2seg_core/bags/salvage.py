"""What a damaged storage file still holds: read from its start, without its index, around what is damaged.

MCAP: `salvage_mcap`. ROS 1: bag format 2.0 (records are a header of fields and data). sqlite3: the tables of rosbag2.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from any2seg_core.bags.codec import first_line
from any2seg_core.bags.salvage_mcap import walk_mcap
from any2seg_core.bags.salvage_order import TimeOrder
from any2seg_core.bags.salvage_parts import Lost
from any2seg_core.bags.storage import (
    ALWAYS,
    MCAP_SUFFIX,
    ROS1_SUFFIX,
    SQLITE_SUFFIX,
    Break,
    Interval,
    Ros1File,
    Stored,
    StoredTopic,
    ros1_qos,
    storage_suffix,
)
from any2seg_core.bags.storage_mcap import McapFile
from any2seg_core.bags.storage_sqlite import SqliteFile, open_database, read_topics
from any2seg_core.bags.unpacking import Budget
from any2seg_core.base.limits import limits
from any2seg_core.base.units import NS_PER_S

_ROS1_MAGIC = b"#ROSBAG V2.0\n"
_ROS1_MESSAGE, _ROS1_CHUNK, _ROS1_CONNECTION = 2, 5, 7
_TOLD = 3

Walk = Callable[[Path, Budget], Iterator[StoredTopic | Stored | Lost]]


class SalvagedFile:
    """A damaged file, or one without an index (`reason` is "" then), read from its start; a Storage.

    The constructor goes through the whole file once, to count, and raises Break when not even its beginning makes
    sense. No message is kept in memory but those that `TimeOrder` holds back.

    Args:
        delivered: bytes of the recording as the user gave it, for the limits.
    """

    def __init__(self, path: Path, reason: str, delivered: int) -> None:
        if not path.stat().st_size:
            raise Break("the file is empty")
        self.path, reason = path, reason.rstrip(".")  # another library's sentence goes on here
        self.counts: dict[StoredTopic, int] = {}
        self.zeros = 0
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._delivered, self._order = delivered, TimeOrder(limits().result_bytes(delivered))
        lost: list[str] = []
        place = ""
        try:
            for item in _walk(path, delivered):
                if isinstance(item, Lost):
                    lost.append(item.what)
                else:
                    self._count(item)
        except Break as error:
            place = f"; broken {error}"
        if not self.counts:
            raise Break(f"{reason}{place}")
        total = sum(self.counts.values())
        self.damage, self.notes = "", self._order.notes(path)
        if reason or place or lost:
            place += f"; lost: {_listed(lost)}" if lost else ""
            text = f"{reason}{place}".removeprefix("; ")
            self.damage = f"{path.name}: {text}; {total} messages are read"

    def _count(self, item: StoredTopic | Stored) -> None:
        if isinstance(item, StoredTopic):
            self.counts.setdefault(item, 0)
            return
        topic, time_ns, _ = item
        self.counts[topic] += 1
        self._order.note(time_ns)
        self.end_ns = max(time_ns, self.end_ns or 0)
        if time_ns <= 0:
            self.zeros += 1
            self.start_ns = self.start_ns or 0
        else:
            self.start_ns = min(time_ns, self.start_ns or time_ns)

    def messages(self, wanted: Collection[StoredTopic], within: Interval = ALWAYS) -> Iterator[Stored]:
        """See `Storage`."""
        for item in self._order.sorted(self._stored(), wanted):
            if within.holds(item[1]):
                yield item
            elif self._order.is_ordered and item[1] >= within.until_ns:
                return

    def _stored(self) -> Iterator[Stored]:
        try:
            for item in _walk(self.path, self._delivered):
                if not isinstance(item, StoredTopic | Lost):
                    yield item
        except Break:
            return  # `damage` has said so since the file was opened

    def close(self) -> None:
        """See `Storage`; the file is open only while it is read."""


class ResumingFile:
    """An indexed file that may turn out to be damaged while it is read: the rest then comes in the order of writing.

    Args:
        file: the same file through its index; its `messages` raise Break where it is damaged.
        delivered: bytes of the recording as the user gave it, for the limits.
    """

    def __init__(self, file: McapFile | SqliteFile | Ros1File, delivered: int) -> None:
        self._delivered = delivered
        self.path, self.counts, self.zeros, self.notes = file.path, file.counts, file.zeros, file.notes
        self.start_ns, self.end_ns = file.start_ns, file.end_ns
        self.damage = ""
        self._file = file

    def close(self) -> None:
        """See `Storage`."""
        self._file.close()

    def messages(self, wanted: Collection[StoredTopic], within: Interval = ALWAYS) -> Iterator[Stored]:
        """See `Storage`."""
        total = sum(self.counts[topic] for topic in wanted if topic in self.counts)
        read, last_ns = 0, -1
        at_last: list[StoredTopic] = []  # of the messages with the time `last_ns`
        try:
            for topic, time_ns, data in self._file.messages(wanted, within):
                yield topic, time_ns, data
                read += 1
                at_last = [*at_last, topic] if time_ns == last_ns else [topic]
                last_ns = time_ns
            return
        except Break as error:
            reason = str(error)
        lost: list[str] = []
        for topic, time_ns, data in self._rest(wanted, last_ns, lost):
            if not within.holds(time_ns):
                continue
            if time_ns == last_ns and topic in at_last:
                at_last.remove(topic)
                continue
            yield topic, time_ns, data
            read += 1
        after_s = max(last_ns - (self.start_ns or 0), 0) / NS_PER_S
        what = f"; lost: {_listed(lost)}" if lost else ""
        broken = f"broken {after_s:.3f} s after its start ({reason}){what}"
        counted = f"; read {read} of {total} messages" if within == ALWAYS else ""
        self.damage = f"{self.path.name}: {broken}{counted}"

    def _rest(self, wanted: Collection[StoredTopic], last_ns: int, lost: list[str]) -> Iterator[Stored]:
        """Messages not before `last_ns`, under the names that the index has for them."""
        known = {(topic.name, topic.kind): topic for topic in wanted}
        try:
            for item in _walk(self.path, self._delivered):
                if isinstance(item, Lost):
                    lost.append(item.what)
                elif not isinstance(item, StoredTopic) and item[1] >= last_ns:
                    topic = known.get((item[0].name, item[0].kind))
                    if topic is not None:
                        yield topic, item[1], item[2]
        except Break as error:
            lost.append(f"everything {error}")


def _walk(path: Path, delivered: int) -> Iterator[StoredTopic | Stored | Lost]:
    """One pass in the order of writing; Break where it ends, or where the limits are reached."""
    walks: dict[str, Walk] = {MCAP_SUFFIX: walk_mcap, SQLITE_SUFFIX: _walk_sqlite, ROS1_SUFFIX: _walk_ros1}
    budget = Budget(delivered)
    for item in walks[storage_suffix(path)](path, budget):
        if isinstance(item, tuple):
            budget.count()
        yield item


def _listed(lost: list[str]) -> str:
    more = f" and {len(lost) - _TOLD} more" if len(lost) > _TOLD else ""
    return ", ".join(lost[:_TOLD]) + more


def _walk_sqlite(path: Path, _budget: Budget) -> Iterator[StoredTopic | Stored | Lost]:
    database = open_database(path)
    try:
        database.execute("PRAGMA writable_schema=ON")  # a file that is shorter than it says may be read then
        topics = {}
        for key, topic in read_topics(database):
            topics[key] = topic
            yield topic
        most = path.stat().st_size  # no row takes less than a byte
        next_id, read = 0, 0
        while True:
            try:
                for row_id, key, time_ns, data in database.execute(f"{_ROWS} ORDER BY id", (next_id,)):
                    next_id = row_id + 1
                    if key in topics and isinstance(time_ns, int) and isinstance(data, bytes):
                        yield topics[key], time_ns, data
                        read += 1
                return
            except (sqlite3.Error, OverflowError) as error:
                again = _next_readable(database, next_id, most)
                if again is None:
                    raise Break(f"after message {read} ({first_line(error)})") from None
                yield Lost(f"{again - next_id} messages after the first {read} ({first_line(error)})")
                next_id = again
    finally:
        database.close()


_ROWS = "SELECT id, topic_id, timestamp, data FROM messages WHERE id >= ?"


def _next_readable(database: sqlite3.Connection, broken_id: int, most: int) -> int | None:
    """Least id behind a damaged page from which rows can be read again; None when there is none."""

    def first_row(start: int) -> int | None:
        try:
            row = database.execute(f"{_ROWS} ORDER BY id LIMIT 1", (start,)).fetchone()
        except (sqlite3.Error, OverflowError):
            return None
        return None if row is None else row[0]

    step = 1
    while (found := first_row(broken_id + step)) is None:
        step *= 2
        if step > most:
            return None
    damaged, readable = broken_id + step // 2, broken_id + step
    while readable - damaged > 1:
        middle = (damaged + readable) // 2
        if (row := first_row(middle)) is None:
            damaged = middle
        else:
            readable, found = middle, row
    return found


def _walk_ros1(path: Path, budget: Budget) -> Iterator[StoredTopic | Stored | Lost]:
    topics: dict[int, StoredTopic] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_ROS1_MAGIC)) != _ROS1_MAGIC:
            raise Break("at byte 0 (not a ROS 1 bag of format 2.0)")
        for header, offset, data, missing in _ros1_records(file, size):
            complaint = "record cut off" if missing else ""
            if _ros1_op(header) == _ROS1_CHUNK:
                compression = header.get("compression", b"").decode(errors="replace")
                limit = int.from_bytes(header.get("size", b"")[:4], "little")
                raw, problem = budget.unpack(data, compression, limit)
                if problem and not missing:
                    yield Lost(f"the chunk at byte {offset} ({problem})")
                for inner, _, content, cut in _ros1_records(BytesIO(raw), len(raw)):
                    if not cut:
                        yield from _ros1_item(topics, inner, content, offset)
            elif not missing:
                yield from _ros1_item(topics, header, data, offset)
            if complaint:
                raise Break(f"at byte {offset} ({complaint})")


def _ros1_item(
    topics: dict[int, StoredTopic], header: dict[str, bytes], data: bytes, offset: int
) -> Iterator[StoredTopic | Stored]:
    try:
        operation = _ros1_op(header)
        if operation == _ROS1_CONNECTION:
            (key,) = struct.unpack("<I", header["conn"])
            if key not in topics:
                fields = _ros1_fields(data)
                package, _, name = fields["type"].decode().partition("/")
                qos = ros1_qos(fields.get("latching") == b"1")
                definition = fields["message_definition"].decode(errors="replace")
                topic = header["topic"].decode()
                topics[key] = StoredTopic(topic, f"{package}/msg/{name}", definition, "msg", "ros1", qos)
                yield topics[key]
        elif operation == _ROS1_MESSAGE:
            (key,) = struct.unpack("<I", header["conn"])
            seconds, nanoseconds = struct.unpack("<II", header["time"])
            yield topics[key], seconds * NS_PER_S + nanoseconds, data
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise Break(f"at byte {offset} (record without {first_line(error)})") from None


def _ros1_records(file: BinaryIO, size: int) -> Iterator[tuple[dict[str, bytes], int, bytes, bool]]:
    """(fields of the header, offset, data, whether it is cut off); a record that is cut off is the last one."""
    while (offset := file.tell()) < size:
        header, complete = _ros1_part(file, size)
        data, complete_data = _ros1_part(file, size) if complete else (b"", False)
        missing = not complete_data
        try:
            fields = _ros1_fields(header) if complete else {}
        except struct.error:
            fields, data, missing = {}, b"", True
        yield fields, offset, data, missing
        if missing:
            return


def _ros1_part(file: BinaryIO, size: int) -> tuple[bytes, bool]:
    """A length and so many bytes; (bytes, whether all were there)."""
    head = file.read(4)
    if len(head) < 4:
        return b"", False
    length = int.from_bytes(head, "little")
    data = file.read(min(length, size - file.tell()))
    return data, len(data) == length


def _ros1_fields(header: bytes) -> dict[str, bytes]:
    fields, position = {}, 0
    while position < len(header):
        (length,) = struct.unpack_from("<I", header, position)
        name, equals, value = header[position + 4 : position + 4 + length].partition(b"=")
        if not equals or position + 4 + length > len(header):
            raise struct.error("header field damaged")
        fields[name.decode(errors="replace")] = value
        position += 4 + length
    return fields


def _ros1_op(header: dict[str, bytes]) -> int:
    return int.from_bytes(header.get("op", b""), "little")
