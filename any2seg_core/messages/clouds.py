"""sensor_msgs/PointCloud2 to points: fields by name in any order, type, padding and byte order."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.messages.fields import attribute, byte_order, data_bytes, integer
from any2seg_core.sensors.camera import read_only
from any2seg_core.sensors.returns import IntensityScale, are_returns, gather_returns, shares_of_range

MAX_POINTS = 100_000_000
CARLA_EVENT_BYTES = 13

_FIELD_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
RADAR_STRENGTHS = ("rcs", "RCS", "radar_cross_section", "power", "snr", "SNR", "amplitude")
STRENGTHS = ("intensity", "reflectivity", "reflectance", "i")


def cloud_to_points(
    msg: Any,
    intensity_max: float = 0.0,
    scale: IntensityScale | None = None,
    value_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """Points of a sensor_msgs/PointCloud2, organised or not.

    Args:
        intensity_max: value of `intensity` that means 1; 0 finds it in this cloud, as `IntensityScale` says.
        scale: that of the stream, which goes over `intensity_max` and takes this cloud into account.
        value_range: what means 0 and 1, which goes over both: of a radar, whose intensity is rcs, power or snr.

    Returns:
        (N, 4) float32 x, y, z in metres and intensity 0..1; points that are not finite, or within 1 cm of the origin,
        are no returns and dropped; intensity is 1 where the cloud has none of the fields intensity, reflectivity,
        reflectance or i (of a radar rcs, RCS, radar_cross_section, power, snr, amplitude or these), and 0 where it is
        NaN. Rows that the message holds just so are read-only and share its memory.

    Raises:
        MessageError: no x, y or z, one of these or the intensity of unknown type or outside the point, point_step 0,
            or data of another length than the message says.
    """
    strengths = STRENGTHS if value_range is None else (*RADAR_STRENGTHS, *STRENGTHS)
    columns = cloud_columns(msg, required=("x", "y", "z"), optional=strengths)
    strength = next((columns[name] for name in strengths if name in columns), None)
    names = ("x", "y", "z")
    if all(columns[name].dtype == np.dtype("<f4") for name in names):
        x, y, z = (read_only(columns[name].reshape(-1)) for name in names)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            x, y, z = (read_only(columns[name].reshape(-1).astype(np.float32)) for name in names)
    if strength is None:
        return gather_returns(x, y, z, read_only(np.ones(1, np.float32)), np.float32(1.0))
    raw = strength.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        values = read_only(raw.astype(np.float32, copy=False))
    if values.size == 0:
        return np.empty((0, 4), np.float32)
    if value_range is not None:
        return gather_returns(x, y, z, read_only(shares_of_range(values, value_range)), np.float32(1.0))
    full = (scale or IntensityScale(intensity_max)).full(values, is_unsigned=raw.dtype.kind == "u")
    rows = _rows_of(x, y, z, values) if full == 1.0 else None
    if rows is not None and are_returns(rows.reshape(-1)):  # (N,4) -> (4N,)
        return rows
    return gather_returns(x, y, z, values, np.float32(full))


def _rows_of(*columns: np.ndarray) -> np.ndarray | None:
    """Columns (N,) of float32 that lie one behind the other as rows (N, 4), read-only; None where they do not."""
    first, size = columns[0], columns[0].itemsize
    address = first.ctypes.data
    if any(each.strides != (4 * size,) for each in columns) or not first.flags.aligned:
        return None
    if any(each.ctypes.data != address + size * number for number, each in enumerate(columns)):
        return None
    return np.lib.stride_tricks.as_strided(first, (first.size, 4), (4 * size, size), writeable=False)


def cloud_rows(msg: Any) -> tuple[np.ndarray, dict[str, tuple[int, np.dtype]]]:
    """Points of a sensor_msgs/PointCloud2 as they are stored, and where each named field lies in a point.

    Returns:
        (N, point_step) uint8, a copy that may be changed, and name -> (offset in bytes, dtype) of the fields that can
        be read. 13-byte points are CARLA's events (x, y, t, pol) whatever width and field list say, see
        `cloud_to_events`.

    Raises:
        MessageError: as `cloud_to_points`.
    """
    if is_carla_events(msg):
        data, layout = carla_event_bytes(msg)
        rows = data.reshape(-1, CARLA_EVENT_BYTES).copy()  # (N,13)
        return rows, {name: (field[1], field[0]) for name, field in (layout.fields or {}).items()}
    data, height, width, step, row_step = _layout(msg)
    rows = data.reshape(height, row_step)[:, : width * step].reshape(-1, step).copy()  # (N,point_step)
    types = {}
    for name, field in _fields(msg).items():
        with suppress(MessageError):  # padding that a driver declares with no type is no field to read or change
            types[name] = _field_type(msg, name, field, step)
    return rows, types


def is_carla_events(msg: Any) -> bool:
    """Whether the points of a cloud are CARLA's 13-byte events."""
    return integer(msg, "point_step", "cloud", 1, 2**20, reason="step") == CARLA_EVENT_BYTES


