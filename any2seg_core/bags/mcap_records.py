"""Records of an MCAP file, https://mcap.dev/spec: opcode, length, content; chunks hold records."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from any2seg_core.bags.codec import Form
from any2seg_core.bags.salvage_parts import FORMS, decompress, parse_qos
from any2seg_core.bags.storage import StoredTopic

MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END, FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02
FOOTER_BYTES = 1 + 8 + 20
_MAX_CHUNK_BYTES = 2**31 - 1
_MAX_PART_BYTES = 2**28  # of a record that goes on behind the end of the file


class Declared:
    """Schemas and channels that were met so far."""

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, Form, str]] = {}
        self.topics: dict[int, StoredTopic] = {}

    def take(self, opcode: int, content: bytes) -> StoredTopic | None:
        """Note a schema or a channel; the topic that is new. struct.error or UnicodeDecodeError for damaged ones."""
        if opcode == SCHEMA:
            key, name, encoding, definition = read_fields(content, "HSSS")
            self._schemas[key] = (name, FORMS.get(encoding, ""), definition)
        elif opcode == CHANNEL:
            key, schema, name, serialization, metadata = read_fields(content, "HHSSM")
            kind, form, definition = self._schemas.get(schema, ("", "", ""))
            if key not in self.topics and kind:
                qos = parse_qos(metadata.get("offered_qos_profiles", ""))
                self.topics[key] = StoredTopic(name, kind, definition, form, serialization, qos)
                return self.topics[key]
        return None


def summary_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """(opcode, content) of the schemas and channels that are repeated at the end, where the end is sound."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < FOOTER_BYTES + 2 * len(MAGIC):
            return
        file.seek(size - FOOTER_BYTES - len(MAGIC))
        opcode, length, start, _, _ = struct.unpack("<BQQQI", file.read(FOOTER_BYTES))
        if (opcode, length) != (FOOTER, 20) or file.read() != MAGIC or not 0 < start < size:
            return
        file.seek(start)
        for opcode, _, content, missing in tagged_records(file, size):
            if missing or opcode == FOOTER:
                return
            if opcode in (SCHEMA, CHANNEL):
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


def open_chunk(content: bytes, missing: bool) -> tuple[bytes, str]:
    """(records of the chunk as far as they can be had, complaint)."""
    try:
        _, _, raw_size, checksum, compression, packed_size = read_fields(content, "QQQISQ")
    except (struct.error, UnicodeDecodeError):
        return b"", "chunk header damaged"
    start = 8 * 3 + 4 + 4 + len(compression.encode()) + 8
    packed = content[start : start + packed_size]
    raw, complaint = decompress(packed, compression, min(raw_size, _MAX_CHUNK_BYTES))
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
