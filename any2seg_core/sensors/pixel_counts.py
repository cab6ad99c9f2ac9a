"""Counts over a grid of pixels, without a copy of them: what health checks and scores look at in every set."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.sensors.camera import read_only

_KERNEL: dict[str, Any] = {"cache": True, "nogil": True}


def count_pixels(codes: np.ndarray, above: int, below: int) -> int:
    """Pixels whose largest channel is above one code and whose smallest is below another.

    Args:
        codes: (H, W, 3) or (H, W) uint8, of any strides.
    """
    pixels = read_only(codes if codes.ndim == 3 else codes[..., None])  # (H,W,C)
    if WORKLOAD.is_for_kernels(pixels.size):
        return int(_count_pixels(pixels, above, below))
    return int(np.count_nonzero((pixels.max(axis=2) > above) & (pixels.min(axis=2) < below)))


def count_depths(depth_m: np.ndarray, stride: int, largest_m: float, enough: float) -> int:
    """Pixels of every so manieth row and column with a depth above 0 and below ``largest_m``.

    Args:
        depth_m: (H, W) float metres. enough: nothing is counted beyond that.
    """
    sample = read_only(depth_m[::stride, ::stride])
    if WORKLOAD.is_for_kernels(sample.size):
        return int(_count_depths(sample, largest_m, enough))
    return min(int(np.count_nonzero((sample > 0) & (sample < largest_m))), int(np.ceil(enough)))


@compiled(**_KERNEL)
def _count_pixels(pixels, above, below):
    count = 0
    for row in range(pixels.shape[0]):
        for column in range(pixels.shape[1]):
            largest = smallest = pixels[row, column, 0]
            for channel in range(1, pixels.shape[2]):
                code = pixels[row, column, channel]
                largest, smallest = max(largest, code), min(smallest, code)
            count += (largest > above) & (smallest < below)
    return count


@compiled(**_KERNEL)
def _count_depths(sample, largest_m, enough):
    count = 0
    for row in range(sample.shape[0]):
        if count >= enough:
            break
        for column in range(sample.shape[1]):
            count += (sample[row, column] > 0) & (sample[row, column] < largest_m)
    return min(count, np.int64(np.ceil(enough)))