def carla_event_bytes(msg: Any) -> tuple[np.ndarray, np.dtype]:
    """(13 N,) uint8 and the layout of one event; the length of the data alone says how many there are."""
    data = data_bytes(msg, "cloud")
    if data.size % CARLA_EVENT_BYTES:
        raise MessageError(
            f"cloud: {data.size} bytes are no whole number of {CARLA_EVENT_BYTES}-byte events", "length"
        )
    order = byte_order(msg, "cloud")
    return data, np.dtype([("x", order + "u2"), ("y", order + "u2"), ("t", order + "f8"), ("pol", "i1")])


def _layout(msg: Any) -> tuple[np.ndarray, int, int, int, int]:
    """(bytes, height, width, point_step, row_step), checked against each other."""
    height = integer(msg, "height", "cloud", 0, MAX_POINTS)
    width = integer(msg, "width", "cloud", 0, MAX_POINTS)
    step = integer(msg, "point_step", "cloud", 1, 2**20, reason="step")
    row_step = integer(msg, "row_step", "cloud", 0, 2**40, reason="step")
    if height * width > MAX_POINTS:
        raise MessageError(f"cloud: {width} x {height} points are more than {MAX_POINTS}", "size")
    data = data_bytes(msg, "cloud")
    if height == 1 or data.size == width * step * height:
        row_step = width * step  # without padding nothing hangs on it: drivers leave 0, or fill in the whole size
    if row_step < width * step:
        raise MessageError(f"cloud: row_step {row_step} is smaller than {width} points of {step} bytes", "step")
    if data.size != row_step * height:
        raise MessageError(
            f"cloud: data holds {data.size} bytes, row_step {row_step} x height {height} says otherwise", "length"
        )
    return data, height, width, step, row_step


def cloud_columns(msg: Any, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, np.ndarray]:
    """(height, width) views on the named fields of a cloud; MessageError as `cloud_to_points`."""
    data, height, width, step, row_step = _layout(msg)
    fields = _fields(msg)
    types = {n: _field_type(msg, n, fields[n], step) for n in (*required, *optional) if n in fields}
    missing = [name for name in required if name not in fields]
    if missing:
        raise MessageError(f"cloud: no field {', '.join(missing)}; it has {', '.join(fields) or 'none'}", "layout")
    columns = {}
    for name, (offset, dtype) in types.items():
        if data.size == 0 or width == 0:
            columns[name] = np.empty((height, width), dtype)
        else:
            columns[name] = np.ndarray((height, width), dtype, data, offset, (row_step, step))
    return columns


def _fields(msg: Any) -> dict[str, Any]:
    """PointFields by name, not looked at: what nobody asks for may be of any type. Of equal names the first counts."""
    fields = attribute(msg, "fields", "cloud")
    if not isinstance(fields, list | tuple | np.ndarray):
        raise MessageError(f"cloud: fields must be a list of PointField, got {type(fields).__name__}", "field")
    named: dict[str, Any] = {}
    for field in fields:
        name = attribute(field, "name", "cloud field")
        if not isinstance(name, str):
            raise MessageError(f"cloud: a field's name must be text, got {type(name).__name__}", "field")
        named.setdefault(name, field)
    return named


def _field_type(msg: Any, name: str, field: Any, point_step: int) -> tuple[int, np.dtype]:
    what = f"cloud field {name[:40]!r}"
    offset = integer(field, "offset", what, 0, 2**20, reason="layout")
    kind = _FIELD_TYPES.get(integer(field, "datatype", what, 0, 255, reason="layout"))
    if kind is None:
        raise MessageError(f"{what}: unknown datatype; expected 1 (INT8) to 8 (FLOAT64)", "layout")
    dtype = np.dtype(byte_order(msg, "cloud") + kind)
    if offset + dtype.itemsize > point_step:
        raise MessageError(f"{what} at offset {offset} lies outside a point of {point_step} bytes", "layout")
    return offset, dtype
