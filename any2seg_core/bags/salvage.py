"""What a damaged storage file still holds: read from its start, without its index, up to the break.

MCAP: https://mcap.dev/spec (records are opcode, length, content; chunks hold records). ROS 1: bag format 2.0 (records
are a header of fields and data). sqlite3: the tables of rosbag2, in the order of writing.
"""

from __future__ import annotations

import bz2
import sqlite3
import struct
import sys
from binascii import crc32
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from lz4.frame import LZ4FrameDecompressor

from any2seg_core.bags.codec import Form, first_line
from any2seg_core.bags.storage import LATCHED, PLAIN, ROS1_SUFFIX, RecordedQos, Stored, StoredTopic
from any2seg_core.units import NS_PER_S

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MCAP_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END, _FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02
_ROS1_MAGIC = b"#ROSBAG V2.0\n"
_ROS1_MESSAGE, _ROS1_CHUNK, _ROS1_CONNECTION = 2, 5, 7
_MAX_CHUNK_BYTES = 2**31 - 1
_FORMS: dict[str, Form] = {"ros2msg": "msg", "ros2idl": "idl", "omgidl": "idl"}
_QOS_WORDS = {
    "reliability": ("system_default", "reliable", "best_effort", "unknown", "best_available"),
    "durability": ("system_default", "transient_local", "volatile", "unknown", "best_available"),
    "history": ("system_default", "keep_last", "keep_all", "unknown"),
}


class Break(Exception):  # noqa: N818 not an error: a place in a file
    """Where a file stops making sense."""


