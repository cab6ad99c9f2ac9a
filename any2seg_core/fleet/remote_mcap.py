"""Parts of an MCAP file that lies elsewhere, through its index: https://mcap.dev/spec."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from any2seg_core.bags.mcap_records import (
    CHANNEL,
    CHUNK_INDEX,
    DATA_END,
    FOOTER,
    FOOTER_BYTES,
    MAGIC,
    MESSAGE_INDEX,
    SCHEMA,
    STATISTICS,
    Declared,
    record_of,
    tagged_records,
)
from any2seg_core.bags.storage import is_latched
from any2seg_core.fleet.remote import RangeFile

_MOST_SUMMARY = 1 << 28
_INDEX_HEAD = 6  # bytes of a message index before its entries: channel, and how long they are


class _Part(NamedTuple):
    """A chunk of the index: times of its messages, its place, its channels, bytes of the message index behind it."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    channels: frozenset[int]
    index_bytes: int


class RemoteMcap:
    """The index of an MCAP file, read from its end.

    Attributes:
        file: what is read. start_ns, end_ns: log times of the first and the last message.
        counts: name of a topic -> messages, of all its channels.

    Raises:
        ValueError: the file has no such index, or it is damaged: it must be read as a whole.
    """

    def __init__(self, file: RangeFile) -> None:
        self.file = file
        self._declared = Declared()
        self._parts: list[_Part] = []
        self._records: list[tuple[int, bytes]] = []  # schemas and channels as they are written
        of_channels: dict[int, int] = {}
        try:
            for opcode, content in self._summary():
                if opcode in (SCHEMA, CHANNEL):
                    self._records.append((opcode, content))
                    self._declared.take(opcode, content)
                elif opcode == CHUNK_INDEX:
                    self._parts.append(_read_part(content))
                elif opcode == STATISTICS:
                    (size,) = struct.unpack_from("<I", content, 42)
                    of_channels = dict(struct.iter_unpack("<HQ", content[46 : 46 + size]))
        except (struct.error, UnicodeDecodeError) as error:
            raise ValueError(f"its index is damaged ({error})") from None
        if not self._parts or set(of_channels) - set(self._declared.topics):
            raise ValueError("it has no index")
        self._parts.sort(key=lambda part: part.offset)
        self.start_ns = min(part.start_ns for part in self._parts)
        self.end_ns = max(part.end_ns for part in self._parts)
        self.counts: Counter[str] = Counter()
        for channel, topic in self._declared.topics.items():
            self.counts[topic.name] += of_channels.get(channel, 0)

    def _summary(self) -> list[tuple[int, bytes]]:
        size = self.file.file.n_bytes
        tail = FOOTER_BYTES + len(MAGIC)
        if size < tail + len(MAGIC):
            raise ValueError("its end is missing")
        head, end = self.file.read([(0, len(MAGIC)), (size - tail, size)])
        opcode, length, start, _, _ = struct.unpack("<BQQQI", end[:FOOTER_BYTES])
        if head != MAGIC or end[FOOTER_BYTES:] != MAGIC or (opcode, length) != (FOOTER, 20):
            raise ValueError("it was not closed")
        if not 0 < start <= size - tail or size - start > _MOST_SUMMARY:
            raise ValueError("it has no index")
        (summary,) = self.file.read([(start, size - tail)])
        found = tagged_records(BytesIO(summary), len(summary))
        return [(opcode, content) for opcode, _, content, missing in found if not missing]

    @cached_property
    def longest_gaps_s(self) -> dict[str, float]:
        """Topic -> longest time without a message of it, from the start of the recording to its end, by log time.

        Reads the index of messages behind each chunk; empty where the file has none.
        """
        ranges = [(part.offset + part.length, part.offset + part.length + part.index_bytes) for part in self._parts]
        if not all(part.index_bytes for part in self._parts):
            return {}
        times: dict[str, list[np.ndarray]] = {}
        for block in self.file.read(ranges):
            for opcode, _, content, missing in tagged_records(BytesIO(block), len(block)):
                if opcode != MESSAGE_INDEX or missing or len(content) < _INDEX_HEAD:
                    continue
                (channel,) = struct.unpack_from("<H", content)
                if channel in self._declared.topics:  # of two channels of one topic the times go together
                    count = (len(content) - _INDEX_HEAD) // 8
                    entries = np.frombuffer(content, "<u8", offset=_INDEX_HEAD, count=count)
                    name = self._declared.topics[channel].name
                    times.setdefault(name, []).append(entries[::2].astype(np.int64))
        span_ns = np.array([self.start_ns, self.end_ns])
        gaps_ns = {name: np.diff(np.sort(np.concatenate([span_ns, *parts]))) for name, parts in times.items()}
        return {name: float(gaps.max()) / 1e9 for name, gaps in gaps_ns.items()}

    def write_excerpt(self, target: Path, from_ns: int, until_ns: int) -> None:
        """Write a small MCAP of the chunks with messages of [from_ns, until_ns), and of all latched topics."""
        latched = {channel for channel, topic in self._declared.topics.items() if is_latched(topic.name, topic.qos)}
        chosen = [part for part in self._parts if _is_wanted(part, from_ns, until_ns, latched)]
        (head,) = self.file.read([(len(MAGIC), len(MAGIC) + 9)])
        (length,) = struct.unpack_from("<Q", head, 1)
        start = len(MAGIC)
        header, *chunks = self.file.read(
            [(start, start + 9 + length), *((part.offset, part.offset + part.length) for part in chosen)]
        )
        with target.open("wb") as file:
            file.write(MAGIC + header)
            for opcode, content in self._records:
                file.write(record_of(opcode, content))
            for chunk in chunks:
                file.write(chunk)
            file.write(record_of(DATA_END, bytes(4)) + record_of(FOOTER, bytes(20)) + MAGIC)


def _is_wanted(part: _Part, from_ns: int, until_ns: int, latched: Collection[int]) -> bool:
    return (part.start_ns < until_ns and part.end_ns >= from_ns) or bool(part.channels & set(latched))


def _read_part(content: bytes) -> _Part:
    start_ns, end_ns, offset, length, size = struct.unpack_from("<QQQQI", content)
    channels = frozenset(channel for channel, _ in struct.iter_unpack("<HQ", content[36 : 36 + size]))
    (index_bytes,) = struct.unpack_from("<Q", content, 36 + size)
    return _Part(start_ns, end_ns, offset, length, channels, index_bytes)
