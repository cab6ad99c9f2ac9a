"""Look-up tables from the pixels of one camera to those of another, of which as many are kept as memory allows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from any2seg_core.sensors.camera import CameraModel, read_only

_KEPT_PIXELS = 36_000_000  # of all tables of one kind: four to six bytes each


_Table = TypeVar("_Table")


class Tables(Generic[_Table]):
    """What the pixels of one camera see of another at the same place: the newest tables, as many as memory allows.

    Args:
        make: (camera on whose grid the table is, the other one, rotation from the first to it) -> table.
    """

    def __init__(self, make: Callable[[CameraModel, CameraModel, np.ndarray], _Table]) -> None:
        self._make = make
        self._tables: OrderedDict[tuple[CameraModel, CameraModel, bytes], _Table] = OrderedDict()

    def find(self, source: CameraModel, target: CameraModel, rotation: np.ndarray) -> _Table:
        """As `make`, kept for next time."""
        key = (source, target, np.ascontiguousarray(rotation, dtype=np.float64).tobytes())
        if key not in self._tables:
            self._tables[key] = self._make(source, target, rotation)
            while len(self._tables) > 1 and sum(one.width * one.height for one, _, _ in self._tables) > _KEPT_PIXELS:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return self._tables[key]


def pixel_lookup(source: CameraModel, target: CameraModel, rotation: np.ndarray) -> np.ndarray:
    """Which pixel of `target` sees what each pixel of `source` sees, both cameras at one place; kept for next time.

    Args:
        rotation: (3, 3) float64, d_target = R @ d_source.

    Returns:
        (H, W) int32 flat index on the grid of `target`, -1 where it does not look.
    """
    return _lookups.find(source, target, rotation)


def _make_lookup(source: CameraModel, target: CameraModel, rotation: np.ndarray) -> np.ndarray:
    index = np.full((source.height, source.width), -1, dtype=np.int32)
    for rows in source.row_blocks():
        x, y = np.broadcast_arrays(*source.rays_of_rows(rows.start, rows.stop))
        rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3).astype(np.float64)  # (n,3)
        uv, valid = target.project(rays @ rotation.T)
        column, line = np.floor(uv[valid] + 0.5).astype(np.int64).T
        index[rows][valid.reshape(-1, source.width)] = line * target.width + column
    return read_only(index)


_lookups = Tables(_make_lookup)
