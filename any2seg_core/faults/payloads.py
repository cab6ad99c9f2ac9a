"""Faults of what a message carries: message-like object (rclpy, rosbags or a fake) in, one of the same kind out."""

from __future__ import annotations

import array
import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.faults import physics
from any2seg_core.faults.event_packets import WORDS, noisy_words, require_writable, shifted_evt3
from any2seg_core.faults.kinds import Beams, Blur, Exposure, Fault, Noise, Shake
from any2seg_core.messages import (
    EventArrayBytes,
    cloud_rows,
    cloud_to_events,
    cloud_to_points,
    compressed_to_rgb,
    event_array_to_events,
    event_array_with,
    image_to_array,
    image_to_rgb,
    recompressed,
)
from any2seg_core.messages.fields import byte_order, data_bytes, integer, text
from any2seg_core.messages.pixel_bits import PixelBits
from any2seg_core.sensors.events import EVENT_DTYPE

_COLOUR_CHANNELS = 3
_PLAIN_COLOURS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC1", "8UC3", "8UC4")
_MAX_SIDE = 65535
_WHOLE_BITS = 16


def _blur(message: Any, fault: Blur, rng: np.random.Generator, is_counts: bool) -> Any:
    slope_rad = np.radians(rng.normal(0.0, 20.0))
    smeared = physics.smear_counts if is_counts else physics.smear_display

    def smear(pixels: np.ndarray) -> np.ndarray:
        return smeared(pixels, int(pixels.shape[1] * fault.length) | 1, slope_rad)

    return (_with_counts if is_counts else _with_colours)(message, smear)


def _exposure(message: Any, fault: Exposure, _rng: np.random.Generator, is_counts: bool) -> Any:
    if is_counts:
        return _with_counts(message, lambda counts: physics.expose_counts(counts, fault.stops))
    return _with_colours(message, lambda pixels: physics.expose(pixels, fault.stops))


