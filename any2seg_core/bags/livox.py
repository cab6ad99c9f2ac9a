"""Livox CustomMsg as a PointCloud2: the points stay as they lie, the fields are named.

Layout: https://github.com/Livox-SDK/livox_ros_driver2/tree/master/msg.
"""

from __future__ import annotations

import struct

import numpy as np

from any2seg_core.bags.known_types import HEADER, known_types
from any2seg_core.base.errors import MessageError

CLOUD = "sensor_msgs/msg/PointCloud2"
_POINT_BYTES, _ALIGNED_BYTES = 19, 20
_UINT8, _UINT32, _FLOAT32 = 2, 6, 7  # sensor_msgs/PointField
_FIELDS = (("offset_time", 0, _UINT32), ("x", 4, _FLOAT32), ("y", 8, _FLOAT32), ("z", 12, _FLOAT32),
           ("reflectivity", 16, _UINT8), ("tag", 17, _UINT8), ("line", 18, _UINT8))  # fmt: skip


def livox_to_cloud(data: bytes, is_ros1: bool) -> bytes:
    """A serialised CustomMsg -> a serialised (CDR) PointCloud2 of x, y, z in metres and reflectivity 0..255.

    Raises:
        MessageError: bytes that are no CustomMsg or hold fewer points than they say.
    """
    try:
        sec, nanosec, frame_id, first, count, order = (_ros1_head if is_ros1 else _cdr_head)(data)
    except struct.error as error:
        raise MessageError(f"Livox CustomMsg: {len(data)} bytes hold no header ({error})", "length") from None
    step = _POINT_BYTES if is_ros1 else _ALIGNED_BYTES
    needed = max(count * step - (step - _POINT_BYTES), 0)  # the last point is not padded
    if len(data) - first < needed:
        raise MessageError(f"Livox CustomMsg: {len(data)} bytes, {count} points need {first + needed}", "length")
    points = np.zeros(count * step, np.uint8)
    points[:needed] = np.frombuffer(data, np.uint8, needed, first)
    make = known_types(False).types
    header = make[HEADER](make["builtin_interfaces/msg/Time"](sec, nanosec), frame_id)
    fields = [make["sensor_msgs/msg/PointField"](name, offset, kind, 1) for name, offset, kind in _FIELDS]
    cloud = make[CLOUD](header, 1, count, fields, order == ">", step, count * step, points, False)
    return bytes(known_types(False).serialize_cdr(cloud, CLOUD))


def _cdr_head(data: bytes) -> tuple[int, int, str, int, int, str]:
    """(sec, nanosec, frame_id, offset of the first point, number of points, byte order)."""
    if len(data) < 4:
        raise struct.error("no encapsulation")
    order = "<" if data[1] & 1 else ">"
    sec, nanosec, length = struct.unpack_from(f"{order}iII", data, 4)
    frame_id = data[16 : 16 + length].rstrip(b"\0").decode(errors="replace")
    at = 16 + length
    at += -(at - 4) % 8  # timebase is aligned to eight bytes behind the encapsulation
    (count,) = struct.unpack_from(f"{order}I", data, at + 16)
    return sec, nanosec, frame_id, at + 20, count, order


def _ros1_head(data: bytes) -> tuple[int, int, str, int, int, str]:
    """As `_cdr_head`; ROS 1 packs the fields, and a header begins with its sequence number."""
    _, sec, nanosec, length = struct.unpack_from("<IiII", data)
    frame_id = data[16 : 16 + length].decode(errors="replace")
    (count,) = struct.unpack_from("<I", data, 16 + length + 16)
    return sec, nanosec, frame_id, 16 + length + 20, count, "<"
