"""dvs_msgs and prophesee_event_msgs EventArray, from serialised bytes (fast) or from a deserialised message (slow)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages.fields import attribute, integer
from any2seg_core.sensors.events import EVENT_DTYPE

_FIRST_BYTES = 13  # x u2, y u2, sec i4, nanosec u4, polarity u1
_STRIDE = 16  # every later event: CDR aligns sec to 4, which lies 6 bytes after x
_LATER = (("x", 0, "u2"), ("y", 2, "u2"), ("sec", 6, "i4"), ("nanosec", 10, "u4"), ("polarity", 14, "u1"))
_MAX_SIDE = 65535


@dataclass(frozen=True)
class EventArrayBytes:
    """A serialised EventArray with its head read.

    Attributes:
        header: stamp (sec, nanosec) and frame_id, as in a message.
        height, width: of the sensor, pixels. count: number of events.
        cdr: the whole message, encapsulation included. first: offset of the first event. order: "<" or ">".
    """

    header: Any
    height: int
    width: int
    count: int
    cdr: bytes
    first: int
    order: str


def event_array_from_cdr(cdr: bytes) -> EventArrayBytes:
    """Reads the head of a serialised EventArray, so that no Python object per event is made.

    For subscriptions with `raw=True` and for bags: deserialising such a message costs about 10 us per event in Python.

    Raises:
        MessageError: bytes that are no EventArray or hold fewer events than they say.
    """
    try:
        order = "<" if cdr[1] & 1 else ">"  # CDR encapsulation: bit 0 of the second byte is little-endian
        sec, nanosec, length = struct.unpack_from(order + "iII", cdr, 4)
        end = 16 + length
        frame_id = bytes(cdr[16:end]).rstrip(b"\0").decode("utf-8", "replace")
        start = end + (-end) % 4
        height, width, count = struct.unpack_from(order + "III", cdr, start)
    except (struct.error, IndexError, TypeError) as error:
        raise MessageError(f"event array: {_short(cdr)} bytes hold no EventArray ({error})", "length") from None
    if height > _MAX_SIDE or width > _MAX_SIDE:
        raise MessageError(f"event array: sensor of {width}x{height} pixels", "size")
    first = start + 12
    needed = first + (_FIRST_BYTES + (count - 1) * _STRIDE if count else 0)
    if len(cdr) < needed:
        raise MessageError(f"event array: {len(cdr)} bytes, {count} events need {needed}", "length")
    header = SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id)
    return EventArrayBytes(header, height, width, count, bytes(cdr), first, order)


def event_array_with(msg: EventArrayBytes, events: np.ndarray) -> EventArrayBytes:
    """The same message with other events, (N,) EVENT_DTYPE, serialised anew."""
    record = np.dtype({
        "names": [name for name, _, _ in _LATER],
        "formats": [msg.order + kind for _, _, kind in _LATER],
        "offsets": [offset for _, offset, _ in _LATER],
        "itemsize": _STRIDE,
    })  # fmt: skip
    records = np.zeros(len(events), record)
    records["x"], records["y"] = events["x"], events["y"]
    records["sec"], records["nanosec"] = np.divmod(events["t"], NS_PER_S)
    records["polarity"] = events["p"] > 0
    packed = records.tobytes()
    # In the first event nothing lies between y and sec; after the last one there is no padding.
    body = (packed[:4] + packed[6:])[:-1] if len(events) else b""
    head = msg.cdr[: msg.first - 4] + struct.pack(msg.order + "I", len(events))
    return replace(msg, count=len(events), cdr=head + body)


def _short(cdr: Any) -> int:
    return len(cdr) if hasattr(cdr, "__len__") else 0


def event_array_to_events(msg: Any) -> np.ndarray:
    """Events of an EventArrayBytes or of a deserialised EventArray, whose events are read one by one.

    Returns:
        (N,) structured array EVENT_DTYPE, p is +1 or -1.

    Raises:
        MessageError: an event field that is missing or no number, or a time that is negative or no time.
    """
    columns = _columns_of_cdr(msg) if isinstance(msg, EventArrayBytes) else _columns_of_objects(msg)
    if ((columns["sec"] < 0) | (columns["nanosec"] >= NS_PER_S)).any():
        raise MessageError("event array: event times must not be negative and have less than 1e9 nanoseconds", "value")
    events = np.empty(columns["x"].size, dtype=EVENT_DTYPE)
    events["x"], events["y"] = columns["x"], columns["y"]
    events["t"] = columns["sec"].astype(np.int64) * NS_PER_S + columns["nanosec"]
    events["p"] = np.where(columns["polarity"] != 0, 1, -1)
    return events


def _columns_of_cdr(msg: EventArrayBytes) -> dict[str, np.ndarray]:
    columns = {}
    for name, offset, kind in _LATER:
        dtype = np.dtype(msg.order + kind)
        column = np.empty(msg.count, dtype.newbyteorder("="))
        if msg.count:  # the first event has no gap between y and sec
            at = msg.first + offset - (2 if offset > 2 else 0)
            column[0] = np.frombuffer(msg.cdr, dtype, 1, at)[0]
        if msg.count > 1:
            begin = msg.first + 14 + offset
            column[1:] = np.ndarray((msg.count - 1,), dtype, msg.cdr, begin, (_STRIDE,))
        columns[name] = column
    return columns


def _columns_of_objects(msg: Any) -> dict[str, np.ndarray]:
    events = attribute(msg, "events", "event array")
    if not isinstance(events, list | tuple | np.ndarray):
        raise MessageError(f"event array: events must be a list, got {type(events).__name__}", "field")
    rows = [_row(event) for event in events]
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 5)
    return dict(zip(("x", "y", "sec", "nanosec", "polarity"), table.T, strict=True))


def _row(event: Any) -> tuple[int, int, int, int, int]:
    time = attribute(event, "ts", "event")
    return (
        integer(event, "x", "event", 0, 65535, reason="value"),
        integer(event, "y", "event", 0, 65535, reason="value"),
        integer(time, "sec", "event", 0, 2**31, reason="value"),
        integer(time, "nanosec", "event", 0, NS_PER_S - 1, reason="value"),
        integer(event, "polarity", "event", 0, 255, reason="value"),
    )
