"""Message-like objects (rclpy, rosbags or a fake; read by field name) to arrays and back. Imports no ROS."""

from __future__ import annotations

import array
import operator
from typing import Any

import cv2
import numpy as np

from any2seg_core.errors import MessageError
from any2seg_core.sensors.depth import decode_carla_depth
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.units import NS_PER_S

_MAX_SIDE = 32768
_MAX_POINTS = 100_000_000

_ENCODINGS: dict[str, tuple[str, int]] = {
    "rgb8": ("u1", 3), "bgr8": ("u1", 3), "rgba8": ("u1", 4), "bgra8": ("u1", 4), "mono8": ("u1", 1),
    "mono16": ("u2", 1), "16UC1": ("u2", 1), "32FC1": ("f4", 1), "8UC1": ("u1", 1), "8UC3": ("u1", 3),
}  # fmt: skip
# 8UC3 names no colour order; it comes from OpenCV programs, which mean blue first.
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB, "8UC3": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_RGBA2RGB, "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB, "8UC1": cv2.COLOR_GRAY2RGB,
}  # fmt: skip
_POINT_FIELD_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_CARLA_EVENT_BYTES = 13


def stamp_ns(header: Any) -> int:
    """Nanoseconds of a std_msgs/Header (or of a builtin_interfaces/Time); MessageError when negative or malformed."""
    stamp = getattr(header, "stamp", header)
    seconds = _integer(stamp, "sec", "stamp", 0, 2**53)
    return seconds * NS_PER_S + _integer(stamp, "nanosec", "stamp", 0, NS_PER_S - 1)


def image_to_array(msg: Any) -> np.ndarray:
    """Pixels of a sensor_msgs/Image in their own encoding.

    Returns:
        (H, W) or (H, W, C), dtype and channel order of the encoding, native byte order. May share memory with the
        message; treat it as read-only.

    Raises:
        MessageError: unknown encoding, size out of 1..32768, a step that is too small, or data that is not
            step * height bytes long.
    """
    height = _integer(msg, "height", "image", 1, _MAX_SIDE)
    width = _integer(msg, "width", "image", 1, _MAX_SIDE)
    encoding = _encoding(msg)
    kind, channels = _ENCODINGS[encoding]
    dtype = np.dtype(_byte_order(msg, "image") + kind)
    row_bytes = width * channels * dtype.itemsize
    step = _integer(msg, "step", "image", 0, 2**32)
    if step < row_bytes:
        raise MessageError(f"image: step {step} is smaller than a row of {width} {encoding} pixels ({row_bytes} bytes)")
    data = _bytes(msg, "image")
    if data.size != step * height:
        raise MessageError(f"image: data holds {data.size} bytes, step {step} x height {height} needs {step * height}")
    rows = data.reshape(height, step)[:, :row_bytes]  # (H,step) -> (H,row_bytes)
    pixels = np.ascontiguousarray(rows).view(dtype).reshape(height, width, channels)  # (H,W,C)
    pixels = pixels.astype(dtype.newbyteorder("="), copy=False)
    return pixels[..., 0] if channels == 1 else pixels


