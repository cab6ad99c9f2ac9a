"""An MCAP file in the parts that follow each other, https://mcap.dev/spec: nothing is written twice or gone back to."""

from __future__ import annotations

import struct
import sys
from binascii import crc32
from collections import Counter
from collections.abc import Iterator, Mapping

from any2seg_core.bags.mcap_records import (
    CHANNEL,
    CHUNK,
    CHUNK_INDEX,
    DATA_END,
    FOOTER,
    HEADER,
    MAGIC,
    MESSAGE,
    MESSAGE_INDEX,
    SCHEMA,
    STATISTICS,
    record_of,
)
from any2seg_core.base.versions import __version__

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK_BYTES = 2**20


class McapParts:
    """Makes the bytes of one indexed file, chunk by chunk, compressed with zstd. Messages come in order of log time.

    Args:
        profile: "ros1", "ros2", or "" for a mixture.

    Examples:
        >>> parts = McapParts("ros2")
        >>> channel = parts.channel("/speed", parts.schema("std_msgs/msg/Float32", "ros2msg", b"float32 data"), "cdr")
        >>> with open("speed.mcap", "wb") as file:
        ...     file.write(parts.head())
        ...     for part in parts.message(channel, 1_000, b"..."):
        ...         file.write(part)
        ...     for part in parts.end():
        ...         file.write(part)
    """

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._declared = b""  # schemas and channels, repeated in the summary
        self._schemas = self._channels = 0
        self._chunk = bytearray()
        self._index: dict[int, list[tuple[int, int]]] = {}  # channel -> (log time, place in the chunk) each
        self._chunks: list[bytes] = []
        self._counts: Counter[int] = Counter()
        self._first_ns: int | None = None
        self._last_ns = 0
        self._written = 0

    def head(self) -> bytes:
        """The first part."""
        return self._passed(MAGIC + record_of(HEADER, _text(self._profile) + _text(f"any2seg {__version__}")))

    def schema(self, name: str, encoding: str, data: bytes) -> int:
        """Declare a type; its number."""
        self._schemas += 1
        content = struct.pack("<H", self._schemas) + _text(name) + _text(encoding)
        self._declare(SCHEMA, content + struct.pack("<I", len(data)) + data)
        return self._schemas

    def channel(self, topic: str, schema: int, encoding: str, metadata: Mapping[str, str] | None = None) -> int:
        """Declare a topic; its number. schema: of its type, 0 for none."""
        self._channels += 1
        pairs = b"".join(_text(key) + _text(value) for key, value in (metadata or {}).items())
        content = struct.pack("<HH", self._channels, schema) + _text(topic) + _text(encoding)
        self._declare(CHANNEL, content + struct.pack("<I", len(pairs)) + pairs)
        return self._channels

    def message(self, channel: int, time_ns: int, data: bytes) -> Iterator[bytes]:
        """Add a message; yields the parts that are full. Its publish time is its log time."""
        self._index.setdefault(channel, []).append((time_ns, len(self._chunk)))
        head = struct.pack("<HIQQ", channel, self._counts[channel] % 2**32, time_ns, time_ns)
        self._chunk += record_of(MESSAGE, head + data)
        self._counts[channel] += 1
        self._first_ns = time_ns if self._first_ns is None else self._first_ns
        self._last_ns = time_ns
        if len(self._chunk) >= _CHUNK_BYTES:
            yield self._passed(self._close_chunk())

    def end(self) -> Iterator[bytes]:
        """The last parts."""
        if self._chunk:
            yield self._passed(self._close_chunk())
        yield self._passed(record_of(DATA_END, struct.pack("<I", 0)))
        start = self._written
        counts = b"".join(struct.pack("<HQ", channel, count) for channel, count in sorted(self._counts.items()))
        statistics = struct.pack(
            "<QHIIIIQQI", self._counts.total(), self._schemas, self._channels, 0, 0, len(self._chunks),
            self._first_ns or 0, self._last_ns, len(counts),
        )  # fmt: skip
        yield self._declared + record_of(STATISTICS, statistics + counts) + b"".join(self._chunks)
        yield record_of(FOOTER, struct.pack("<QQI", start, 0, 0)) + MAGIC

    def _passed(self, part: bytes) -> bytes:
        self._written += len(part)
        return part

    def _declare(self, opcode: int, content: bytes) -> None:
        record = record_of(opcode, content)
        self._declared += record
        self._chunk += record

    def _close_chunk(self) -> bytes:
        """The chunk, and the index of its messages behind it."""
        times_ns = [time_ns for entries in self._index.values() for time_ns, _ in entries]
        first_ns, last_ns = min(times_ns, default=0), max(times_ns, default=0)
        raw = bytes(self._chunk)
        packed = zstd.compress(raw)
        head = struct.pack("<QQQI", first_ns, last_ns, len(raw), crc32(raw)) + _text("zstd")
        chunk = record_of(CHUNK, head + struct.pack("<Q", len(packed)) + packed)
        indexes, places = b"", b""
        for channel, entries in sorted(self._index.items()):
            places += struct.pack("<HQ", channel, self._written + len(chunk) + len(indexes))
            pairs = b"".join(struct.pack("<QQ", *entry) for entry in entries)
            indexes += record_of(MESSAGE_INDEX, struct.pack("<HI", channel, len(pairs)) + pairs)
        self._chunks.append(
            record_of(
                CHUNK_INDEX,
                struct.pack("<QQQQ", first_ns, last_ns, self._written, len(chunk))
                + struct.pack("<I", len(places)) + places + struct.pack("<Q", len(indexes))
                + _text("zstd") + struct.pack("<QQ", len(packed), len(raw)),
            )
        )  # fmt: skip
        self._chunk, self._index = bytearray(), {}
        return chunk + indexes


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data
