"""What `planes` and `labels` make of few pixels, in NumPy: loading numba would take longer.

Bit for bit the same where the processor has fused multiply-add, as all with AVX2 have, but for one rounding in 10^8.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from any2seg_core.kernels.bilinear import Taps, taps
from any2seg_core.kernels.labels import FAINT, LOG2_E, LOWEST, MANTISSA_BITS, POWERS, ROUNDING, SMALLEST
from any2seg_core.kernels.planes import Statistics, gain_and_shift, nearest, spans

_STRIP_VALUES = 1 << 15  # worked on at a time: the arrays between stay in the cache


def resized_plane(plane: np.ndarray, height: int, width: int, mean: Statistics, std: Statistics) -> np.ndarray:
    """As `planes.resized_plane`."""
    H, W, _ = plane.shape
    first, weights = spans(H, height)
    rows = plane.reshape(H, -1)  # (H,W,3) -> (H,3W)
    lines = weights[:, :1] * rows[first].astype(np.float32)  # (h,3W)
    for k in range(1, weights.shape[1]):
        lines = _fused(rows[np.minimum(first + k, H - 1)], weights[:, k, None], lines)
    pixels = lines.reshape(height, W, 3)
    first, weights = spans(W, width)
    resized = np.zeros((height, width, 3), np.float32)
    for k in range(weights.shape[1]):
        resized = _fused(pixels[:, np.minimum(first + k, W - 1)], weights[:, k, None], resized)
    return scaled_plane(resized, mean, std)


def picked_plane(plane: np.ndarray, height: int, width: int, mean: Statistics, std: Statistics) -> np.ndarray:
    """As `planes.picked_plane`."""
    return scaled_plane(plane[nearest(plane.shape[0], height)][:, nearest(plane.shape[1], width)], mean, std)


def scaled_plane(plane: np.ndarray, mean: Statistics, std: Statistics) -> np.ndarray:
    """As `planes.scaled_plane`."""
    return np.ascontiguousarray(_fused(plane, *gain_and_shift(mean, std)).transpose(2, 0, 1))  # (H,W,3) -> (3,H,W)


def upsampled_labels(
    logits: np.ndarray,
    height: int,
    width: int,
    with_confidence: bool = True,
    align_corners: bool = False,
    temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """As `labels.upsampled_labels`."""
    B, h, w, K = logits.shape
    labels = np.empty((B, height, width), np.uint8 if K <= 255 else np.uint16)
    confidence = np.empty((B, height, width), np.float32) if with_confidence else None
    across, rows = taps(w, width, align_corners), max(1, _STRIP_VALUES // (K * width))
    for b in range(B):
        winners = logits[b].argmax(axis=-1)  # (h,w)
        for start in range(0, height, rows):
            strip = slice(start, start + rows)
            down = Taps(*(each[strip] for each in taps(h, height, align_corners)))
            resized = _resized_logits(logits[b], down, across)  # (K,rows,W)
            labels[b, strip] = resized.argmax(axis=0)
            corners = [winners[np.ix_(row, column)] for row in down[:2] for column in across[:2]]
            agreed = np.logical_and.reduce([corner == corners[0] for corner in corners[1:]])
            labels[b, strip][agreed] = corners[0][agreed]  # rounding makes no other class their equal
            if confidence is not None:
                confidence[b, strip] = _confidence(logits[b], down, across, LOG2_E / np.float32(temperature))
    return labels, confidence


def _resized_logits(logits: np.ndarray, down: Taps, across: Taps) -> np.ndarray:
    """(h, w, K) -> (K, H, W), columns first, every operation rounded."""
    one, row_weight = np.float32(1.0), down.weight[:, None]
    planes = logits.transpose(2, 0, 1)
    upper, lower = (
        (one - across.weight) * rows[:, :, across.low] + across.weight * rows[:, :, across.high]
        for rows in (planes[:, down.low], planes[:, down.high])
    )
    return (one - row_weight) * upper + row_weight * lower


def _confidence(logits: np.ndarray, down: Taps, across: Taps, scale: np.float32) -> np.ndarray:
    """(h, w, K) -> (H, W), the softmax of the largest logit, step by step as `labels` computes it."""
    planes = logits.transpose(2, 0, 1)
    upper, lower = (_powers(planes[:, rows], across, scale) for rows in (down.low, down.high))  # (K, H, W)
    powers = _fused(down.weight[:, None], lower - upper, upper)
    top, shares = powers.max(axis=0), _power_of_two(powers)
    confidence = shares.max(axis=0) / reduce(np.add, shares)  # np.sum takes another order
    faint = top < FAINT
    if faint.any():
        confidence[faint] = np.float32(1.0) / reduce(np.add, _power_of_two(powers[:, faint] - top[faint]))
    return confidence


def _powers(rows: np.ndarray, across: Taps, scale: np.float32) -> np.ndarray:
    """Logits (K, H, w) -> powers of two (K, H, W), of which the largest of each place is 0."""
    left = rows[:, :, across.low]
    resized = _fused(across.weight, rows[:, :, across.high] - left, left)
    return np.maximum((resized - resized.max(axis=0)) * scale, LOWEST)


def _power_of_two(power: np.ndarray) -> np.ndarray:
    """As that of `labels`, step by step."""
    power = np.maximum(power, SMALLEST)
    rounded = power + ROUNDING
    f = power - (rounded - ROUNDING)
    fraction = np.full_like(f, POWERS[-1])
    for factor in POWERS[-2::-1]:
        fraction = _fused(fraction, f, factor)
    return fraction * (rounded.view(np.int32) << MANTISSA_BITS).view(np.float32)


def _fused(a: np.ndarray, b: np.ndarray, c: np.ndarray | np.float32) -> np.ndarray:
    """a * b + c in float32, rounded once: float64 holds the product of two float32 whole."""
    return (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)
