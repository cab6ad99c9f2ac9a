"""A damaged MCAP file, or one without an index, from its start: https://mcap.dev/spec.

Records are opcode, length, content; chunks hold records. A chunk that is damaged is left out; where not even lengths
make sense, reading goes on at the next chunk that does.
"""

from __future__ import annotations

import mmap
import re
import struct
from binascii import crc32
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from any2seg_core.bags.codec import Form, first_line
from any2seg_core.bags.salvage_parts import FORMS, Lost, decompress, parse_qos
from any2seg_core.bags.storage import Break, Stored, StoredTopic
from any2seg_core.units import NS_PER_S

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END, _FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02
_HIGHEST_OPCODE = 0x0F
_MAX_CHUNK_BYTES = 2**31 - 1
_MAX_PART_BYTES = 2**28  # of a record that goes on behind the end of the file
_FOOTER_BYTES = 1 + 8 + 20
# opcode, length, start, end, size, checksum; then the name of the compression
_CHUNK_HEAD = re.compile(
    rb"\x06(?=.{7}\x00.{28}(?:\x04\x00{3}zstd|\x03\x00{3}lz4|\x04\x00{3}none|\x03\x00{3}bz2|\x00{4}))", re.DOTALL
)


class _Declared:
    """Schemas and channels that were met so far."""

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, Form, str]] = {}
        self.topics: dict[int, StoredTopic] = {}

    def take(self, opcode: int, content: bytes) -> StoredTopic | None:
        """Note a schema or a channel; the topic that is new. struct.error or UnicodeDecodeError for damaged ones."""
        if opcode == _SCHEMA:
            key, name, encoding, definition = _read_fields(content, "HSSS")
            self._schemas[key] = (name, FORMS.get(encoding, ""), definition)
        elif opcode == _CHANNEL:
            key, schema, name, serialization, metadata = _read_fields(content, "HHSSM")
            kind, form, definition = self._schemas.get(schema, ("", "", ""))
            if key not in self.topics and kind:
                qos = parse_qos(metadata.get("offered_qos_profiles", ""))
                self.topics[key] = StoredTopic(name, kind, definition, form, serialization, qos)
                return self.topics[key]
        return None


def walk_mcap(path: Path) -> Iterator[StoredTopic | Stored | Lost]:
    """Topics when they are declared, messages in the order of writing, and what is lost; Break at the last sense."""
    declared, strange = _Declared(), 0
    for opcode, content in _summary(path):
        try:
            if (topic := declared.take(opcode, content)) is not None:
                yield topic
        except (struct.error, UnicodeDecodeError):
            break  # the data section declares them too
    for found in _records(path):
        if isinstance(found, Lost):
            yield found
            continue
        opcode, offset, content = found
        try:
            if opcode == _MESSAGE:
                key, _, time_ns, _ = struct.unpack_from("<HIQQ", content)
                if key in declared.topics:
                    yield declared.topics[key], time_ns, content[22:]
                else:
                    strange += 1
            elif (topic := declared.take(opcode, content)) is not None:
                yield topic
        except (struct.error, UnicodeDecodeError) as error:
            yield Lost(f"the record at byte {offset} ({opcode:#x}: {first_line(error)})")
    if strange:
        yield Lost(f"{strange} messages of topics whose declaration is damaged")


def _records(path: Path) -> Iterator[tuple[int, int, bytes] | Lost]:
    """(opcode, offset in the file, content) of all records up to the end of the data section, chunks opened."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Break("at byte 0 (not an MCAP file)")
        while True:
            for opcode, offset, content, missing in _tagged_records(file, size):
                if opcode in (_DATA_END, _FOOTER):
                    return
                if not 0 < opcode <= _HIGHEST_OPCODE or (missing and opcode != _CHUNK):
                    break
                if opcode != _CHUNK:
                    yield opcode, offset, content
                    continue
                raw, complaint = _open_chunk(content, missing)
                for inner, _, record, cut in _tagged_records(BytesIO(raw), len(raw)):
                    if not cut:
                        yield inner, offset, record
                if missing:
                    break
                if complaint:
                    yield Lost(f"the chunk at byte {offset}{_span(content)} ({complaint})")
            else:
                return
            again = _next_chunk(file, offset + 1)
            if again is None:
                raise Break(f"at byte {offset} ({'chunk' if opcode == _CHUNK else 'record'} cut off)")
            yield Lost(f"bytes {offset} to {again}")
            file.seek(again)


def _span(content: bytes) -> str:
    """When the messages of a chunk were received, as its head says."""
    start_ns, end_ns = struct.unpack_from("<QQ", content) if len(content) >= 16 else (0, 0)
    if not 0 < start_ns <= end_ns < start_ns + 3600 * NS_PER_S:
        return ""
    return f" with {(end_ns - start_ns) / NS_PER_S:.2f} s from {start_ns / NS_PER_S:.2f} s on"


def _next_chunk(file: BinaryIO, start: int) -> int | None:
    """Offset of the next chunk whose lengths agree with each other."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in _CHUNK_HEAD.finditer(data, start):
            offset = match.start()
            (length,) = struct.unpack_from("<Q", data, offset + 1)
            (name_length,) = struct.unpack_from("<I", data, offset + 37)
            place = offset + 41 + name_length
            if offset + 9 + length > len(data) or place + 8 > len(data):
                continue
            (packed,) = struct.unpack_from("<Q", data, place)
            if length == 40 + name_length + packed:
                return offset
    return None


def _summary(path: Path) -> Iterator[tuple[int, bytes]]:
    """(opcode, content) of the schemas and channels that are repeated at the end, where the end is sound."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < _FOOTER_BYTES + 2 * len(_MAGIC):
            return
        file.seek(size - _FOOTER_BYTES - len(_MAGIC))
        opcode, length, start, _, _ = struct.unpack("<BQQQI", file.read(_FOOTER_BYTES))
        if (opcode, length) != (_FOOTER, 20) or file.read() != _MAGIC or not 0 < start < size:
            return
        file.seek(start)
        for opcode, _, content, missing in _tagged_records(file, size):
            if missing or opcode == _FOOTER:
                return
            if opcode in (_SCHEMA, _CHANNEL):
                yield opcode, content


def _tagged_records(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes, bool]]:
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


def _open_chunk(content: bytes, missing: bool) -> tuple[bytes, str]:
    """(records of the chunk as far as they can be had, complaint)."""
    try:
        _, _, raw_size, checksum, compression, packed_size = _read_fields(content, "QQQISQ")
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