def _with_counts(message: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Change the counts of a thermal image, of 8 or 16 bits, in its own encoding."""
    if not hasattr(message, "encoding"):
        raise MessageError("compressed thermal image: its counts cannot be written again", "unsupported")
    counts = image_to_array(message)
    if counts.dtype not in (np.uint8, np.uint16):
        raise MessageError(f"thermal image: {message.encoding[:40]!r} holds no counts", "encoding")
    changed = change(counts.reshape(*counts.shape[:2], -1))  # (H,W,C)
    stored = changed.astype(changed.dtype.newbyteorder("<"))
    return _replaced(message, stored.view(np.uint8), is_bigendian=0, step=stored[0].nbytes)


def _with_colours(message: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Change the colours of an image in its own encoding or codec; alpha stays in an Image.

    What has no colour per pixel (Bayer, YUV) or 16 bits becomes rgb8, after the decoder that the model's input takes;
    an Image of 10, 12 or 14 significant bits becomes rgb16, with the upper 8 of them.
    """
    if not hasattr(message, "encoding"):
        rgb = compressed_to_rgb(message)  # (H,W,3)
        format_, data = recompressed(message, change(rgb))
        return _replaced(message, np.frombuffer(data, np.uint8), format=format_)
    if message.encoding in _PLAIN_COLOURS:
        pixels, encoding = image_to_array(message), message.encoding
    else:
        bits = PixelBits()
        pixels, encoding = image_to_rgb(message, bits), "rgb8"
        if bits.bits < _WHOLE_BITS:
            deep = change(pixels).astype("<u2") << (bits.bits - 8)  # (H,W,3)
            return _replaced(message, deep.view(np.uint8), encoding="rgb16", is_bigendian=0, step=2 * deep[0].size)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels  # (H,W,C)
    changed = np.concatenate([change(pixels[..., :_COLOUR_CHANNELS]), pixels[..., _COLOUR_CHANNELS:]], axis=2)
    return _replaced(message, changed, encoding=encoding, step=changed.shape[1] * changed.shape[2])


def _shake(message: Any, fault: Shake, rng: np.random.Generator, _is_counts: bool) -> Any:
    rows, fields = cloud_rows(message)
    cloud_to_points(message)  # refuses a cloud without x, y, z
    points = np.stack([_column(rows, fields[axis]) for axis in "xyz"], axis=1).astype(np.float32)  # (N,3)
    shaken = physics.shake_points(points, rng, fault.scale)
    for index, axis in enumerate("xyz"):
        _column(rows, fields[axis])[:] = shaken[:, index]
    return _cloud_of(message, rows)


def _beams(message: Any, fault: Beams, rng: np.random.Generator, _is_counts: bool) -> Any:
    rows, fields = cloud_rows(message)
    cloud_to_points(message)
    points = np.stack([_column(rows, fields[axis]) for axis in "xyz"], axis=1)  # (N,3)
    name = next((name for name in ("ring", "channel", "line") if name in fields), None)
    ring = None if name is None else _column(rows, fields[name])
    return _cloud_of(message, rows[~physics.lost_beams(points, ring, fault.share, rng)])


def _noise(message: Any, fault: Noise, rng: np.random.Generator, _is_counts: bool) -> Any:
    if isinstance(message, EventArrayBytes):
        return _noisy_array(message, fault, rng)
    if hasattr(message, "time_base"):
        return _noisy_packet(message, fault, rng)
    if not hasattr(message, "point_step"):
        raise MessageError("event picture: has no single events that noise could be put among", "unsupported")
    return _noisy_cloud(message, fault, rng)


def _noisy_cloud(message: Any, fault: Noise, rng: np.random.Generator) -> Any:
    events = cloud_to_events(message)
    if not len(events):
        return message
    extra = _background(events, (0, 0), fault, rng)
    rows, fields = cloud_rows(message)
    added = np.zeros((len(extra), rows.shape[1]), np.uint8)
    polarity = next(name for name in ("pol", "p", "polarity") if name in fields)
    off = np.min(_column(rows, fields[polarity]))  # 0 or -1: how this driver writes a darker pixel
    _column(added, fields["x"])[:], _column(added, fields["y"])[:] = extra["x"], extra["y"]
    _column(added, fields[polarity])[:] = np.where(extra["p"] > 0, 1, min(off, 0))
    _write_times(added, fields["t"], extra["t"], _are_float(rows, fields["t"], events["t"]))
    order = np.argsort(np.concatenate([events["t"], extra["t"]]), kind="stable")
    return _cloud_of(message, np.concatenate([rows, added])[order])


def _noisy_array(message: EventArrayBytes, fault: Noise, rng: np.random.Generator) -> EventArrayBytes:
    events = event_array_to_events(message)
    if not len(events):
        return message
    events = np.concatenate([events, _background(events, (message.height, message.width), fault, rng)])
    return event_array_with(message, events[np.argsort(events["t"], kind="stable")])


def _noisy_packet(message: Any, fault: Noise, rng: np.random.Generator) -> Any:
    words, encoding = _packet_words(message)
    height, width = (integer(message, side, "event packet", 0, _MAX_SIDE) for side in ("height", "width"))
    time_base_ns = integer(message, "time_base", "event packet", 0, 2**62, reason="value")
    noisy = noisy_words(words, encoding, time_base_ns, (height, width), fault.rate_hz, rng)
    return _packet_of(message, noisy)


def _background(events: np.ndarray, size: tuple[int, int], fault: Noise, rng: np.random.Generator) -> np.ndarray:
    """Noise over the time of these events and the sensor's (H, W); where that is 0, over the pixels they span."""
    height, width = (side or int(events[axis].max()) + 1 for side, axis in zip(size, "yx", strict=True))
    start_ns, end_ns = int(events["t"].min()), int(events["t"].max()) + 1
    return physics.background_activity(height, width, start_ns, end_ns, fault.rate_hz, rng)


_CONTENT_CHANGES: dict[type, Callable[[Any, Any, np.random.Generator, bool], Any]] = {
    Blur: _blur, Exposure: _exposure, Shake: _shake, Beams: _beams, Noise: _noise,
}  # fmt: skip
CONTENT_FAULTS = tuple(_CONTENT_CHANGES)
"""Kinds that change what a message carries, not when or whether it comes."""


def change_payload(message: Any, fault: Fault, rng: np.random.Generator, is_counts: bool = False) -> Any:
    """Apply a Blur, Exposure, Shake, Beams or Noise.

    Args:
        message: sensor_msgs/Image or CompressedImage, PointCloud2, EventPacket or EventArrayBytes, as the fault needs;
            left as it is. rng: all that is random comes from here.
        is_counts: images hold counts, as those of a thermal camera, and no display values.

    Returns:
        A message of the same class, readable by `any2seg_core.messages` and serialisable by its own library.

    Raises:
        MessageError: a message that cannot be read as what the fault needs, or not be written again.
    """
    return _CONTENT_CHANGES[type(fault)](message, fault, rng, is_counts)


def shift_events(message: Any, shift_ns: int, is_repeated: bool = False) -> Any:
    """An event cloud, array or packet whose event times are moved by `shift_ns`; the header stays.

    An evt3 packet counts by a clock of the sensor's own, which the host's clock does not move. When old words are sent
    again (`is_repeated`), that clock has gone on: they move by whole steps of 4.096 ms. Pictures have no event times.

    Raises:
        MessageError: as `change_payload`.
    """
    if isinstance(message, EventArrayBytes):
        events = event_array_to_events(message)
        events["t"] += shift_ns
        return event_array_with(message, events)
    if hasattr(message, "time_base"):
        words, encoding = _packet_words(message)
        if encoding == "evt3":
            return _packet_of(message, shifted_evt3(words, shift_ns)) if is_repeated else message
        moved = copy.copy(message)
        moved.time_base = integer(message, "time_base", "event packet", 0, 2**62, reason="value") + shift_ns
        return moved
    if not hasattr(message, "point_step"):
        return message
    times_ns = cloud_to_events(message)["t"]
    rows, fields = cloud_rows(message)
    _write_times(rows, fields["t"], times_ns + shift_ns, _are_float(rows, fields["t"], times_ns))
    return _cloud_of(message, rows)


def _packet_words(message: Any) -> tuple[np.ndarray, str]:
    """(words in native byte order, encoding)."""
    encoding = text(message, "encoding", "event packet")
    require_writable(encoding)
    data, kind = data_bytes(message, "event packet", "events"), np.dtype(WORDS[encoding])
    if data.size % kind.itemsize:
        raise MessageError(f"event packet: {data.size} bytes are no whole number of {encoding} words", "length")
    return data.view(kind.newbyteorder(byte_order(message, "event packet"))).astype(kind), encoding


def _packet_of(message: Any, words: np.ndarray) -> Any:
    ordered = words.astype(words.dtype.newbyteorder(byte_order(message, "event packet")))
    return _replaced(message, ordered.view(np.uint8), "events")


def _column(rows: np.ndarray, field: tuple[int, np.dtype]) -> np.ndarray:
    """(N,) view on one field of rows (N, point_step)."""
    offset, dtype = field
    return np.ndarray((len(rows),), dtype, rows.data, offset, (rows.shape[1],)) if len(rows) else np.empty(0, dtype)


def _are_float(rows: np.ndarray, field: tuple[int, np.dtype], times_ns: np.ndarray) -> bool:
    """Whether the stored times are floats; a field that is declared float64 may hold int64, see `cloud_to_events`."""
    return field[1].kind == "f" and np.array_equal(_column(rows, field).astype(EVENT_DTYPE["t"]), times_ns)


def _write_times(rows: np.ndarray, field: tuple[int, np.dtype], times_ns: np.ndarray, are_float: bool) -> None:
    offset, dtype = field
    is_disguised = dtype.kind == "f" and not are_float
    _column(rows, (offset, np.dtype(dtype.str[0] + "i8")) if is_disguised else field)[:] = times_ns


def _cloud_of(message: Any, rows: np.ndarray) -> Any:
    step = rows.shape[1]
    return _replaced(message, rows, height=1, width=len(rows), point_step=step, row_step=step * len(rows))


def _replaced(message: Any, values: np.ndarray, name: str = "data", **fields: Any) -> Any:
    """A copy with other bytes in the field `name`, in the container that the message's own library serialises."""
    changed = copy.copy(message)
    data = np.ascontiguousarray(values).reshape(-1)
    for field, value in fields.items():
        setattr(changed, field, value)
    is_array = isinstance(getattr(message, name), array.array)
    setattr(changed, name, array.array("B", data.tobytes()) if is_array else data)
    return changed
