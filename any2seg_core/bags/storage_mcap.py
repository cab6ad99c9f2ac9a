"""A healthy MCAP file, read through the index of its chunks, whoever wrote it: https://mcap.dev/spec.

The profile in the header, the repeated schemas and channels, the statistics and the index of messages are optional;
what of them is missing is found in the chunks.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from any2seg_core.bags.codec import first_line
from any2seg_core.bags.mcap_records import (
    CHUNK,
    CHUNK_INDEX,
    MAGIC,
    MESSAGE,
    STATISTICS,
    Declared,
    open_chunk,
    summary_records,
    tagged_records,
)
from any2seg_core.bags.storage import ALWAYS, Break, Interval, Stored, StoredTopic, run_back
from any2seg_core.bags.unpacking import Budget
from any2seg_core.base.limits import limits


class _Chunk(NamedTuple):
    """A chunk of the index: times of its messages, place and length of the record, channels if told, bytes unpacked."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    channels: frozenset[int]
    size: int


class _Statistics(NamedTuple):
    """Numbers of messages, channels and chunks; messages per channel."""

    messages: int
    channels: int
    chunks: int
    counts: dict[int, int]


class McapFile:
    """See `Storage`. The constructor raises Break, struct.error or UnicodeDecodeError for a damaged file.

    Args:
        delivered: bytes of the recording as the user gave it, for the limits.

    Attributes:
        is_unindexed: the file is whole and has no index of chunks, or so many that overlap in time that they cannot be
            held together: it must be read from its start.
    """

    def __init__(self, path: Path, delivered: int) -> None:
        self.path = path
        self._delivered, self._budget = delivered, Budget(delivered)
        self.damage = ""
        self.notes: tuple[str, ...] = ()
        self.counts: dict[StoredTopic, int] = {}
        self.zeros = 0
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._declared = Declared()
        self._chunks: list[_Chunk] = []
        self._file: BinaryIO = path.open("rb")
        try:
            self.is_unindexed = not self._read_summary()
        except BaseException:
            self._file.close()
            raise

    def _read_summary(self) -> bool:
        """Whether there is an index of all chunks."""
        if self._file.read(len(MAGIC)) != MAGIC:
            raise Break("its magic is invalid")
        statistics, written = None, []
        for opcode, content in summary_records(self.path):
            if opcode == CHUNK_INDEX:
                written.append(_read_chunk(content))
            elif opcode == STATISTICS:
                statistics = _read_statistics(content)
            else:
                self._declared.take(opcode, content)
        if statistics is None and not written:
            return False
        if statistics is not None and (statistics.chunks != len(written) or (statistics.messages and not written)):
            return False
        if _most_at_once(written) > limits().result_bytes(self._delivered):
            return False
        written.sort(key=lambda chunk: chunk.offset)
        self.notes = run_back(self.path, ((chunk.start_ns, chunk.end_ns) for chunk in written))
        self._chunks = sorted(written, key=lambda chunk: chunk.start_ns)
        self._count(statistics)
        self._note_times()
        return True

    def _count(self, statistics: _Statistics | None) -> None:
        """Messages per topic: as the statistics say, or where these are not complete by counting."""
        counts: Counter[StoredTopic] = Counter()
        topics = self._declared.topics
        if statistics is not None and set(statistics.counts) <= set(topics) and (
            (sum(statistics.counts.values()), len(topics)) == (statistics.messages, statistics.channels)
        ):  # fmt: skip
            for channel, count in statistics.counts.items():
                counts[topics[channel]] += count
        else:
            for chunk in self._chunks:
                counts.update(topic for topic, _, _ in self._messages(chunk, None))
        self.counts = {topic: counts[topic] for topic in topics.values()}

    def _note_times(self) -> None:
        if not any(self.counts.values()):
            return
        firsts = [chunk.start_ns for chunk in self._chunks if chunk.start_ns > 0]
        for chunk in self._chunks:
            if chunk.start_ns <= 0:
                times_ns = [time_ns for _, time_ns, _ in self._messages(chunk, None)]
                self.zeros += sum(time_ns <= 0 for time_ns in times_ns)
                firsts += [time_ns for time_ns in times_ns if time_ns > 0]
        self.start_ns = min(firsts, default=0)
        self.end_ns = max(chunk.end_ns for chunk in self._chunks)

    def messages(self, wanted: Collection[StoredTopic], within: Interval = ALWAYS) -> Iterator[Stored]:
        """See `Storage`; Break where the file is damaged."""
        channels = {channel for channel, topic in self._declared.topics.items() if topic in wanted}
        self._budget = Budget(self._delivered)

        def one(chunk: _Chunk) -> Iterator[tuple[int, Stored | None]]:
            yield chunk.start_ns, None  # so that it is not opened before its turn
            for stored in sorted(self._messages(chunk, channels), key=lambda stored: stored[1]):
                if within.holds(stored[1]):
                    yield stored[1], stored

        chunks = [c for c in self._chunks if c.start_ns < within.until_ns and c.end_ns >= within.from_ns]
        needed = [one(c) for c in chunks if channels and not (c.channels and channels.isdisjoint(c.channels))]
        for _, stored in heapq.merge(*needed, key=lambda entry: entry[0]):
            if stored is not None:
                yield stored

    def _messages(self, chunk: _Chunk, channels: Collection[int] | None) -> Iterator[Stored]:
        """Messages of one chunk as they were written; `channels` None: all, and its declarations are taken."""
        raw, topics, position = self._raw(chunk), self._declared.topics, 0
        try:
            while position < len(raw):
                opcode, length = struct.unpack_from("<BQ", raw, position)
                begin, position = position + 9, position + 9 + length
                if position > len(raw):
                    raise Break(f"at byte {chunk.offset} (a record of the chunk is cut off)")
                if opcode == MESSAGE:
                    key, _, time_ns, _ = struct.unpack_from("<HIQQ", raw, begin)
                    if key in topics and (channels is None or key in channels):
                        self._budget.count()
                        yield topics[key], time_ns, raw[begin + 22 : position]
                elif channels is None:
                    self._declared.take(opcode, raw[begin:position])
        except (struct.error, UnicodeDecodeError) as error:
            raise Break(f"at byte {chunk.offset} (chunk damaged: {first_line(error)})") from None

    def _raw(self, chunk: _Chunk) -> bytes:
        self._file.seek(chunk.offset)
        found = next(tagged_records(self._file, chunk.offset + chunk.length), None)
        if found is None or found[0] != CHUNK:
            raise Break(f"at byte {chunk.offset} (no chunk there)")
        _, _, content, missing = found
        raw, complaint = open_chunk(content, missing, self._budget)
        if len(raw) > chunk.size:
            complaint = "chunk larger than its index says"
        if complaint:
            raise Break(f"at byte {chunk.offset} ({complaint})")
        return raw

    def close(self) -> None:
        """See `Storage`."""
        self._file.close()


def _read_chunk(content: bytes) -> _Chunk:
    start_ns, end_ns, offset, length, size = struct.unpack_from("<QQQQI", content)
    channels = frozenset(channel for channel, _ in struct.iter_unpack("<HQ", content[36 : 36 + size]))
    (name_length,) = struct.unpack_from("<I", content, 44 + size)
    (raw_size,) = struct.unpack_from("<Q", content, 48 + size + name_length + 8)
    return _Chunk(start_ns, end_ns, offset, length, channels, raw_size)


def _most_at_once(chunks: Collection[_Chunk]) -> int:
    """Bytes of the chunks that are open at one time when messages are read in the order of their times."""
    steps = [(chunk.start_ns, chunk.size) for chunk in chunks] + [(chunk.end_ns + 1, -chunk.size) for chunk in chunks]
    return max(accumulate(size for _, size in sorted(steps)), default=0)


def _read_statistics(content: bytes) -> _Statistics:
    messages, _, channels, _, _, chunks, _, _, size = struct.unpack_from("<QHIIIIQQI", content)
    return _Statistics(messages, channels, chunks, dict(struct.iter_unpack("<HQ", content[46 : 46 + size])))
