"""Labels and confidence of upsampled logits, without ever writing K maps of the size of the image."""

from __future__ import annotations

from functools import partial

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.bilinear import runs, taps
from any2seg_core.kernels.running import KERNEL, in_parts

_STRICT = KERNEL | {"fastmath": False}  # rounds as NumPy does: what is larger stays larger
_IN_ORDER = KERNEL | {"fastmath": {"contract"}}  # the bits of `plain`
_TILE = 256  # columns: two resized rows of all classes stay in the first-level cache
_PLACES = 1024  # of a cell at a time: what is known of them stays in the first-level cache
_LEAST_ROWS = 64
_MARGIN = np.float32(1e-5)  # of the size of the logits: far above what resizing rounds off
LOG2_E = np.float32(1.4426950408889634)
LOWEST = np.float32(-1e37)  # power of two of a class: differences of such do not overflow
FAINT = np.float32(-90.0)  # power of two: far above what classes are given that are nothing beside the winner
SMALLEST = np.float32(-126.0)  # exponent of the smallest normal float32
_FAINT_SHARE = np.float32(2.0**-90)
ROUNDING = np.float32(1.5 * 2**23 + 127)  # added to a power it leaves the exponent of a float32 in the last bits
MANTISSA_BITS = np.int32(23)
POWERS = tuple(np.float32(c) for c in (1.0, 6.93146930e-1, 2.40222319e-1, 5.55077932e-2, 9.67199918e-3, 1.32546024e-3))
"""2^f for f in -0.5..0.5 to 1.6e-7, exact at 0."""
_C1, _C2, _C3, _C4, _C5 = POWERS[1:]