def image_to_rgb(msg: Any) -> np.ndarray:
    """Colour or grey sensor_msgs/Image to (H, W, 3) uint8 RGB; MessageError for any other encoding."""
    encoding = _encoding(msg)
    pixels = image_to_array(msg)
    if encoding == "rgb8":
        return pixels
    if encoding == "mono16":
        return cv2.cvtColor((pixels >> 8).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    if encoding not in _TO_RGB:
        raise MessageError(f"image: encoding {encoding!r} is no colour image; expected rgb8, {', '.join(_TO_RGB)}")
    return cv2.cvtColor(pixels, _TO_RGB[encoding])


def image_to_depth_m(msg: Any) -> np.ndarray:
    """Depth sensor_msgs/Image to (H, W) float32 metres.

    32FC1 is metres, 16UC1 and mono16 are millimetres with 0 = invalid (REP 118), bgra8 is CARLA's packed depth.
    MessageError for any other encoding.
    """
    encoding = _encoding(msg)
    pixels = image_to_array(msg)
    if encoding == "32FC1":
        return pixels
    if encoding in ("16UC1", "mono16"):
        return pixels * np.float32(0.001)
    if encoding == "bgra8":
        return decode_carla_depth(pixels)
    raise MessageError(f"image: encoding {encoding!r} is no depth; expected 32FC1, 16UC1, mono16 or CARLA's bgra8")


def array_to_image_fields(array_: np.ndarray, encoding: str) -> dict[str, Any]:
    """Fields of a sensor_msgs/Image for (H, W) or (H, W, C) pixels; `data` is an array.array of bytes.

    Raises:
        MessageError: unknown encoding, or dtype or shape that do not fit it.
    """
    if encoding not in _ENCODINGS:
        raise MessageError(f"image: unknown encoding {encoding!r}; known are {', '.join(_ENCODINGS)}")
    kind, channels = _ENCODINGS[encoding]
    shape = array_.shape if array_.ndim == 3 else (*array_.shape, 1)
    if array_.dtype != np.dtype(kind) or len(shape) != 3 or shape[2] != channels or 0 in shape:
        raise MessageError(f"image: {encoding} takes {channels} channels of {kind}, got {array_.shape} {array_.dtype}")
    pixels = np.ascontiguousarray(array_, dtype="<" + kind)
    data = array.array("B")
    data.frombytes(memoryview(pixels).cast("B"))
    return {
        "height": shape[0],
        "width": shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": shape[1] * channels * pixels.itemsize,
        "data": data,
    }


def cloud_to_points(msg: Any, intensity_max: float = 1.0) -> np.ndarray:
    """Points of a sensor_msgs/PointCloud2, fields found by name in any order, type, padding and byte order.

    Args:
        intensity_max: value of a float `intensity` that means 1; integer fields are divided by their type's maximum.

    Returns:
        (N, 4) float32 x, y, z in metres and intensity 0..1; points that are not finite are dropped; intensity is 1
        where the cloud has none.

    Raises:
        MessageError: no x, y or z, a field outside the point, point_step 0, or data of another length than the
            message says.
    """
    columns = _cloud_columns(msg, required=("x", "y", "z"), optional=("intensity",))
    points = np.ones((columns["x"].size, 4), dtype=np.float32)  # (N,4)
    with np.errstate(over="ignore", invalid="ignore"):
        for index, name in enumerate(("x", "y", "z")):
            points[:, index] = columns[name].ravel()
        if "intensity" in columns:
            values = columns["intensity"].ravel()
            full = intensity_max if values.dtype.kind == "f" else np.iinfo(values.dtype).max
            points[:, 3] = np.nan_to_num(values.astype(np.float32) / np.float32(full), posinf=1.0, neginf=0.0)
    np.clip(points[:, 3], 0.0, 1.0, out=points[:, 3])
    finite = np.isfinite(points).all(axis=1)
    return points if finite.all() else points[finite]


def cloud_to_events(msg: Any) -> np.ndarray:
    """Events of a sensor_msgs/PointCloud2.

    13-byte points are CARLA's (x u2, y u2, t, polarity i1) whatever the field list says: CARLA 0.9.16 publishes wrong
    names and a wrong width, and writes t as int64 where the bridge writes float64 (carla#9649); both hold nanoseconds.
    Other layouts are read by the names x, y, t and pol (or p, polarity), t in nanoseconds.

    Returns:
        (N,) structured array EVENT_DTYPE, p is +1 or -1.

    Raises:
        MessageError: as `cloud_to_points`, or times that make no sense as either number.
    """
    if _integer(msg, "point_step", "cloud", 1, 2**20) == _CARLA_EVENT_BYTES:
        data = _bytes(msg, "cloud")
        if data.size % _CARLA_EVENT_BYTES:
            raise MessageError(f"cloud: {data.size} bytes are no whole number of {_CARLA_EVENT_BYTES}-byte events")
        layout = _carla_events(_byte_order(msg, "cloud"))
        raw = data.view(layout)
        columns = {name: raw[name] for name in layout.names}
    else:
        columns = _cloud_columns(msg, required=("x", "y", "t"), optional=("pol", "p", "polarity"))
    polarity = next((columns[name] for name in ("pol", "p", "polarity") if name in columns), None)
    if polarity is None:
        raise MessageError("cloud: no field pol, p or polarity; this is no event cloud")
    events = np.empty(columns["x"].size, dtype=EVENT_DTYPE)
    for name in ("x", "y"):
        values = columns[name].ravel()
        if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
            raise MessageError(f"cloud: event field {name} is {values.dtype}, expected a 16-bit pixel index")
        events[name] = values
    events["t"] = _event_times_ns(columns["t"].ravel())
    events["p"] = np.where(polarity.ravel() > 0, 1, -1)
    return events


def _event_times_ns(times: np.ndarray) -> np.ndarray:
    if times.dtype.kind in "iu":
        return times.astype(np.int64)
    if times.dtype.itemsize < 8:
        raise MessageError("cloud: event field t is float32, which cannot hold nanoseconds; send float64")
    if _are_times(times):
        return times.astype(np.int64)
    # int64 bits read as float64 are tiny denormals; the other way round nothing would look like a time.
    as_integers = np.ascontiguousarray(times).view(times.dtype.byteorder + "i8").astype(np.int64)
    if _are_times(as_integers):
        return as_integers
    raise MessageError("cloud: event times are nanoseconds neither as float64 nor as int64")


def _are_times(values: np.ndarray) -> bool:
    return bool((((values >= 1) & (values < 2**62)) | (values == 0)).all())


def cloud_rows(msg: Any) -> tuple[np.ndarray, dict[str, tuple[int, np.dtype]]]:
    """Points of a sensor_msgs/PointCloud2 as they are stored, and where each named field lies in a point.

    Returns:
        (N, point_step) uint8, a copy that may be changed, and name -> (offset in bytes, dtype). 13-byte points are
        CARLA's events (x, y, t, pol) whatever the field list says, see `cloud_to_events`.

    Raises:
        MessageError: as `cloud_to_points`.
    """
    data, height, width, step, row_step = _cloud_layout(msg)
    rows = data.reshape(height, row_step)[:, : width * step].reshape(-1, step).copy()  # (N,point_step)
    if step != _CARLA_EVENT_BYTES:
        return rows, _field_types(msg, step)
    layout = _carla_events(_byte_order(msg, "cloud"))
    return rows, {name: (offset, dtype) for name, (dtype, offset) in layout.fields.items()}


def _carla_events(order: str) -> np.dtype:
    return np.dtype([("x", order + "u2"), ("y", order + "u2"), ("t", order + "f8"), ("pol", "i1")])


def _cloud_layout(msg: Any) -> tuple[np.ndarray, int, int, int, int]:
    """(bytes, height, width, point_step, row_step), checked against each other."""
    height = _integer(msg, "height", "cloud", 0, _MAX_POINTS)
    width = _integer(msg, "width", "cloud", 0, _MAX_POINTS)
    step = _integer(msg, "point_step", "cloud", 1, 2**20)
    row_step = _integer(msg, "row_step", "cloud", 0, 2**40)
    if height * width > _MAX_POINTS:
        raise MessageError(f"cloud: {width} x {height} points are more than {_MAX_POINTS}")
    if height > 1 and row_step < width * step:
        raise MessageError(f"cloud: row_step {row_step} is smaller than {width} points of {step} bytes")
    row_step = row_step if height > 1 else width * step  # of a single row some drivers leave row_step at 0
    data = _bytes(msg, "cloud")
    if data.size != row_step * height:
        raise MessageError(f"cloud: data holds {data.size} bytes, row_step {row_step} x height {height} says otherwise")
    return data, height, width, step, row_step


def _cloud_columns(msg: Any, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, np.ndarray]:
    """(height, width) views on the named fields of a cloud."""
    data, height, width, step, row_step = _cloud_layout(msg)
    types = _field_types(msg, step)
    missing = [name for name in required if name not in types]
    if missing:
        raise MessageError(f"cloud: no field {', '.join(missing)}; it has {', '.join(types) or 'none'}")
    columns = {}
    for name in (*required, *(n for n in optional if n in types)):
        offset, dtype = types[name]
        if data.size == 0:
            columns[name] = np.empty((height, width), dtype)
        else:
            columns[name] = np.ndarray((height, width), dtype, data, offset, (row_step, step))
    return columns


def _field_types(msg: Any, point_step: int) -> dict[str, tuple[int, np.dtype]]:
    order = _byte_order(msg, "cloud")
    fields = _attribute(msg, "fields", "cloud")
    if not isinstance(fields, list | tuple | np.ndarray):
        raise MessageError(f"cloud: fields must be a list of PointField, got {type(fields).__name__}")
    types: dict[str, tuple[int, np.dtype]] = {}
    for field in fields:
        name = _attribute(field, "name", "cloud field")
        if not isinstance(name, str):
            raise MessageError(f"cloud: a field's name must be text, got {type(name).__name__}")
        offset = _integer(field, "offset", f"cloud field {name!r}", 0, 2**20)
        kind = _POINT_FIELD_TYPES.get(_integer(field, "datatype", f"cloud field {name!r}", 0, 255))
        if kind is None:
            raise MessageError(f"cloud: field {name!r} has an unknown datatype; expected 1 (INT8) to 8 (FLOAT64)")
        dtype = np.dtype(order + kind)
        if offset + dtype.itemsize > point_step:
            raise MessageError(f"cloud: field {name!r} at offset {offset} lies outside a point of {point_step} bytes")
        types.setdefault(name, (offset, dtype))
    return types


def _attribute(msg: Any, name: str, what: str) -> Any:
    try:
        return getattr(msg, name)
    except AttributeError:
        raise MessageError(f"{what}: no field {name!r} in {type(msg).__name__}") from None


def _integer(msg: Any, name: str, what: str, low: int, high: int) -> int:
    value = _attribute(msg, name, what)
    try:
        number = operator.index(value)
    except TypeError:
        raise MessageError(f"{what}: {name} must be a whole number, got {type(value).__name__}") from None
    if not low <= number <= high:
        raise MessageError(f"{what}: {name} is {number}, expected {low} to {high}")
    return number


def _encoding(msg: Any) -> str:
    encoding = _attribute(msg, "encoding", "image")
    if not isinstance(encoding, str) or encoding not in _ENCODINGS:
        raise MessageError(f"image: unknown encoding {str(encoding)[:40]!r}; known are {', '.join(_ENCODINGS)}")
    return encoding


def _byte_order(msg: Any, what: str) -> str:
    value = _attribute(msg, "is_bigendian", what)
    if not isinstance(value, bool | int | np.integer | np.bool_):
        raise MessageError(f"{what}: is_bigendian must be 0 or 1, got {type(value).__name__}")
    return ">" if value else "<"


def _bytes(msg: Any, what: str) -> np.ndarray:
    """The data field as (size,) uint8, without a copy where the type allows."""
    data = _attribute(msg, "data", what)
    if isinstance(data, list | tuple):
        try:
            return np.frombuffer(bytes(data), dtype=np.uint8)
        except (TypeError, ValueError):
            raise MessageError(f"{what}: data must hold bytes 0..255") from None
    try:
        view = memoryview(data)
        if view.itemsize != 1 or view.ndim != 1:
            raise MessageError(f"{what}: data must be a row of bytes, got items of {view.itemsize} bytes")
        return np.frombuffer(view if view.contiguous else view.tobytes(), dtype=np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if isinstance(error, MessageError):
            raise
        raise MessageError(f"{what}: data must be bytes, got {type(data).__name__}") from None
