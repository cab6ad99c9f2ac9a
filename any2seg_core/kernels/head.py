"""The hidden map of the all-MLP head: three coarser levels are upsampled, added and rectified in one pass."""

from __future__ import annotations

from functools import partial

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.bilinear import taps
from any2seg_core.kernels.running import KERNEL, in_parts

_LEAST_VALUES = 1 << 16


def add_upsampled(hidden: np.ndarray, first_row: int, size: tuple[int, int], levels: list[np.ndarray]) -> None:
    """hidden = max(hidden + levels upsampled to ``size``, 0), in place, for whole rows of a map.

    Args:
        hidden: (rows * W, C) float32, C order: the rows from ``first_row`` on.
        first_row: which row of the map comes first.
        size: (H, W) of the map.
        levels: three maps (H_j, W_j, C) float32, C order.
    """
    down = tuple(tuple(taps(level.shape[0], size[0])) for level in levels)
    across = tuple(tuple(taps(level.shape[1], size[1])) for level in levels)
    work = partial(_add_upsampled, hidden, first_row, size[1], tuple(levels), down, across)
    in_parts(work, len(hidden) // size[1], _LEAST_VALUES // (hidden.shape[1] * size[1]))


@compiled(**KERNEL)
def _blend_rows(level, y, down, out):
    """Rows above and below row ``y`` of the finer map, mixed: out (>= W_j, C)."""
    above, below, w = down[0][y], down[1][y], down[2][y]
    v = np.float32(1.0) - w
    for x in range(level.shape[1]):
        for c in range(level.shape[2]):
            out[x, c] = v * level[above, x, c] + w * level[below, x, c]


@compiled(**KERNEL)
def _add_upsampled(hidden, first_row, width, levels, down, across, first, last):
    C = hidden.shape[1]
    one = np.float32(1.0)
    fine = np.empty((levels[0].shape[1], C), np.float32)
    middle = np.empty((levels[1].shape[1], C), np.float32)
    coarse = np.empty((levels[2].shape[1], C), np.float32)
    for row in range(first, last):
        y = first_row + row
        _blend_rows(levels[0], y, down[0], fine)
        _blend_rows(levels[1], y, down[1], middle)
        _blend_rows(levels[2], y, down[2], coarse)
        for x in range(width):
            n = row * width + x
            i, j, u = across[0][0][x], across[0][1][x], across[0][2][x]
            p, q, v = across[1][0][x], across[1][1][x], across[1][2][x]
            r, s, w = across[2][0][x], across[2][1][x], across[2][2][x]
            for c in range(C):
                value = hidden[n, c] + ((one - u) * fine[i, c] + u * fine[j, c])
                value += (one - v) * middle[p, c] + v * middle[q, c]
                value += (one - w) * coarse[r, c] + w * coarse[s, c]
                hidden[n, c] = np.float32(0.0) if value < 0 else value  # so that NaN stays NaN
