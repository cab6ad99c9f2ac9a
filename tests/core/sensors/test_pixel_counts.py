"""Counts over pixels against NumPy, compiled and without."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.sensors import pixel_counts
from any2seg_core.sensors.pixel_counts import count_depths, count_pixels

RANDOM = np.random.default_rng(2)


@pytest.fixture(params=[True, False], ids=["compiled", "plain"], autouse=True)
def kernels(request, monkeypatch):
    monkeypatch.setattr(type(WORKLOAD), "is_for_kernels", lambda *_: request.param)


@pytest.mark.parametrize("shape", [(7, 9, 3), (5, 1, 3), (4, 6), (1, 1), (0, 3, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("above", "below"), [(-1, 256), (0, 256), (8, 250), (255, 256), (-1, 0), (100, 60)])
def test_value_counts_are_those_of_numpy(shape, stride, above, below):
    codes = RANDOM.choice(np.array([0, 8, 9, 60, 249, 250, 255], np.uint8), shape)[::stride, ::stride]
    channels = codes if codes.ndim == 3 else codes[..., None]
    expected = np.logical_and((channels > above).any(axis=2), (channels < below).any(axis=2)).sum()
    assert count_pixels(codes, above, below) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_depths_are_counted_up_to_what_is_enough(dtype):
    depth_m = np.full((21, 33), 5.0, dtype)
    depth_m[::2, ::3], depth_m[1, :4] = 0.0, [np.nan, np.inf, -1.0, 999.0]
    for stride in (1, 4):
        sample = depth_m[::stride, ::stride]
        every = int((np.isfinite(sample) & (sample > 0) & (sample < 999)).sum())
        assert count_depths(depth_m, stride, 999.0, 1e9) == every
        assert [count_depths(depth_m, stride, 999.0, enough) for enough in (0, 2.5, every)] == [0, 3, every]
    assert count_depths(np.full((8, 8), np.nan, dtype), 4, 999.0, 1.0) == 0
    assert pixel_counts.count_depths(depth_m[:0], 4, 999.0, 1.0) == 0
