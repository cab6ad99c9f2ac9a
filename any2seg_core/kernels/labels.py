"""Labels and confidence of upsampled logits, without ever writing K maps of the size of the image."""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit

from any2seg_core.kernels.bilinear import taps
from any2seg_core.kernels.running import KERNEL, in_parts

_STRICT = KERNEL | {"fastmath": False}  # the winner is found and looked at again: both must see the same bits
_TILE = 256  # columns: two resized rows of all classes stay in the first-level cache
_LEAST_ROWS = 64
_MARGIN = np.float32(1e-6)  # of the two largest logits to their size: far above what resizing rounds off
_LOG2_E = np.float32(1.4426950408889634)
_SMALLEST = np.float32(-126.0)  # exponent of the smallest normal float32
_BIAS, _MANTISSA_BITS = np.int32(127), np.int32(23)
_C1, _C2, _C3, _C4, _C5, _C6 = (
    np.float32(c) for c in (6.93147181e-1, 2.40226507e-1, 5.55041087e-2, 9.61812911e-3, 1.33335581e-3, 1.54035304e-4)
)  # ln(2)^n / n!: 2^f for f in -0.5..0.5 to 1.3e-7


def upsampled_labels(
    logits: np.ndarray, height: int, width: int, with_confidence: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """The class with the largest logit at each pixel, and its softmax, after bilinear resizing.

    Args:
        logits: (B, h, w, K) float32, C order, no NaN.
        height, width: H and W.
        with_confidence: False saves most of the time; None in its place.

    Returns:
        labels (B, H, W) uint8, uint16 for more than 255 classes, the lowest class among equals; confidence (B, H, W)
        float32, 0..1, to a few units of 1e-7.
    """
    B, h, w, K = logits.shape
    labels = np.empty((B, height, width), np.uint8 if K <= 255 else np.uint16)
    confidence = np.empty((B, height, width) if with_confidence else (B, 0, 0), np.float32)
    resize = (*taps(h, height), *taps(w, width))
    for b in range(B):
        clear = _clear_winners(logits[b]) if not with_confidence else np.empty((0, 0), np.int32)
        in_parts(partial(_label_rows, logits[b], clear, *resize, labels[b], confidence[b]), height, _LEAST_ROWS)
    return labels, confidence if with_confidence else None


@njit(**KERNEL)
def _exp_of_negative(x):
    """exp(x) for float32 x <= 0, to 2e-7 of it, and 2^-126 below -87; in vector instructions, which np.exp is not."""
    power = x * _LOG2_E
    power = power if power > _SMALLEST else _SMALLEST
    whole = np.int32(power - np.float32(0.5))  # rounds to the nearest, as power <= 0
    f = power - np.float32(whole)
    fraction = ((((((_C6 * f + _C5) * f + _C4) * f + _C3) * f + _C2) * f) + _C1) * f + np.float32(1.0)
    return fraction * np.int32(np.int32(whole + _BIAS) << _MANTISSA_BITS).view(np.float32)


@njit(**_STRICT)
def _clear_winners(logits):
    """Logits (h, w, K) -> (h, w) int32, the class that is clearly ahead of all others, -1 where none is.

    Bilinear weights are not negative: where one class is clearly ahead at all four corners, it is ahead between them.
    """
    winners = np.empty(logits.shape[:2], np.int32)
    for y in range(logits.shape[0]):
        for x in range(logits.shape[1]):
            first, second, winner = logits[y, x, 0], np.float32(-np.inf), 0
            for k in range(1, logits.shape[2]):
                value = logits[y, x, k]
                if value > first:
                    first, second, winner = value, first, k
                elif value > second:
                    second = value
            clear = first - second > _MARGIN * (abs(first) + abs(second))
            winners[y, x] = winner if clear else -1
    return winners


@njit(**KERNEL)
def _resize_row(logits, y, low, high, weight, start, count, out):
    """One row of logits (h, w, K), resized to ``count`` columns from ``start`` on: out (K, tile)."""
    for k in range(out.shape[0]):
        for x in range(count):
            w = weight[start + x]
            out[k, x] = (np.float32(1.0) - w) * logits[y, low[start + x], k] + w * logits[y, high[start + x], k]


@njit(**_STRICT)
def _win(upper, lower, w, count, top, best):
    """Between two resized rows (K, tile), ``w`` of the way down: the largest logit ``top`` and its class ``best``."""
    v = np.float32(1.0) - w
    for x in range(count):
        top[x] = v * upper[0, x] + w * lower[0, x]
        best[x] = np.int32(0)
    for k in range(1, upper.shape[0]):
        this = np.int32(k)
        for x in range(count):
            logit = v * upper[k, x] + w * lower[k, x]
            so_far = top[x]
            best[x] = this if logit > so_far else best[x]
            top[x] = logit if logit > so_far else so_far


@njit(**_STRICT)
def _softmax_of(top, upper, lower, w, count, confidence):
    """1 / sum_k exp(logit_k - top), between the same rows."""
    v = np.float32(1.0) - w
    confidence[:count] = 0.0
    for k in range(upper.shape[0]):
        for x in range(count):
            confidence[x] += _exp_of_negative(v * upper[k, x] + w * lower[k, x] - top[x])
    for x in range(count):
        confidence[x] = np.float32(1.0) / confidence[x]


@njit(**_STRICT)
def _between(clear, above, below, low, high, start, count, fixed, spans):
    """Columns of a tile between two rows of logits: ``fixed`` labels where all four corners agree on a class.

    Returns:
        How many of ``spans`` (n, 2) are filled: first column and end of each run of the others.
    """
    found, inside = 0, False
    for x in range(count):
        left, right = low[start + x], high[start + x]
        winner = clear[above, left]
        agreed = winner == clear[above, right] and winner == clear[below, left] and winner == clear[below, right]
        if agreed and winner >= 0:
            fixed[x] = winner
            inside = False
        else:
            if not inside:
                spans[found, 0] = x
                found += 1
            spans[found - 1, 1] = x + 1
            inside = True
    return found


@njit(**KERNEL)
def _label_rows(logits, clear, row_low, row_high, row_weight, low, high, weight, labels, confidence, first, last):
    """Fill rows first..last of labels and confidence (unless it is empty), tile by tile.

    Each row of logits is resized once per tile, and only where somebody needs it.
    """
    K, width = logits.shape[2], labels.shape[1]
    upper, lower = np.empty((K, _TILE), np.float32), np.empty((K, _TILE), np.float32)
    top, best = np.empty(_TILE, np.float32), np.empty(_TILE, np.int32)
    fixed, spans = np.zeros(_TILE, labels.dtype), np.empty((_TILE, 2), np.int64)
    for start in range(0, width, _TILE):
        count = min(_TILE, width - start)
        in_upper, in_lower, between_upper, between_lower = -1, -1, -1, -1
        spans[0, 0], spans[0, 1], found = 0, count, 1
        for y in range(first, last):
            above, below = np.int64(row_low[y]), np.int64(row_high[y])
            if clear.size > 0:
                if between_upper != above or between_lower != below:
                    found = _between(clear, above, below, low, high, start, count, fixed, spans)
                    between_upper, between_lower = above, below
                labels[y, start : start + count] = fixed[:count]
                if found == 0:
                    continue
            if in_upper != above and in_lower == above:
                upper, lower = lower, upper
                in_upper, in_lower = in_lower, in_upper
            if in_upper != above:
                _resize_row(logits, above, low, high, weight, start, count, upper)
                in_upper = above
            if in_lower != below:
                _resize_row(logits, below, low, high, weight, start, count, lower)
                in_lower = below
            for n in range(found):
                begin, end = spans[n, 0], spans[n, 1]
                _win(upper[:, begin:end], lower[:, begin:end], row_weight[y], end - begin, top, best)
                for x in range(begin, end):
                    labels[y, start + x] = best[x - begin]
            if confidence.size > 0:  # then there is one span, the whole tile
                _softmax_of(top, upper, lower, row_weight[y], count, confidence[y, start:])
