"""Faults of what a message carries: message-like object (rclpy, rosbags or a fake) in, one of the same kind out."""

from __future__ import annotations

import array
import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from any2seg_core.faults import kernels
from any2seg_core.faults.kinds import Beams, Blur, Exposure, Fault, Noise, Shake
from any2seg_core.messages import cloud_rows, cloud_to_events, cloud_to_points, image_to_array, image_to_rgb
from any2seg_core.sensors.events import EVENT_DTYPE

_COLOUR_CHANNELS = 3


def _blur(message: Any, fault: Blur, rng: np.random.Generator) -> Any:
    slope_rad = np.radians(rng.normal(0.0, 20.0))
    length_px = int(message.width * fault.length) | 1
    return _with_colours(message, lambda pixels: kernels.smear_display(pixels, length_px, slope_rad))


def _exposure(message: Any, fault: Exposure, _rng: np.random.Generator) -> Any:
    return _with_colours(message, lambda pixels: kernels.expose(pixels, fault.stops))


def _with_colours(message: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Change the colour channels of an image in its own encoding; alpha stays. 16-bit grey becomes 8-bit colour."""
    pixels = image_to_array(message)
    if pixels.dtype != np.uint8:
        pixels, encoding = image_to_rgb(message), "rgb8"
    else:
        encoding = message.encoding
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels  # (H,W,C)
    changed = np.concatenate([change(pixels[..., :_COLOUR_CHANNELS]), pixels[..., _COLOUR_CHANNELS:]], axis=2)
    return _replaced(message, changed, encoding=encoding, step=changed.shape[1] * changed.shape[2])


def _shake(message: Any, fault: Shake, rng: np.random.Generator) -> Any:
    rows, fields = cloud_rows(message)
    cloud_to_points(message)  # refuses a cloud without x, y, z
    points = np.stack([_column(rows, fields[axis]) for axis in "xyz"], axis=1).astype(np.float32)  # (N,3)
    shaken = kernels.shake_points(points, rng, fault.scale)
    for index, axis in enumerate("xyz"):
        _column(rows, fields[axis])[:] = shaken[:, index]
    return _cloud_of(message, rows)


def _beams(message: Any, fault: Beams, rng: np.random.Generator) -> Any:
    rows, fields = cloud_rows(message)
    cloud_to_points(message)
    points = np.stack([_column(rows, fields[axis]) for axis in "xyz"], axis=1)  # (N,3)
    name = next((name for name in ("ring", "channel", "line") if name in fields), None)
    ring = None if name is None else _column(rows, fields[name])
    return _cloud_of(message, rows[~kernels.lost_beams(points, ring, fault.share, rng)])


def _noise(message: Any, fault: Noise, rng: np.random.Generator) -> Any:
    events = cloud_to_events(message)
    if not len(events):
        return message
    start_ns, end_ns = int(events["t"].min()), int(events["t"].max()) + 1
    height, width = int(events["y"].max()) + 1, int(events["x"].max()) + 1
    extra = kernels.background_activity(height, width, start_ns, end_ns, fault.rate_hz, rng)
    rows, fields = cloud_rows(message)
    added = np.zeros((len(extra), rows.shape[1]), np.uint8)
    polarity = next(name for name in ("pol", "p", "polarity") if name in fields)
    off = np.min(_column(rows, fields[polarity]))  # 0 or -1: how this driver writes a darker pixel
    _column(added, fields["x"])[:], _column(added, fields["y"])[:] = extra["x"], extra["y"]
    _column(added, fields[polarity])[:] = np.where(extra["p"] > 0, 1, min(off, 0))
    _write_times(added, fields["t"], extra["t"], _are_float(rows, fields["t"], events["t"]))
    order = np.argsort(np.concatenate([events["t"], extra["t"]]), kind="stable")
    return _cloud_of(message, np.concatenate([rows, added])[order])


_KERNELS: dict[type, Callable[[Any, Any, np.random.Generator], Any]] = {
    Blur: _blur, Exposure: _exposure, Shake: _shake, Beams: _beams, Noise: _noise,
}  # fmt: skip


def change_payload(message: Any, fault: Fault, rng: np.random.Generator) -> Any:
    """Apply a Blur, Exposure, Shake, Beams or Noise to a sensor_msgs/Image or PointCloud2.

    Args:
        message: left as it is. rng: all that is random comes from here.

    Returns:
        A message of the same class, readable by `any2seg_core.messages` and serialisable by its own library.

    Raises:
        MessageError: a message that cannot be read as an image, cloud or event cloud.
    """
    return _KERNELS[type(fault)](message, fault, rng)


def shift_events(message: Any, shift_ns: int) -> Any:
    """An event cloud whose event times are moved by `shift_ns`; the header stays."""
    times_ns = cloud_to_events(message)["t"]
    rows, fields = cloud_rows(message)
    _write_times(rows, fields["t"], times_ns + shift_ns, _are_float(rows, fields["t"], times_ns))
    return _cloud_of(message, rows)


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


def _replaced(message: Any, values: np.ndarray, **fields: Any) -> Any:
    """A copy with other data, in the container that the message's own library serialises."""
    changed = copy.copy(message)
    data = np.ascontiguousarray(values).reshape(-1)
    for name, value in fields.items():
        setattr(changed, name, value)
    changed.data = array.array("B", data.tobytes()) if isinstance(message.data, array.array) else data
    return changed
