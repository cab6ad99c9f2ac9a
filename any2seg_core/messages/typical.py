"""Messages in the layouts that most drivers send, to compile their kernels before the first real one comes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from any2seg_core.messages.images import array_to_image_fields
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, POINTS, THERMAL16, Sensor

_UINT8, _UINT16, _FLOAT32, _FLOAT64 = 2, 4, 7, 8  # sensor_msgs/PointField
_ROWS = 2  # one row counts as contiguous in memory, for which other kernels are compiled
_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<f8"), ("pol", "i1")])
_EVENT_FIELDS = {"x": (0, _UINT16), "y": (2, _UINT16), "t": (4, _FLOAT64), "pol": (12, _UINT8)}
_POINT_FIELDS = {name: (4 * index, _FLOAT32) for index, name in enumerate(("x", "y", "z", "intensity"))}


def typical_messages(suite: SensorSuite, sizes: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """One message of each sensor but the camera.

    Depth is 32FC1 at 10 m, other images are grey or counts in the middle of their range, clouds have two points of 16
    bytes at 10 m and a ray without a return, event clouds two events of 13 bytes at 1 ns.

    Args:
        sizes: (H, W) of the images of a sensor.
    """
    others = (sensor for sensor in suite.sensors if sensor.name != suite.camera)
    return {sensor.name: _typical(sensor, sizes[sensor.name]) for sensor in others}


def _typical(sensor: Sensor, size: tuple[int, int]) -> SimpleNamespace:
    if sensor.kind == EVENTS:
        return _cloud(np.array([(0, 0, 1.0, 1)] * _ROWS, _EVENT), _EVENT_FIELDS)
    if sensor.kind == POINTS:
        return _cloud(np.array([(10.0, 0.0, 0.0, 0.5)] * _ROWS + [(0.0,) * 4], "<f4"), _POINT_FIELDS)
    if sensor.kind == DEPTH:
        return _image(np.full(size, 10.0, np.float32), "32FC1")
    if sensor.format == THERMAL16:
        assert sensor.value_range is not None  # thermal sensors have one
        return _image(np.full(size, sum(sensor.value_range) // 2, np.uint16), "mono16")
    return _image(np.full(size, 128, np.uint8), "mono8")


def _image(pixels: np.ndarray, encoding: str) -> SimpleNamespace:
    return SimpleNamespace(header=_header(), **array_to_image_fields(pixels, encoding))


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
