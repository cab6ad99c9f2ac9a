"""Records of an MCAP file, https://mcap.dev/spec: opcode, length, content; chunks hold records."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from any2seg_core.bags.salvage_parts import FORMS, parse_qos
from any2seg_core.bags.storage import Break, StoredTopic, ros1_qos
from any2seg_core.bags.unpacking import Budget

MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END, FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02
HEADER, MESSAGE_INDEX, CHUNK_INDEX, STATISTICS = 0x01, 0x07, 0x08, 0x0B
QOS_KEY = "offered_qos_profiles"
"""In the metadata of a channel that rosbag2 has written."""
LATCHING_KEY = "latching"
"""In the metadata of a channel that was converted from a ROS 1 bag: its connection's header."""
FOOTER_BYTES = 1 + 8 + 20
_MAX_PART_BYTES = 2**28  # of a record that goes on behind the end of the file


def record_of(opcode: int, content: bytes) -> bytes:
    """The bytes of a record."""
    return struct.pack("<BQ", opcode, len(content)) + content


class Declared:
    """Schemas and channels that were met so far.

    Attributes:
        topics: channel -> topic; of a channel without a schema, or of one in no notation of ROS, the type is "" or
            the schema's name, and its messages cannot be read.
    """

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, str, str, bytes]] = {}
        self.topics: dict[int, StoredTopic] = {}

    def take(self, opcode: int, content: bytes) -> StoredTopic | None:
        """Note a schema or a channel; the topic that is new. struct.error or UnicodeDecodeError for damaged ones."""
        if opcode == SCHEMA:
            (key,) = struct.unpack_from("<H", content)
            name, encoding = read_fields(content[2:], "SS")
            place = 2 + 4 + len(name.encode()) + 4 + len(encoding.encode())
            (length,) = struct.unpack_from("<I", content, place)
            data = content[place + 4 : place + 4 + length]
            text = data.decode(errors="replace") if encoding in FORMS else ""
            self._schemas[key] = (name, encoding, text, data)
        elif opcode == CHANNEL:
            key, schema, name, serialization, metadata = read_fields(content, "HHSSM")
            if key not in self.topics and (schema == 0 or schema in self._schemas):
                kind, notation, definition, data = self._schemas.get(schema, ("", "", "", b""))
                if serialization in ("", "cdr", "ros1"):
                    package, _, rest = kind.partition("/")
                    kind = f"{package}/msg/{rest}" if rest and "/" not in rest else kind
                    serialization = serialization or ("ros1" if notation == "ros1msg" else "cdr")
                qos_text = metadata.get(QOS_KEY, "")
                is_ros1 = serialization == "ros1"
                qos = ros1_qos(metadata.get(LATCHING_KEY) == "1") if is_ros1 else parse_qos(qos_text)
                self.topics[key] = StoredTopic(
                    name, kind, definition, FORMS.get(notation, ""), serialization, qos, (notation, data), qos_text
                )
                return self.topics[key]
        return None


def summary_start(path: Path) -> int:
    """Where the summary begins, 0 when there is none; Break where the end of the file is not sound."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < FOOTER_BYTES + 2 * len(MAGIC):
            raise Break("its end is missing")
        file.seek(size - FOOTER_BYTES - len(MAGIC))
        opcode, length, start, _, _ = struct.unpack("<BQQQI", file.read(FOOTER_BYTES))
        if (opcode, length) != (FOOTER, 20) or file.read() != MAGIC or not 0 <= start < size:
            raise Break("its end magic is invalid, so it was not closed")
    return start


def summary_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """(opcode, content) of what is repeated at the end: schemas, channels, statistics, index of the chunks.

    Nothing where there is no summary; Break where the end of the file is not sound.
    """
    start, size = summary_start(path), path.stat().st_size
    with path.open("rb") as file:
        file.seek(start)
        for opcode, _, content, missing in tagged_records(file, size) if start else ():
            if missing or opcode == FOOTER:
                return
            yield opcode, content


def tagged_records(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes, bool]]:
    """(opcode, offset, content, whether it is cut off); a record that is cut off is the last one."""
    while (offset := file.tell()) < size:
        head = file.read(9)
        if len(head) < 9:
            yield 0, offset, b"", True
            return
        opcode, length = struct.unpack("<BQ", head)
        missing = offset + 9 + length > size
        yield opcode, offset, file.read(min(length, size - offset - 9, _MAX_PART_BYTES if missing else length)), missing
        if missing:
            return


def open_chunk(content: bytes, missing: bool, budget: Budget) -> tuple[bytes, str]:
    """(as many records of the chunk as could be decompressed, complaint); Break where the budget is used up."""
    try:
        _, _, raw_size, checksum, compression, packed_size = read_fields(content, "QQQISQ")
    except (struct.error, UnicodeDecodeError):
        return b"", "chunk header damaged"
    start = 8 * 3 + 4 + 4 + len(compression.encode()) + 8
    packed = content[start : start + packed_size]
    raw, complaint = budget.unpack(packed, compression, raw_size)
    if missing or len(packed) < packed_size:
        return raw, "chunk cut off"
    if complaint or len(raw) != raw_size or (checksum and crc32(raw) != checksum):
        return b"", f"chunk damaged ({complaint or 'its checksum differs'})"  # of flipped bytes nothing can be trusted
    return raw, ""


def read_fields(content: bytes, layout: str) -> list[Any]:
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
