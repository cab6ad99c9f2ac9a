"""Events in a sensor_msgs/PointCloud2: CARLA's 13-byte points, right or broken, and clouds with named fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.errors import MessageError
from any2seg_core.messages.clouds import carla_event_bytes, cloud_columns, is_carla_events
from any2seg_core.sensors.events import EVENT_DTYPE

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
        columns = {name: raw[name] for name in layout.names}
    else:
        columns = cloud_columns(msg, required=("x", "y", "t"), optional=_POLARITIES)
    polarity = next((columns[name] for name in _POLARITIES if name in columns), None)
    if polarity is None:
        raise MessageError("cloud: no field pol, p or polarity; this is no event cloud", "layout")
    events = np.empty(columns["x"].size, dtype=EVENT_DTYPE)
    for name in ("x", "y"):
        values = columns[name].ravel()
        if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
            raise MessageError(f"cloud: event field {name} is {values.dtype}, expected a 16-bit pixel index", "layout")
        events[name] = values
    events["t"] = _times_ns(columns["t"].ravel())
    events["p"] = 2 * (polarity.ravel() > 0).view(np.int8) - 1
    return events


def _times_ns(times: np.ndarray) -> np.ndarray:
    if times.dtype.kind in "iu":
        return times.astype(np.int64)
    if times.dtype.itemsize < 8:
        raise MessageError("cloud: event field t is float32, which cannot hold nanoseconds; send float64", "layout")
    times = times.astype(times.dtype.newbyteorder("="))  # aligned, in this machine's order
    if _are_times(times):
        return times.astype(np.int64)
    # int64 bits read as float64 are tiny denormals; the other way round nothing would look like a time.
    as_integers = times.view(np.int64)
    if _are_times(as_integers):
        return as_integers
    raise MessageError("cloud: event times are nanoseconds neither as float64 nor as int64", "value")


def _are_times(values: np.ndarray) -> bool:
    """Whether all are 0 or 1 .. 2^62; NaN is not."""
    if values.size == 0 or (values.min() >= 1 and values.max() < 2**62):
        return True
    return bool((((values >= 1) & (values < 2**62)) | (values == 0)).all())