def upsampled_labels(
    logits: np.ndarray,
    height: int,
    width: int,
    with_confidence: bool = True,
    align_corners: bool = False,
    temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The class with the largest logit at each pixel, and its softmax, after bilinear resizing.

    Args:
        logits: (B, h, w, K) float32, C order, no NaN.
        height, width: H and W.
        with_confidence: False saves most of the time; None in its place.
        align_corners: as of F.interpolate.
        temperature: what logits are divided by before their softmax; labels do not depend on it.

    Returns:
        labels (B, H, W) uint8, uint16 for more than 255 classes, the lowest class among equals; confidence (B, H, W)
        float32, 0..1, to a few units of 1e-7.
    """
    B, h, w, K = logits.shape
    labels = np.empty((B, height, width), np.uint8 if K <= 255 else np.uint16)
    confidence = np.empty((B, height, width), np.float32) if with_confidence else None
    resize = (*taps(h, height, align_corners), *taps(w, width, align_corners))
    spread, scale = _spread(w, width, align_corners), LOG2_E / np.float32(temperature)
    for b in range(B):
        cells = (_winners(logits[b]), runs(w, width, align_corners))
        in_parts(partial(_label_rows, logits[b], *cells, *resize, labels[b]), height, _LEAST_ROWS)
        if confidence is not None:
            in_parts(partial(_confidence_rows, logits[b], *resize, spread, scale, confidence[b]), height, _LEAST_ROWS)
    return labels, confidence


def _spread(source: int, wanted: int, align_corners: bool) -> int:
    """The factor of enlarging, where all columns but the outer ones have the same few weights; else 0."""
    factor = wanted // source
    return factor if not align_corners and factor * source == wanted and factor & (factor - 1) == 0 else 0


@compiled(**_IN_ORDER)
def exp_of_negative(x):
    """exp(x) for float32 x <= 0, to 2e-7 of it, and 2^-126 below -87; in vector instructions, which np.exp is not."""
    return _power_of_two(x * LOG2_E)


@compiled(**_IN_ORDER)
def _power_of_two(power):
    """2^power for float32 up to 0, and 2^-126 below -126."""
    power = SMALLEST if power < SMALLEST else power  # so that NaN stays NaN
    rounded = np.float32(power + ROUNDING)
    f = power - np.float32(rounded - ROUNDING)
    fraction = ((((_C5 * f + _C4) * f + _C3) * f + _C2) * f + _C1) * f + np.float32(1.0)
    return fraction * np.int32(rounded.view(np.int32) << MANTISSA_BITS).view(np.float32)


@compiled(**_STRICT)
def _winners(logits):
    """Logits (h, w, K) -> (h, w) int32, the class with the largest, the lowest among equals."""
    K = logits.shape[2]
    winners = np.empty(logits.shape[:2], np.int32)
    for y in range(logits.shape[0]):
        for x in range(logits.shape[1]):
            pixel = logits[y, x]
            top = pixel[0]
            for k in range(K):
                top = pixel[k] if pixel[k] > top else top
            winner = np.int32(K - 1)  # also where NaN equals nothing: no index beyond the classes
            for k in range(K):  # a second look instead of a branch: vector instructions
                found = np.int32(k) if pixel[k] == top else np.int32(K)
                winner = found if found < winner else winner
            winners[y, x] = winner
    return winners


@compiled(**_STRICT)
def _bar(corner, i, j, k, n):
    """Mean of the logits (K,) of four classes, a little lower than rounding can make it."""
    a, b, c, d = corner[i], corner[j], corner[k], corner[n]
    quarter = np.float32(0.25)  # first: no sum of large logits overflows
    size = quarter * abs(a) + quarter * abs(b) + quarter * abs(c) + quarter * abs(d)
    return quarter * a + quarter * b + quarter * c + quarter * d - _MARGIN * size


@compiled(**_STRICT)
def _rivals(p, q, r, s, bar_p, bar_q, bar_r, bar_s, is_rival, rivals):
    """Classes that may win between four corners (K,), whose four winners have a mean of a bar; returns how many.

    The winner of a place is not below the mean of the four corners' winners there, and that mean is interpolated as the
    logits are: a class below it at all corners is below it everywhere between.
    """
    for k in range(p.size):
        is_rival[k] = (p[k] >= bar_p) | (q[k] >= bar_q) | (r[k] >= bar_r) | (s[k] >= bar_s)
    count = 0
    for k in range(p.size):
        rivals[count] = k
        count += is_rival[k]
    return count


@compiled(**_STRICT)
def _start_with(p, q, r, s, rows, columns, top):
    """Logits of one class at places between four corners."""
    one = np.float32(1.0)
    for i in range(top.size):
        upper = (one - columns[i]) * p + columns[i] * q
        lower = (one - columns[i]) * r + columns[i] * s
        top[i] = (one - rows[i]) * upper + rows[i] * lower


@compiled(**_STRICT)
def _go_on_with(k, p, q, r, s, rows, columns, top, winner):
    """The same of class k: where its logit is larger than ``top``, it is the ``winner`` there."""
    one = np.float32(1.0)
    for i in range(top.size):
        upper = (one - columns[i]) * p + columns[i] * q
        lower = (one - columns[i]) * r + columns[i] * s
        logit = (one - rows[i]) * upper + rows[i] * lower
        is_larger = logit > top[i]
        top[i] = logit if is_larger else top[i]
        winner[i] = k if is_larger else winner[i]


@compiled(**_STRICT)
def _label_rows(logits, winners, begins, row_low, row_high, row_weight, low, high, weight, labels, first, last):
    """Fill rows first..last of labels, cell by cell: places between the same four corners.

    Bilinear weights are not negative: a class that wins at all four corners wins between them. Elsewhere the largest of
    the interpolated logits wins, the lowest class among equals. One class after the other over all places: the compiler
    makes vector instructions of that. A cell has no function of its own: calling it took longer than what it does.
    """
    rivals, is_rival = np.empty(logits.shape[2] + 1, np.int32), np.empty(logits.shape[2], np.int32)
    most = max(_PLACES, labels.shape[1])
    rows, columns, top = np.empty(most, np.float32), np.empty(most, np.float32), np.empty(most, np.float32)
    winner = np.empty(most, np.int32)
    end = first
    while end < last:
        begin, above, below = end, np.int64(row_low[end]), np.int64(row_high[end])
        while end < last and row_low[end] == above and row_high[end] == below:
            end += 1
        for n in range(begins.size - 1):
            start, stop = begins[n], begins[n + 1]
            left, right = np.int64(low[start]), np.int64(high[start])
            best = winners[above, left], winners[above, right], winners[below, left], winners[below, right]
            if best[0] == best[1] and best[0] == best[2] and best[0] == best[3]:
                for y in range(begin, end):
                    for x in range(start, stop):
                        labels[y, x] = best[0]
                continue
            p, q, r, s = logits[above, left], logits[above, right], logits[below, left], logits[below, right]
            bars = _bar(p, *best), _bar(q, *best), _bar(r, *best), _bar(s, *best)
            count = _rivals(p, q, r, s, *bars, is_rival, rivals)
            height = most // (stop - start)
            for upper in range(begin, end, height):
                lower = min(upper + height, end)
                size = 0
                for y in range(upper, lower):
                    for x in range(start, stop):
                        rows[size], columns[size] = row_weight[y], weight[x]
                        size += 1
                k = rivals[0]
                for i in range(size):
                    winner[i] = k
                _start_with(p[k], q[k], r[k], s[k], rows[:size], columns[:size], top[:size])
                for i in range(1, count):
                    k = rivals[i]
                    _go_on_with(k, p[k], q[k], r[k], s[k], rows[:size], columns[:size], top[:size], winner[:size])
                size = 0
                for y in range(upper, lower):
                    for x in range(start, stop):
                        labels[y, x] = winner[size]
                        size += 1


@compiled(**_IN_ORDER)
def _spread_row(logits, y, factor, weight, start, count, lines, out):
    """As `_resize_row`, for `_spread`: columns with the same weight come one after the other, and none is gathered."""
    first, columns, last = start // factor, count // factor, logits.shape[1] - 1
    middle = factor * min(1, last)  # of a source column with neighbours, if there is one
    for k in range(out.shape[0]):
        lines[k, 0], lines[k, columns + 1] = logits[y, max(first - 1, 0), k], logits[y, min(first + columns, last), k]
        for x in range(columns):
            lines[k, x + 1] = logits[y, first + x, k]
    for r in range(factor):
        w, begin = weight[middle + r], r * columns
        left = np.int64(2 * r + 1 >= factor)  # the source column itself, not the one before it
        for k in range(out.shape[0]):
            for x in range(columns):
                value = lines[k, x + left]
                out[k, begin + x] = value + w * (lines[k, x + left + 1] - value)


@compiled(**_IN_ORDER)
def _resize_row(logits, y, low, high, weight, start, count, out):
    """One row of logits (h, w, K), resized to ``count`` columns from ``start`` on: out (K, tile)."""
    for k in range(out.shape[0]):
        for x in range(count):
            left = logits[y, low[start + x], k]
            out[k, x] = left + weight[start + x] * (logits[y, high[start + x], k] - left)


@compiled(**_IN_ORDER)
def _take_from_largest(row, count, scale, top):
    """Logits (K, tile) -> powers of two, of which the largest of each column is 0."""
    top[:count] = -np.inf
    for k in range(row.shape[0]):
        for x in range(count):
            top[x] = row[k, x] if row[k, x] > top[x] else top[x]
    for k in range(row.shape[0]):
        for x in range(count):
            power = (row[k, x] - top[x]) * scale
            row[k, x] = LOWEST if power < LOWEST else power


@compiled(**_IN_ORDER)
def _share_of_largest(upper, step, w, count, best, total):
    """Softmax ``best`` of the class with the largest power ``w`` of a step below row ``upper``; both (K, tile).

    No power is above 0, where the largest of both rows is. Returns whether all classes of a column lie far below that.
    """
    best[:count] = np.float32(0.0)
    total[:count] = np.float32(0.0)
    K = upper.shape[0]
    for k in range(0, K - 1, 2):  # two classes at a time: sums are loaded and stored half as often
        for x in range(count):
            one = _power_of_two(upper[k, x] + w * step[k, x])
            other = _power_of_two(upper[k + 1, x] + w * step[k + 1, x])
            total[x] = total[x] + one + other
            larger = one if one > other else other
            best[x] = max(best[x], larger)
    for k in range(K - K % 2, K):
        for x in range(count):
            one = _power_of_two(upper[k, x] + w * step[k, x])
            total[x] += one
            best[x] = max(best[x], one)
    least = np.float32(1.0)
    for x in range(count):
        least = best[x] if best[x] < least else least
        best[x] /= total[x]
    return least < _FAINT_SHARE


@compiled(**_IN_ORDER)
def _share_of_faint(upper, step, w, count, best):
    """The same of any powers: the largest at each column is looked for first."""
    for x in range(count):
        top, total = np.float32(-np.inf), np.float32(0.0)
        for k in range(upper.shape[0]):
            power = upper[k, x] + w * step[k, x]
            top = power if power > top else top
        if top < FAINT:
            for k in range(upper.shape[0]):
                total += _power_of_two(upper[k, x] + w * step[k, x] - top)
            best[x] = np.float32(1.0) / total


@compiled(**_IN_ORDER)
def _resize(logits, y, low, high, weight, factor, scale, start, count, lines, top, out):
    """Powers of two of one row of logits, resized."""
    if factor > 0:
        _spread_row(logits, y, factor, weight, start, count, lines, out)
    else:
        _resize_row(logits, y, low, high, weight, start, count, out)
    _take_from_largest(out, count, scale, top)


@compiled(**_IN_ORDER)
def _put(best, factor, out):
    """Columns in the order of the picture."""
    columns = out.size // max(factor, 1)
    for r in range(max(factor, 1)):
        for x in range(columns):
            out[max(factor, 1) * x + r] = best[r * columns + x]


@compiled(**_IN_ORDER)
def _confidence_rows(logits, row_low, row_high, row_weight, low, high, weight, factor, scale, confidence, first, last):
    """Fill rows first..last of confidence, tile by tile; each row of logits is resized once per tile."""
    (_, w, K), width = logits.shape, confidence.shape[1]
    tile = max(_TILE // factor, 1) * factor if factor > 0 else _TILE
    upper, lower = np.empty((K, tile), np.float32), np.empty((K, tile), np.float32)
    step, lines = np.empty((K, tile), np.float32), np.empty((K, w + 2), np.float32)
    best, total = np.empty(tile, np.float32), np.empty(tile, np.float32)
    for start in range(0, width, tile):
        count = min(tile, width - start)
        in_upper, in_lower = np.int64(-1), np.int64(-1)
        for y in range(first, last):
            above, below = np.int64(row_low[y]), np.int64(row_high[y])
            if in_upper != above or in_lower != below:
                if in_upper != above and in_lower == above:
                    upper, lower = lower, upper
                    in_upper, in_lower = in_lower, in_upper
                if in_upper != above:
                    _resize(logits, above, low, high, weight, factor, scale, start, count, lines, total, upper)
                if in_lower != below:
                    _resize(logits, below, low, high, weight, factor, scale, start, count, lines, total, lower)
                in_upper, in_lower = above, below
                for k in range(K):
                    for x in range(count):
                        step[k, x] = lower[k, x] - upper[k, x]
            if _share_of_largest(upper, step, row_weight[y], count, best, total):
                _share_of_faint(upper, step, row_weight[y], count, best)
            _put(best, factor, confidence[y, start : start + count])
