"""Where bilinear resizing reads: F.interpolate(mode="bilinear"), one axis at a time."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Taps(NamedTuple):
    """For each of N_out places: out = (1 - weight) * values[low] + weight * values[high].

    Attributes:
        low, high: (N_out,) uint32. weight: (N_out,) float32, 0..1.
    """

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


@lru_cache(maxsize=64)
def taps(source: int, wanted: int, align_corners: bool = False) -> Taps:
    """Taps of one axis from ``source`` to ``wanted`` places, in float32 as PyTorch computes them; read-only."""
    places = np.arange(wanted, dtype=np.float32)
    if align_corners:
        place = np.float32((source - 1) / max(wanted - 1, 1)) * places
    else:
        place = np.maximum(np.float32(source / wanted) * (places + np.float32(0.5)) - np.float32(0.5), 0.0)
    low = np.minimum(place.astype(np.int64), source - 1)
    weight = np.clip(place - low, 0.0, 1.0).astype(np.float32)
    found = Taps(low.astype(np.uint32), np.minimum(low + 1, source - 1).astype(np.uint32), weight)
    for array in found:
        array.flags.writeable = False  # shared by all callers
    return found


@lru_cache(maxsize=64)
def runs(source: int, wanted: int, align_corners: bool = False) -> np.ndarray:
    """(R + 1,) int64: where runs of places begin that read the same two values, and the end; read-only."""
    low, high, _ = taps(source, wanted, align_corners)
    changes = np.flatnonzero((low[1:] != low[:-1]) | (high[1:] != high[:-1])) + 1
    found = np.concatenate([[0], changes, [wanted]])
    found.flags.writeable = False  # shared by all callers
    return found
