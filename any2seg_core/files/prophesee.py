"""Prophesee's RAW (EVT 2.0, 2.1, 3.0) and DAT files -> events; a text header, then words or records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import require_room
from any2seg_core.messages.evt2 import decode_evt2, decode_evt21, split_evt21
from any2seg_core.messages.evt3 import Evt3State
from any2seg_core.sensors.events import EVENT_DTYPE

_MOST_HEADER_LINES = 1000
_VERSION = re.compile(r"^evt\s+(\d)\.?(\d?)", re.IGNORECASE)
_FORMAT = re.compile(r"^format\s+evt(\d)(\d?)\b(.*)", re.IGNORECASE)
_SIZE = re.compile(r"^geometry\s+(\d{1,5})x(\d{1,5})", re.IGNORECASE)
_SIDE = re.compile(r"(?:^|;)\s*(width|height)[ =](\d{1,5})", re.IGNORECASE)
_ENDIANNESS = re.compile(r"endianness=(\w+)", re.IGNORECASE)
_DAT_TYPES = (0x00, 0x0C)  # contrast detection, in older and newer files
_DAT_RECORD = 8
_NS_PER_US = 1000
_WORD_BYTES = {"2": 4, "21": 8, "3": 2}
_EVENTS_PER_BYTE = {"2": 0.25, "21": 4.0, "3": 6.0, "": 0.125}  # at most; "" is DAT


@dataclass(frozen=True)
class PropheseeHeader:
    """What the text lines say.

    Attributes:
        version: "2", "21", "3" or "" where no EVT is named. endianness: of EVT 2.1, "" where it is not said.
        size: (H, W) of the sensor; None where it is not said. end: bytes that the header takes.
    """

    version: str
    endianness: str
    size: tuple[int, int] | None
    end: int


def read_prophesee(path: Path, data: bytes) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Events of a file with a header of "%" lines, and the sensor's (H, W) where it says so.

    Returns:
        (N,) EVENT_DTYPE, t in nanoseconds of the sensor's clock.

    Raises:
        UserError: neither RAW nor DAT, or an EVT version that is not read.
    """
    header = read_header(data)
    body = memoryview(data)[header.end :]
    if header.version not in _EVENTS_PER_BYTE:
        raise UserError(
            f"{path} is RAW of EVT {'.'.join(header.version)}: EVT 2.0, 2.1 and 3.0 are read; convert it", "file-format"
        )
    needed = int(len(body) * _EVENTS_PER_BYTE[header.version]) * EVENT_DTYPE.itemsize
    require_room(needed, len(data), f"{path}: an event file")
    return _raw(path, body, header) if header.version else _dat(path, body), header.size


def read_header(data: bytes) -> PropheseeHeader:
    """The lines at the start that begin with "%"."""
    version, endianness, at = "", "", 0
    sides: dict[str, int] = {}
    for _ in range(_MOST_HEADER_LINES):
        stop = data.find(b"\n", at)
        if data[at : at + 1] != b"%" or stop < 0:
            break
        line = data[at + 1 : stop].decode("ascii", "replace").strip()
        at = stop + 1
        if line == "end":
            break
        if found := _FORMAT.match(line):
            version = found[1] + (found[2] if found[2] != "0" else "")
            if said := _ENDIANNESS.search(found[3]):
                endianness = said[1].lower()
        elif (found := _VERSION.match(line)) and not version:
            version = found[1] + (found[2] if found[2] != "0" else "")
        if found := _SIZE.match(line):
            sides |= {"width": int(found[1]), "height": int(found[2])}
        sides |= {name.lower(): int(value) for name, value in _SIDE.findall(line)}
    size = (sides["height"], sides["width"]) if len(sides) == 2 and all(sides.values()) else None
    return PropheseeHeader(version, endianness, size, at)


def _raw(path: Path, body: memoryview, header: PropheseeHeader) -> np.ndarray:
    word_bytes = _WORD_BYTES[header.version]
    words = np.frombuffer(body[: len(body) // word_bytes * word_bytes], f"<u{word_bytes}")
    if header.version == "3":
        height, width = header.size or (0, 0)
        return Evt3State().decode(words, width, height)[0]
    if header.version == "2":
        return decode_evt2(words)
    split = split_evt21(words, header.endianness)
    if split is None:
        raise UserError(
            f"{path} is RAW of EVT 2.1 and says no endianness, nor do its words: write it again as EVT 3.0, or add "
            "'% format EVT21;endianness=legacy' (or little) to its header",
            "file-format",
        )
    return decode_evt21(split)


def _dat(path: Path, body: memoryview) -> np.ndarray:
    kind, size = (body[0], body[1]) if len(body) >= 2 else (-1, 0)
    if kind not in _DAT_TYPES or size != _DAT_RECORD:
        raise UserError(
            f"{path} begins with '%' lines, but is neither RAW (they name no EVT version) nor DAT of events "
            f"(type {kind}, {size} bytes): give RAW or DAT of a Prophesee camera",
            "file-format",
        )
    records = np.frombuffer(body[2 : 2 + (len(body) - 2) // size * size], np.dtype([("t", "<u4"), ("where", "<u4")]))
    time_us = records["t"].astype(np.int64)
    time_us += np.concatenate([[0], np.cumsum(np.diff(time_us) < -(1 << 31))])[: len(time_us)] << 32
    events = np.empty(len(records), EVENT_DTYPE)
    events["x"], events["y"] = records["where"] & 0x3FFF, records["where"] >> 14 & 0x3FFF
    events["t"], events["p"] = time_us * _NS_PER_US, np.where(records["where"] >> 28 & 1, 1, -1)
    return events
