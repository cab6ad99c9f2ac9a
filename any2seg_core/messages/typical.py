"""Messages in the layouts that most drivers send, to compile their kernels before the first real one comes."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np

from any2seg_core.messages.images import array_to_image_fields

_UINT8, _UINT16, _FLOAT32, _FLOAT64 = 2, 4, 7, 8  # sensor_msgs/PointField
_ROWS = 2  # one row counts as contiguous in memory, for which other kernels are compiled
_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<f8"), ("pol", "i1")])
_EVENT_FIELDS = {"x": (0, _UINT16), "y": (2, _UINT16), "t": (4, _FLOAT64), "pol": (12, _UINT8)}
_POINT_FIELDS = {name: (4 * index, _FLOAT32) for index, name in enumerate(("x", "y", "z", "intensity"))}


def typical_messages(depth_size: tuple[int, int]) -> dict[str, Any]:
    """One message each: depth (H, W) 32FC1 at 10 m, two events of 13 bytes at 1 ns, two points of 16 bytes at 10 m."""
    events = np.array([(0, 0, 1.0, 1)] * _ROWS, _EVENT)
    points = np.array([(10.0, 0.0, 0.0, 0.5)] * _ROWS, "<f4")
    return {
        "depth": SimpleNamespace(
            header=_header(), **array_to_image_fields(np.full(depth_size, 10.0, np.float32), "32FC1")
        ),
        "event": _cloud(events, _EVENT_FIELDS),
        "lidar": _cloud(points, _POINT_FIELDS),
    }


def _header() -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=1), frame_id="")


def _cloud(rows: np.ndarray, fields: dict[str, tuple[int, int]]) -> SimpleNamespace:
    step = rows.nbytes // len(rows)
    return SimpleNamespace(
        header=_header(), height=1, width=len(rows), point_step=step, row_step=rows.nbytes, is_bigendian=False,
        is_dense=True, data=array("B", rows.tobytes()),
        fields=[SimpleNamespace(name=name, offset=offset, datatype=datatype, count=1)
                for name, (offset, datatype) in fields.items()],
    )  # fmt: skip
