"""Events in a sensor_msgs/PointCloud2: CARLA's 13-byte points, right or broken, and clouds with named fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import MessageError
from any2seg_core.messages.clouds import carla_event_bytes, cloud_columns, is_carla_events
from any2seg_core.sensors.camera import read_only
from any2seg_core.sensors.events import EVENT_DTYPE

_LATEST = 2.0**62
_POLARITIES = ("pol", "p", "polarity")


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
    if is_carla_events(msg):
        data, layout = carla_event_bytes(msg)
        raw = data.view(layout)
        columns = {name: raw[name] for name in layout.names or ()}
    else:
        columns = cloud_columns(msg, required=("x", "y", "t"), optional=_POLARITIES)
    polarity = next((columns[name] for name in _POLARITIES if name in columns), None)
    if polarity is None:
        raise MessageError("cloud: no field pol, p or polarity; this is no event cloud", "layout")
    for name in ("x", "y"):
        kind = columns[name].dtype
        if kind.kind not in "iu" or kind.itemsize > 2:
            raise MessageError(f"cloud: event field {name} is {kind}, expected a 16-bit pixel index", "layout")
    if columns["t"].dtype.kind == "f" and columns["t"].dtype.itemsize < 8:
        raise MessageError("cloud: event field t is float32, which cannot hold nanoseconds; send float64", "layout")
    x, y, times, sign = (_native(column.reshape(-1)) for column in (columns["x"], columns["y"], columns["t"], polarity))
    events = np.empty(x.size, dtype=EVENT_DTYPE)
    out = (events["x"], events["y"], events["t"], events["p"])
    # int64 bits read as float64 are tiny denormals; the other way round nothing would look like a time.
    if _fill(x, y, times, sign, *out):
        return events
    if times.dtype.kind == "f" and _fill(x, y, times.view(np.int64), sign, *out):
        return events
    raise MessageError("cloud: event times are nanoseconds neither as float64 nor as int64", "value")


def _native(column: np.ndarray) -> np.ndarray:
    return read_only(column if column.dtype.isnative else column.astype(column.dtype.newbyteorder("=")))


@compiled(cache=True, error_model="numpy")
def _fill(x, y, t, sign, out_x, out_y, out_t, out_p):
    """Copies the columns; whether all times are 0 or 1 .. 2^62 (NaN is not)."""
    are_times = True
    for i in range(x.size):
        time = t[i]
        are_times &= time == 0 or 1 <= time < _LATEST
        out_x[i], out_y[i], out_t[i] = x[i], y[i], np.int64(time)
        out_p[i] = 1 if sign[i] > 0 else -1
    return are_times
