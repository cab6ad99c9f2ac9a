"""Compressed chunks, messages and files of recordings: unpacked as far as the limits allow, whatever they claim."""

from __future__ import annotations

import bz2
import sys
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor

from any2seg_core.bags.codec import first_line
from any2seg_core.base.errors import MessageError
from any2seg_core.base.limits import limits, raising

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK_BYTES = 1 << 20


class Break(Exception):  # noqa: N818 not an error: a place in a file
    """Where a file stops making sense."""


class Budget:
    """What one pass over a recording may unpack and hand out; Break where it claims more.

    Args:
        delivered: bytes of the recording as the user gave it.
    """

    def __init__(self, delivered: int) -> None:
        self._delivered = delivered
        self._bytes, self._messages = limits().recording_bytes(delivered), limits().messages_of(delivered)

    def unpack(self, packed: bytes, compression: str, size: int) -> tuple[bytes, str]:
        """A chunk that should unpack to `size` bytes: (as many bytes as there are, complaint)."""
        if compression in ("", "none"):
            return packed, ""
        raw, complaint = decompress(packed, compression, size)
        self._bytes -= len(raw)
        if self._bytes < 0:
            raise Break(f"where {self._delivered} bytes claim to hold far more; {raising('recording_mib')}")
        return raw, complaint

    def count(self) -> None:
        """One message goes out."""
        self._messages -= 1
        if self._messages < 0:
            told = f"more than {limits().messages_of(self._delivered)} messages"
            raise Break(f"where {self._delivered} bytes claim to hold {told}; {raising('recording_messages')}")


def decompress(packed: bytes, compression: str, size: int) -> tuple[bytes, str]:
    """(as many bytes as there are up to `size`, complaint); a `size` beyond the limits is not tried."""
    allowed = limits().result_bytes(len(packed))
    if size > allowed and compression not in ("", "none"):
        return b"", f"{len(packed)} bytes claim to hold {size}, {allowed} are allowed; {raising('result_mib')}"
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


def unpack_message(data: bytes) -> bytes:
    """A message that was compressed by itself with zstd; MessageError where it is damaged or claims too much."""
    most = limits().result_bytes(len(data))
    raw, complaint = decompress(data, "zstd", most)
    if complaint or len(raw) == most:
        raise MessageError(f"cannot be unpacked ({complaint or raising('result_mib')})", "codec")
    return raw


def unpack_file(packed: Path, target: Path) -> str:
    """Unpack a file that was compressed as a whole with zstd, as much as can be; a complaint, "" for none."""
    left = limits().recording_bytes(packed.stat().st_size)
    try:
        with zstd.open(packed, "rb") as source, target.open("wb") as copy:
            while block := source.read1(_BLOCK_BYTES):
                copy.write(block[:left])
                left -= len(block)
                if left < 0:
                    return f"it claims to hold far more than {packed.stat().st_size} bytes; {raising('recording_mib')}"
    except (zstd.ZstdError, EOFError) as error:
        return first_line(error)
    return ""
