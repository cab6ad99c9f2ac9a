"""A plane at the model's size: resize, scale and axis order in one pass over its pixels."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.running import KERNEL, in_parts

_IN_ORDER = KERNEL | {"fastmath": {"contract"}}  # sums in the order of `plain`, which computes the same bits
_LEAST_ROWS = 64

Statistics = np.ndarray | tuple[float, float, float]
"""Mean or deviation of the three channels."""


class Spans(NamedTuple):
    """For each of N_out places: out = sum_k weights[k] * values[first + k], k = 0..T-1.

    Attributes:
        first: (N_out,) int64. weights: (N_out, T) float32, each row sums to 1; 0 where values end before first + k.
    """

    first: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=64)
def spans(source: int, wanted: int) -> Spans:
    """Spans of one axis from ``source`` to ``wanted`` places: a triangle as wide as the step, as PyTorch has it.

    F.interpolate(mode="bilinear", align_corners=False, antialias=True); read-only.
    """
    step = source / wanted
    reach = max(step, 1.0)
    centre = step * (np.arange(wanted) + 0.5)
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    past = np.minimum((centre + reach + 0.5).astype(np.int64), source)
    place = first[:, None] + np.arange((past - first).max())  # (N_out,T)
    weights = np.maximum(1.0 - np.abs(place + 0.5 - centre[:, None]) / reach, 0.0) * (place < past[:, None])
    found = Spans(first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))
    for array in found:
        array.flags.writeable = False  # shared by all callers
    return found


def resized_plane(plane: np.ndarray, height: int, width: int, mean: Statistics, std: Statistics) -> np.ndarray:
    """Antialiased bilinear resize, then (value / 255 - mean) / std.

    Args:
        plane: (H, W, 3) uint8, or float32 in 0..255, C order.
        height, width: h and w. mean, std: (3,), of values in 0..1.

    Returns:
        (3, h, w) float32, equal to PyTorch's to a few units of 1e-6.
    """
    out = np.empty((3, height, width), np.float32)
    rows = plane.reshape(plane.shape[0], -1)  # (H,W,3) -> (H,3W)
    axes = (*spans(plane.shape[0], height), *spans(plane.shape[1], width))
    in_parts(partial(_resize_rows, rows, *axes, *gain_and_shift(mean, std), out), height, _LEAST_ROWS)
    return out


def picked_plane(plane: np.ndarray, height: int, width: int, mean: Statistics, std: Statistics) -> np.ndarray:
    """The same with the nearest pixel instead, for planes of few points: F.interpolate(mode="nearest-exact")."""
    out = np.empty((3, height, width), np.float32)
    _pick(plane, nearest(plane.shape[0], height), nearest(plane.shape[1], width), *gain_and_shift(mean, std), out)
    return out


def scaled_plane(plane: np.ndarray, mean: Statistics, std: Statistics) -> np.ndarray:
    """The same for a plane that has the wanted size."""
    height, width, _ = plane.shape
    out = np.empty((3, height, width), np.float32)
    rows = plane.reshape(height, -1)  # (H,W,3) -> (H,3W)
    in_parts(partial(_scale_rows, rows, *gain_and_shift(mean, std), out), height, _LEAST_ROWS)
    return out


def gain_and_shift(mean: Statistics, std: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """Gain and shift, (3,) float32 each: (value / 255 - mean) / std is gain * value + shift."""
    gain = 1.0 / (255.0 * np.asarray(std))
    return gain.astype(np.float32), (-np.asarray(mean) / np.asarray(std)).astype(np.float32)


@lru_cache(maxsize=64)
def nearest(source: int, wanted: int) -> np.ndarray:
    """(N_out,) int64 place of the nearest value, in float32 as PyTorch computes it; read-only."""
    place = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * np.float32(source / wanted)
    found = np.minimum(place.astype(np.int64), source - 1)
    found.flags.writeable = False  # shared by all callers
    return found


@compiled(**_IN_ORDER)
def _mix_rows(rows, first, weights, line):
    """Weighted sum of some rows (H, 3W) into the beginning of `line`."""
    count = rows.shape[1]
    for i in range(count):
        line[i] = weights[0] * np.float32(rows[first, i])
    for k in range(1, weights.size):
        weight = weights[k]
        if weight > 0.0:
            for i in range(count):
                line[i] += weight * np.float32(rows[first + k, i])


@compiled(**_IN_ORDER)
def _resize_rows(rows, first_row, row_weights, first_column, column_weights, gain, shift, out, begin, end):
    """Fill rows begin..end of (3, h, w)."""
    line = np.zeros(rows.shape[1] + 3 * column_weights.shape[1], np.float32)  # with zeros to run over the end
    for y in range(begin, end):
        _mix_rows(rows, first_row[y], row_weights[y], line)
        for x in range(out.shape[2]):
            at = 3 * first_column[x]
            red = green = blue = np.float32(0.0)
            for k in range(column_weights.shape[1]):
                weight = column_weights[x, k]
                red += weight * line[at]
                green += weight * line[at + 1]
                blue += weight * line[at + 2]
                at += 3
            out[0, y, x] = red * gain[0] + shift[0]
            out[1, y, x] = green * gain[1] + shift[1]
            out[2, y, x] = blue * gain[2] + shift[2]


@compiled(**_IN_ORDER)
def _scale(line, gain, shift, red, green, blue):
    """A row of pixels (3W,) into three rows (W,), in one loop: vector instructions read all three channels at once."""
    for x in range(red.size):
        red[x] = np.float32(line[3 * x]) * gain[0] + shift[0]
        green[x] = np.float32(line[3 * x + 1]) * gain[1] + shift[1]
        blue[x] = np.float32(line[3 * x + 2]) * gain[2] + shift[2]


@compiled(**_IN_ORDER)
def _scale_rows(rows, gain, shift, out, begin, end):
    gains, shifts = (gain[0], gain[1], gain[2]), (shift[0], shift[1], shift[2])
    for y in range(begin, end):
        _scale(rows[y], gains, shifts, out[0, y], out[1, y], out[2, y])


@compiled(**_IN_ORDER)
def _pick(plane, rows, columns, gain, shift, out):
    for y in range(rows.size):
        for x in range(columns.size):
            for channel in range(3):
                out[channel, y, x] = np.float32(plane[rows[y], columns[x], channel]) * gain[channel] + shift[channel]
