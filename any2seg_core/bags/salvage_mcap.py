"""A damaged MCAP file, or one without an index, from its start: https://mcap.dev/spec.

Records are opcode, length, content; chunks hold records. A chunk that is damaged is left out; where not even lengths
make sense, reading goes on at the next chunk that does.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from any2seg_core.bags.codec import first_line
from any2seg_core.bags.mcap_records import (
    CHUNK,
    DATA_END,
    FOOTER,
    MAGIC,
    MESSAGE,
    Declared,
    open_chunk,
    summary_records,
    tagged_records,
)
from any2seg_core.bags.salvage_parts import Lost
from any2seg_core.bags.storage import Break, Stored, StoredTopic
from any2seg_core.bags.unpacking import Budget
from any2seg_core.base.units import NS_PER_S

_HIGHEST_OPCODE = 0x0F
# opcode, length, start, end, size, checksum; then the name of the compression
_CHUNK_HEAD = re.compile(
    rb"\x06(?=.{7}\x00.{28}(?:\x04\x00{3}zstd|\x03\x00{3}lz4|\x04\x00{3}none|\x03\x00{3}bz2|\x00{4}))", re.DOTALL
)


def walk_mcap(path: Path, budget: Budget) -> Iterator[StoredTopic | Stored | Lost]:
    """Topics when they are declared, messages in the order of writing, and what is lost; Break at the last sense."""
    declared, strange = Declared(), 0
    try:
        for opcode, content in summary_records(path):
            if (topic := declared.take(opcode, content)) is not None:
                yield topic
    except (Break, struct.error, UnicodeDecodeError):
        pass  # the data section declares them too
    for found in _records(path, budget):
        if isinstance(found, Lost):
            yield found
            continue
        opcode, offset, content = found
        try:
            if opcode == MESSAGE:
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


def _records(path: Path, budget: Budget) -> Iterator[tuple[int, int, bytes] | Lost]:
    """(opcode, offset in the file, content) of all records up to the end of the data section, chunks opened."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise Break("at byte 0 (not an MCAP file)")
        while True:
            for opcode, offset, content, missing in tagged_records(file, size):
                if opcode in (DATA_END, FOOTER):
                    return
                if not 0 < opcode <= _HIGHEST_OPCODE or (missing and opcode != CHUNK):
                    break
                if opcode != CHUNK:
                    yield opcode, offset, content
                    continue
                raw, complaint = open_chunk(content, missing, budget)
                for inner, _, record, cut in tagged_records(BytesIO(raw), len(raw)):
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
                raise Break(f"at byte {offset} ({'chunk' if opcode == CHUNK else 'record'} cut off)")
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