class SalvagedFile:
    """A damaged file, or one without an index (`reason` is "" then), read in the order of writing; a Storage.

    The constructor goes through the whole file once, to count, and raises Break when not even its beginning makes
    sense. Nothing is kept in memory.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.counts: dict[StoredTopic, int] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        walk = {".mcap": _walk_mcap, ".db3": _walk_sqlite, ROS1_SUFFIX: _walk_ros1}
        self._walk = walk[path.suffix]
        place = ""
        try:
            for item in self._walk(path):
                self._count(item)
        except Break as error:
            place = f"; broken {error}"
        if not self.counts:
            raise Break(f"{reason}{place}")
        total = sum(self.counts.values())
        self.damage = ""
        if reason or place:
            self.damage = f"{path.name}: {reason}{place}; {total} messages before that are read in order of writing"

    def _count(self, item: StoredTopic | Stored) -> None:
        if isinstance(item, StoredTopic):
            self.counts.setdefault(item, 0)
            return
        topic, time_ns, _ = item
        self.counts[topic] += 1
        self.start_ns = time_ns if self.start_ns is None else min(self.start_ns, time_ns)
        self.end_ns = time_ns if self.end_ns is None else max(self.end_ns, time_ns)

    def messages(self, wanted: Collection[StoredTopic]) -> Iterator[Stored]:
        """See `Storage`."""
        try:
            for item in self._walk(self.path):
                if not isinstance(item, StoredTopic) and item[0] in wanted:
                    yield item
        except Break:
            return  # `damage` has said so since the file was opened

    def close(self) -> None:
        """See `Storage`; the file is open only while it is read."""


def _walk_mcap(path: Path) -> Iterator[StoredTopic | Stored]:
    schemas: dict[int, tuple[str, Form, str]] = {}
    topics: dict[int, StoredTopic] = {}
    for opcode, offset, content in _mcap_records(path):
        try:
            if opcode == _SCHEMA:
                key, name, encoding, definition = _read_fields(content, "HSSS")
                schemas[key] = (name, _FORMS.get(encoding, ""), definition)
            elif opcode == _CHANNEL:
                key, schema, name, serialization, metadata = _read_fields(content, "HHSSM")
                kind, form, definition = schemas.get(schema, ("", "", ""))
                qos = _parse_qos(metadata.get("offered_qos_profiles", ""))
                if key not in topics:
                    topics[key] = StoredTopic(name, kind, definition, form, serialization, qos)
                    yield topics[key]
            elif opcode == _MESSAGE:
                key, _, time_ns, _ = struct.unpack_from("<HIQQ", content)
                yield topics[key], time_ns, content[22:]
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            raise Break(f"at byte {offset} (record {opcode:#x}: {first_line(error)})") from None


def _mcap_records(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(opcode, offset in the file, content) of all records up to the end of the data section, chunks opened."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_MCAP_MAGIC)) != _MCAP_MAGIC:
            raise Break("at byte 0 (not an MCAP file)")
        for opcode, offset, content, missing in _tagged_records(file, size):
            if opcode in (_DATA_END, _FOOTER):
                return
            if opcode != _CHUNK:
                if missing:
                    raise Break(f"at byte {offset} (record cut off)")
                yield opcode, offset, content
                continue
            raw, complaint = _open_mcap_chunk(content, missing)
            for inner, _, record, cut in _tagged_records(BytesIO(raw), len(raw)):
                if not cut:
                    yield inner, offset, record
            if complaint:
                raise Break(f"at byte {offset} ({complaint})")


def _tagged_records(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes, bool]]:
    """(opcode, offset, content, whether it is cut off); a record that is cut off is the last one."""
    while (offset := file.tell()) < size:
        head = file.read(9)
        if len(head) < 9:
            yield 0, offset, b"", True
            return
        opcode, length = struct.unpack("<BQ", head)
        missing = offset + 9 + length > size
        yield opcode, offset, file.read(min(length, size - offset - 9)), missing
        if missing:
            return


def _open_mcap_chunk(content: bytes, missing: bool) -> tuple[bytes, str]:
    """(records of the chunk as far as they can be had, complaint)."""
    try:
        _, _, raw_size, checksum, compression, packed_size = _read_fields(content, "QQQISQ")
    except (struct.error, UnicodeDecodeError):
        return b"", "chunk header damaged"
    start = 8 * 3 + 4 + 4 + len(compression.encode()) + 8
    packed = content[start : start + packed_size]
    raw, complaint = _decompress(packed, compression, min(raw_size, _MAX_CHUNK_BYTES))
    if missing or len(packed) < packed_size:
        return raw, "chunk cut off"
    if complaint or len(raw) != raw_size or (checksum and crc32(raw) != checksum):
        return b"", f"chunk damaged ({complaint or 'its checksum differs'})"  # of flipped bytes nothing can be trusted
    return raw, ""


def _decompress(packed: bytes, compression: str, size: int) -> tuple[bytes, str]:
    """(as many bytes as there are, complaint)."""
    try:
        if compression in ("", "none"):
            return packed, ""
        if compression == "zstd":
            return zstd.ZstdDecompressor().decompress(packed, size), ""
        if compression == "lz4":
            return LZ4FrameDecompressor().decompress(packed, size), ""
        if compression == "bz2":
            return bz2.BZ2Decompressor().decompress(packed, size), ""
    except (zstd.ZstdError, RuntimeError, OSError, ValueError, EOFError, MemoryError) as error:
        return b"", first_line(error)
    return b"", f"unknown compression {compression!r}"


def _read_fields(content: bytes, layout: str) -> list[Any]:
    """Fields of an MCAP record: H, I, Q integers, S text, M map of text; struct.error when too short."""
    values: list[Any] = []
    position = 0

    def take_text() -> str:
        nonlocal position
        (length,) = struct.unpack_from("<I", content, position)
        text = content[position + 4 : position + 4 + length]
        if len(text) < length:
            raise struct.error("text cut off")
        position += 4 + length
        return text.decode()

    for code in layout:
        if code == "S":
            values.append(take_text())
        elif code == "M":
            (length,) = struct.unpack_from("<I", content, position)
            position += 4
            end, pairs = position + length, {}
            while position < end:
                key = take_text()
                pairs[key] = take_text()
            values.append(pairs)
        else:
            values.append(struct.unpack_from(f"<{code}", content, position)[0])
            position += struct.calcsize(f"<{code}")
    return values


def _walk_sqlite(path: Path) -> Iterator[StoredTopic | Stored]:
    try:
        database = sqlite3.connect(f"file:{path.resolve().as_posix()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise Break(f"at its first table ({first_line(error)})") from None
    try:
        database.execute("PRAGMA writable_schema=ON")  # a file that is shorter than it says may be read then
        topics = {}
        for key, topic in _sqlite_topics(database):
            topics[key] = topic
            yield topic
        read = 0
        try:
            for key, time_ns, data in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
                if key in topics and isinstance(time_ns, int) and isinstance(data, bytes):
                    yield topics[key], time_ns, data
                    read += 1
        except (sqlite3.Error, OverflowError) as error:
            raise Break(f"after message {read} ({first_line(error)})") from None
    finally:
        database.close()


def _sqlite_topics(database: sqlite3.Connection) -> Iterator[tuple[int, StoredTopic]]:
    try:
        columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        definitions: dict[str, tuple[str, Form]] = {}
        if "message_definitions" in tables:
            rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
            definitions = {str(kind): (str(text), _FORMS.get(form, "")) for kind, form, text in rows}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        for key, name, kind, form, profiles in database.execute(
            f"SELECT id, name, type, serialization_format, {qos} FROM topics"
        ):
            yield key, StoredTopic(
                str(name), str(kind), *definitions.get(str(kind), ("", "")), str(form), _parse_qos(profiles)
            )
    except (sqlite3.Error, OverflowError) as error:
        raise Break(f"at its list of topics ({first_line(error)})") from None


def _walk_ros1(path: Path) -> Iterator[StoredTopic | Stored]:
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
                raw, problem = _decompress(data, compression, limit)
                complaint = complaint or problem
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
                qos = (LATCHED if fields.get("latching") == b"1" else PLAIN,)
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


def _parse_qos(text: Any) -> tuple[RecordedQos, ...]:
    """Profiles as rosbag2 stores them (YAML, words or numbers); none where they cannot be read."""
    try:
        entries = yaml.safe_load(text) if isinstance(text, str) else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return ()
    profiles = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            words = {name: _qos_word(entry.get(name), known) for name, known in _QOS_WORDS.items()}
            depth = entry.get("depth")
            profiles.append(RecordedQos(**words, depth=depth if isinstance(depth, int) else 0))
    return tuple(profiles)


def _qos_word(value: Any, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value.lower() in known:
        return value.lower()
    return known[value] if isinstance(value, int) and 0 <= value < len(known) else "unknown"
