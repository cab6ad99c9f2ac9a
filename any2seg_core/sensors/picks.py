"""Picks: the pixels of a sparse plane that the network reads. Nothing else of it needs to be drawn for it.

A plane of points or events is not averaged on its way to a smaller network: the nearest pixel is taken, one of 16 where
a side is four times as long. Drawn at these pixels alone the network's input is the same, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from any2seg_core.kernels.planes import nearest

_NEAR = 1  # pixels: a point covers 3x3
_NONE = -(1 << 31)  # times the number of columns it still fits; no picture has so many pixels


@dataclass(frozen=True, eq=False)
class Picks:
    """Pixels of a plane that are read, in rows and columns; read-only arrays.

    Attributes:
        grid: (H, W) of the plane. rows: (h,) and columns: (w,) int64 of it, rising.
    """

    grid: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return len(self.rows), len(self.columns)

    def of(self, plane: np.ndarray) -> np.ndarray:
        """(H, W, ...) -> (h, w, ...)."""
        return plane[self.rows][:, self.columns]

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Which of `rows` each row of the plane is, (H,) int32, -1: none of them; the same of the columns."""
        return _numbers(self.rows, self.grid[0]), _numbers(self.columns, self.grid[1])

    @cached_property
    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the pixels that are within one of each row and column of the plane begin and go on, in (h w,) of them.

        Of rows (H + 1, J) and of columns (W + 1, K) int64: the sum of both is the place of a pixel; a negative number
        where there is none, whatever is added. Index 0 is for what lies nowhere, so that -1 finds nothing.
        """
        return len(self.columns) * _near(self.rows, self.grid[0]), _near(self.columns, self.grid[1])


@lru_cache(maxsize=64)
def picks(grid: tuple[int, int], size: tuple[int, int]) -> Picks | None:
    """What a network of `size` (h, w) reads of a plane on `grid` (H, W); None where that is not less than all of it."""
    if size == grid or size[0] > grid[0] or size[1] > grid[1]:
        return None
    rows, columns = (nearest(*sides) for sides in zip(grid, size, strict=True))
    if not (np.diff(rows) > 0).all() or not (np.diff(columns) > 0).all():
        return None
    return Picks(grid, rows, columns)


def _numbers(places: np.ndarray, side: int) -> np.ndarray:
    found = np.full(side, -1, np.int32)
    found[places] = np.arange(len(places))
    return found


def _near(places: np.ndarray, side: int) -> np.ndarray:
    """Numbers of the places near to -1, 0 .. side - 1, (side + 1, K); _NONE beside them."""
    each = np.arange(-1, side)
    begin, end = np.searchsorted(places, each - _NEAR, "left"), np.searchsorted(places, each + _NEAR, "right")
    end[0] = begin[0]
    found = begin[:, None] + np.arange(max((end - begin).max(), 1))
    return np.where(found < end[:, None], found, _NONE)
