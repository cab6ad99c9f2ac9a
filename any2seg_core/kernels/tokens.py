"""Steps of a transformer on tokens (N, C) float32 in C order, between its matrix products."""

from __future__ import annotations

from functools import partial

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.gelu import gelu
from any2seg_core.kernels.labels import exp_of_negative
from any2seg_core.kernels.running import KERNEL, in_parts

_LEAST_VALUES = 1 << 16
_SIGN_BIT, _POSITIVE = np.int32(31), np.int32(0x7FFFFFFF)


def layer_norm(
    tokens: np.ndarray, offset: np.ndarray, gain: np.ndarray, shift: np.ndarray, eps: float, out: np.ndarray
) -> None:
    """out = gain * (x - mean) / sqrt(variance + eps) + shift over the channels of x = tokens + offset.

    Args:
        tokens, out: (N, C); may be the same. offset, gain, shift: (C,).
    """
    work = partial(_layer_norm, tokens, offset, gain, shift, np.float32(eps), out)
    in_parts(work, len(tokens), _LEAST_VALUES // tokens.shape[1])


def softmax(scores: np.ndarray, offset: np.ndarray) -> None:
    """In place, the softmax of scores + offset over the last axis; NaN all along a row with a score that is not finite.

    Args:
        scores: (heads, N, keys). offset: (heads, keys).
    """
    in_parts(partial(_softmax, scores, offset), scores.shape[1], _LEAST_VALUES // (len(scores) * scores.shape[2]))


def depthwise_gelu(
    ring: np.ndarray, weight: np.ndarray, bias: np.ndarray, first_row: int, height: int, out: np.ndarray
) -> None:
    """GELU of a depthwise 3x3 convolution with zeros around the map, for some rows of it.

    Args:
        ring: (R, W, C): row y of the map is at y modulo R; those needed are there.
        weight: (9, C), of the places from the upper left to the lower right.
        bias: (4, 4, C), chosen by which neighbours there are: +1 without the row above (column left), +2 without the
            row below (column right).
        first_row: row of the map that out begins with. height: rows of the map.
        out: (rows, W, C).
    """
    work = partial(_depthwise_gelu, ring, weight, bias, first_row, height, out)
    in_parts(work, len(out), _LEAST_VALUES // out[0].size)


def patches(feature: np.ndarray, kernel: int, stride: int, padding: int, first_row: int, out: np.ndarray) -> None:
    """What a convolution reads at each of its places, zeros around the map.

    Args:
        feature: (H, W, C). first_row: of the places that out begins with.
        out: (rows, W', kernel * kernel * C), in the order row, column, channel.
    """
    rows = feature.reshape(len(feature), -1)  # (H, W * C)
    work = partial(_patches, rows, feature.shape[2], kernel, stride, padding, first_row, out)
    in_parts(work, len(out), _LEAST_VALUES // out[0].size)


@compiled(**KERNEL)
def _layer_norm(tokens, offset, gain, shift, eps, out, first, last):
    C = tokens.shape[1]
    line = np.empty(C, np.float32)
    share = np.float32(1.0 / C)
    for n in range(first, last):
        total = np.float32(0.0)
        for c in range(C):
            value = tokens[n, c] + offset[c]
            line[c] = value
            total += value
        mean = total * share
        squares = np.float32(0.0)
        for c in range(C):
            value = line[c] - mean
            line[c] = value
            squares += value * value
        scale = np.float32(1.0) / np.sqrt(squares * share + eps)
        for c in range(C):
            out[n, c] = line[c] * scale * gain[c] + shift[c]


@compiled(**KERNEL)
def _in_order(bits):
    """Bits of a float32 as an int32 that is the larger, the larger the number; and back."""
    return np.int32(bits ^ (np.int32(bits >> _SIGN_BIT) & _POSITIVE))


@compiled(**KERNEL)
def _largest_plus(row, offset):
    """row += offset in place; returns its largest value, or NaN.

    Numbers are compared by their bits, as integers in the same order: that has vector instructions.
    """
    top = np.int32(-_POSITIVE)
    for k in range(row.size):
        value = np.float32(row[k] + offset[k])
        row[k] = value
        place = _in_order(np.float32(value).view(np.int32))
        top = place if place > top else top
    return np.int32(_in_order(top)).view(np.float32)


@compiled(**KERNEL)
def _softmax(scores, offset, first, last):
    for head in range(scores.shape[0]):
        for n in range(first, last):
            row = scores[head, n]
            top = _largest_plus(row, offset[head])
            total = np.float32(0.0)
            for k in range(row.size):
                value = exp_of_negative(row[k] - top)
                row[k] = value
                total += value
            share = np.float32(1.0) / total
            for k in range(row.size):
                row[k] *= share


@compiled(**KERNEL)
def _at_edge(above, beside, below, x, weight, bias, nothing, out):
    """One place of a row; columns that are not there hold nothing."""
    last = above.shape[0] - 1
    a, b, c = above[x - 1] if x > 0 else nothing, above[x], above[x + 1] if x < last else nothing
    d, e, f = beside[x - 1] if x > 0 else nothing, beside[x], beside[x + 1] if x < last else nothing
    g, h, i = below[x - 1] if x > 0 else nothing, below[x], below[x + 1] if x < last else nothing
    w = weight
    for k in range(out.size):
        total = bias[k] + w[0, k] * a[k] + w[1, k] * b[k] + w[2, k] * c[k]
        total += w[3, k] * d[k] + w[4, k] * e[k] + w[5, k] * f[k]
        out[k] = gelu(total + w[6, k] * g[k] + w[7, k] * h[k] + w[8, k] * i[k])


@compiled(**KERNEL)
def _four_inside(above, beside, below, weight, bias, out):
    """Four places between six columns: rows (6, C) -> out (4, C). What is loaded serves three of them."""
    w, a, b, c = weight, above, beside, below
    for k in range(out.shape[1]):
        u, v, t = w[0, k], w[1, k], w[2, k]
        first = bias[k] + u * a[0, k] + v * a[1, k] + t * a[2, k]
        second = bias[k] + u * a[1, k] + v * a[2, k] + t * a[3, k]
        third = bias[k] + u * a[2, k] + v * a[3, k] + t * a[4, k]
        fourth = bias[k] + u * a[3, k] + v * a[4, k] + t * a[5, k]
        u, v, t = w[3, k], w[4, k], w[5, k]
        first += u * b[0, k] + v * b[1, k] + t * b[2, k]
        second += u * b[1, k] + v * b[2, k] + t * b[3, k]
        third += u * b[2, k] + v * b[3, k] + t * b[4, k]
        fourth += u * b[3, k] + v * b[4, k] + t * b[5, k]
        u, v, t = w[6, k], w[7, k], w[8, k]
        first += u * c[0, k] + v * c[1, k] + t * c[2, k]
        second += u * c[1, k] + v * c[2, k] + t * c[3, k]
        third += u * c[2, k] + v * c[3, k] + t * c[4, k]
        fourth += u * c[3, k] + v * c[4, k] + t * c[5, k]
        out[0, k], out[1, k], out[2, k], out[3, k] = gelu(first), gelu(second), gelu(third), gelu(fourth)


@compiled(**KERNEL)
def _depthwise_gelu(ring, weight, bias, first_row, height, out, first, last):
    R, W, C = ring.shape
    nothing = np.zeros((W, C), np.float32)
    for row in range(first, last):
        y = first_row + row
        above = ring[(y - 1) % R] if y > 0 else nothing
        beside = ring[y % R]
        below = ring[(y + 1) % R] if y < height - 1 else nothing
        biases = bias[(y == 0) + 2 * (y == height - 1)]
        x = 0
        while x < W:
            if x > 0 and x + 4 < W:
                reach = slice(x - 1, x + 5)
                _four_inside(above[reach], beside[reach], below[reach], weight, biases[0], out[row, x : x + 4])
                x += 4
            else:
                edge = (x == 0) + 2 * (x == W - 1)
                _at_edge(above, beside, below, x, weight, biases[edge], nothing[0], out[row, x])
                x += 1


@compiled(**KERNEL)
def _patches(rows, channels, kernel, stride, padding, first_row, out, first, last):
    H, length = rows.shape
    run = kernel * channels
    for y in range(first, last):
        for x in range(out.shape[1]):
            start = (x * stride - padding) * channels  # in a row of the map
            left, right = max(0, -start), min(run, length - start)
            for k in range(kernel):
                row = (first_row + y) * stride - padding + k
                line = out[y, x, k * run : (k + 1) * run]
                if left > 0 or right < run or not 0 <= row < H:
                    line[:] = np.float32(0.0)
                if 0 <= row < H:
                    _copy(rows[row, start + left : start + right], line[left:right])


@compiled(**KERNEL)
def _copy(source, out):
    for i in range(out.size):
        out[i] = source[i]
