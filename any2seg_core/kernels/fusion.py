"""MFF of one level: inner products of the modalities at each location, once, are all that its weights depend on.

Weights of any subset then follow from a few numbers per location, and the features are read once more, to be added up.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.labels import exp_of_negative
from any2seg_core.kernels.running import KERNEL, in_parts

_EPS = np.float32(1e-8)
_PLACES = 256  # locations at a time: what is known of them stays in the first-level cache
_LEAST_VALUES = 1 << 16


class Products(NamedTuple):
    """Inner products <f_a, f_b> of the modalities; 0 where one is absent.

    An entry depends on its two modalities alone, bit by bit: MFF of every subset needs nothing else for its weights.

    Attributes:
        local: (B, M, M, N) float32, at each location over the channels. whole: (B, M, M) float64, over locations too.
    """

    local: np.ndarray
    whole: np.ndarray


def inner_products(tokens: np.ndarray, present: np.ndarray) -> Products:
    """Of tokens (B, M, N, C) float32 in C order, present (B, M) bool."""
    B, M, N, C = tokens.shape
    local = np.zeros((B, M, M, N), np.float32)
    in_parts(partial(_inner_products, tokens, present, local), N, _LEAST_VALUES // (B * C))
    return Products(local, local.sum(axis=3, dtype=np.float64))


def global_weights(products: np.ndarray, present: np.ndarray, unit_scale: bool) -> np.ndarray:
    """(B, M, M) products and (B, M) bool -> (B, M) float32: w_m = cos(f_a, f_m) divided by the number of the present.

    f_a is the mean of the present features. With ``unit_scale`` a softmax of the cosines instead; 0 where absent.
    """
    weights = np.zeros(present.shape, np.float32)
    _global_weights(products, present, unit_scale, weights)
    return weights


def cosines_where(tokens: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Cosine of each modality and the mean of those that take part, over the locations where it takes part itself.

    tokens (B, M, N, C) float32 in C order, there (B, M, N) bool -> (B, M) float32; 0 of one that does so nowhere.
    """
    cosines = np.zeros(there.shape[:2], np.float32)
    _cosines_where(tokens, there, cosines)
    return cosines


def weigh_and_select(
    tokens: np.ndarray,
    there: np.ndarray,
    weights: np.ndarray,
    products: np.ndarray,
    balanced: float,
    selected: float,
    temperature: float = 0.0,
) -> np.ndarray:
    """balanced * f_mb + selected * f_ms at each location.

    f_mb is the sum of weight_m * f_m; f_ms is the present f_m whose cosine with f_mb over the channels is largest, or
    with a temperature their mean, weighted by a softmax of the cosines divided by it.

    Args:
        tokens: (B, M, N, C) float32, C order.
        there: (B, M, N) bool, which take part, at least one at each location; (B, M): the same ones everywhere.
        weights: float32 of the same shape, 0 where one does not take part.
        products: (B, M, M, N), see `Products.local`.
        balanced, selected: factors of the two. temperature: of the selection, 0 for a choice of one.

    Returns:
        (B, N, C) float32.
    """
    B, _, N, C = tokens.shape
    if there.ndim == 2:
        there, weights = there[..., None], weights[..., None]
    fused = np.empty((B, N, C), np.float32)
    factors = np.float32(balanced), np.float32(selected), np.float32(temperature)
    work = partial(_weigh_and_select, tokens, there, weights, products, *factors, fused)
    in_parts(work, N, _LEAST_VALUES // (B * C))
    return fused


@compiled(**KERNEL)
def _dots(left, right, out):
    """(N, C) each without gaps -> (N,): loops over those become vector instructions, those over parts do not."""
    for n in range(left.shape[0]):
        total = np.float32(0.0)
        for c in range(left.shape[1]):
            total += left[n, c] * right[n, c]
        out[n] = total


@compiled(**KERNEL)
def _inner_products(tokens, present, products, first, last):
    for b in range(tokens.shape[0]):
        there = np.nonzero(present[b])[0]
        for i in there:
            for j in there:
                if j <= i:
                    _dots(tokens[b, i, first:last], tokens[b, j, first:last], products[b, i, j, first:last])
                    products[b, j, i, first:last] = products[b, i, j, first:last]


@compiled(**KERNEL)
def _global_weights(products, present, unit_scale, weights):
    B, M = present.shape
    cosine = np.empty(M)
    for b in range(B):
        count, squared = 0, 0.0  # |f_a|^2 = sum_ij <f_i, f_j> / count^2
        for i in range(M):
            if present[b, i]:
                count += 1
                for j in range(M):
                    if present[b, j]:
                        squared += products[b, i, j]
        anchor_norm = max(np.sqrt(max(squared, 0.0)) / count, _EPS)
        largest = -np.inf
        for i in range(M):
            if present[b, i]:
                along = 0.0
                for j in range(M):
                    if present[b, j]:
                        along += products[b, i, j]
                cosine[i] = along / count / (max(np.sqrt(products[b, i, i]), _EPS) * anchor_norm)
                largest = max(largest, cosine[i])
        total = 0.0
        for i in range(M):
            if present[b, i]:
                cosine[i] = np.exp(cosine[i] - largest) if unit_scale else cosine[i]
                total += cosine[i] if unit_scale else 1.0
        for i in range(M):
            if present[b, i]:
                weights[b, i] = cosine[i] / total


@compiled(**KERNEL)
def _numbers_at(there, b, n, numbers):
    """Numbers of the modalities that take part at a location; how many."""
    count = 0
    for m in range(there.shape[1]):
        if there[b, m, n]:
            numbers[count] = m
            count += 1
    return count


@compiled(**KERNEL)
def _cosines_where(tokens, there, cosines):
    B, M, N, C = tokens.shape
    anchor, numbers, sums = np.empty(C, np.float32), np.empty(M, np.int64), np.empty((M, 3))
    for b in range(B):
        sums[:] = 0.0  # per modality <f_m, f_a>, |f_m|^2, |f_a|^2
        for n in range(N):
            count = _numbers_at(there, b, n, numbers)
            anchor[:] = 0.0
            for m in numbers[:count]:
                for c in range(C):
                    anchor[c] += tokens[b, m, n, c]
            length = np.float32(0.0)
            for c in range(C):
                anchor[c] /= count
                length += anchor[c] * anchor[c]
            for m in numbers[:count]:
                dot, squared = np.float32(0.0), np.float32(0.0)
                for c in range(C):
                    dot += tokens[b, m, n, c] * anchor[c]
                    squared += tokens[b, m, n, c] * tokens[b, m, n, c]
                sums[m, 0] += dot
                sums[m, 1] += squared
                sums[m, 2] += length
        for m in range(M):
            cosines[b, m] = sums[m, 0] / max(np.sqrt(sums[m, 1] * sums[m, 2]), _EPS)


# A similarity is the cosine with f_mb times the norm of f_mb, which is the same for all modalities of a location.


@compiled(**KERNEL)
def _similarities(products, used, weight, first, count, similarity, squared):
    """(M, M, N) products, (M, count) weights -> similarity (M, count) of the locations from ``first`` on, |f_mb|^2."""
    squared[:count] = np.float32(0.0)
    for m in used:
        for n in range(count):
            similarity[m, n] = np.float32(0.0)
        for i in used:
            for n in range(count):
                similarity[m, n] += weight[i, n] * products[m, i, first + n]
        for n in range(count):
            squared[n] += weight[m, n] * similarity[m, n]
            similarity[m, n] /= max(np.sqrt(products[m, m, first + n]), _EPS)


@compiled(**KERNEL)
def _choose(similarity, used, count, highest):
    """Weights of the modalities: 1 for the most similar, the first of equals."""
    winner = np.full(count, used[0], np.int32)
    highest[:count] = -np.inf
    for m in used:
        row = similarity[m]
        for n in range(count):
            is_larger = row[n] > highest[n]
            highest[n] = row[n] if is_larger else highest[n]
            winner[n] = np.int32(m) if is_larger else winner[n]
    for m in used:
        row = similarity[m]
        for n in range(count):
            row[n] = np.float32(1.0) if winner[n] == m else np.float32(0.0)


@compiled(**KERNEL)
def _soften(similarity, used, count, squared, temperature, highest):
    """Weights of the modalities: a softmax of the cosines, which are similarities by |f_mb|, by the temperature."""
    highest[:count] = -np.inf
    for m in used:
        row = similarity[m]
        for n in range(count):
            highest[n] = row[n] if row[n] > highest[n] else highest[n]
    total = np.zeros(count, np.float32)
    for n in range(count):  # from here on what similarities are divided by
        squared[n] = temperature * max(np.sqrt(max(squared[n], np.float32(0.0))), _EPS)
    for m in used:
        row = similarity[m]
        for n in range(count):
            power = (row[n] - highest[n]) / squared[n]
            row[n] = np.float32(0.0) if power == -np.inf else exp_of_negative(power)
            total[n] += row[n]
    for m in used:
        row = similarity[m]
        for n in range(count):
            row[n] /= total[n]


@compiled(**KERNEL)
def _scale(values, factor, out):
    for k in range(values.size):
        out[k] = factor * values[k]


@compiled(**KERNEL)
def _mix(left, right, of_left, of_right, out):
    """(N, C) each, of which each location has a factor of its own, (N,)."""
    for n in range(out.shape[0]):
        u, v = of_left[n], of_right[n]
        for c in range(out.shape[1]):
            out[n, c] = u * left[n, c] + v * right[n, c]


@compiled(**KERNEL)
def _add(values, factors, out):
    """The same of one more."""
    for n in range(out.shape[0]):
        factor = factors[n]
        for c in range(out.shape[1]):
            out[n, c] += factor * values[n, c]


@compiled(**KERNEL)
def _weigh_and_select(tokens, there, weights, products, balanced, selected, temperature, fused, first, last):
    B, M, places = there.shape
    weight, share = np.empty((M, _PLACES), np.float32), np.empty((M, _PLACES), np.float32)
    squared, highest = np.empty(_PLACES, np.float32), np.empty(_PLACES, np.float32)
    for b in range(B):
        used = np.nonzero(np.array([there[b, m].any() for m in range(M)]))[0]
        if used.size == 1:  # f_ms is f_m, and f_mb a multiple of it; at each location one takes part
            only = used[0]
            if places == 1:
                factor = balanced * weights[b, only, 0] + selected
                _scale(tokens[b, only, first:last].ravel(), factor, fused[b, first:last].ravel())
                continue
        for start in range(first, last, _PLACES):
            count = min(_PLACES, last - start)
            for m in used:
                for n in range(count):
                    weight[m, n] = weights[b, m, start + n if places > 1 else 0]
            _similarities(products[b], used, weight, start, count, share, squared)
            if places > 1:
                for m in used:
                    for n in range(count):
                        share[m, n] = share[m, n] if there[b, m, start + n] else np.float32(-np.inf)
            if temperature > 0.0:
                _soften(share, used, count, squared, temperature, highest)
            else:
                _choose(share, used, count, highest)
            for m in used:
                for n in range(count):
                    share[m, n] = balanced * weight[m, n] + selected * share[m, n]
            part = slice(start, start + count)
            out, i, j = fused[b, part], used[0], used[min(1, used.size - 1)]
            if used.size == 1:
                out[:] = np.float32(0.0)
                _add(tokens[b, i, part], share[i], out)
            else:
                _mix(tokens[b, i, part], tokens[b, j, part], share[i], share[j], out)
            for m in used[2:]:
                _add(tokens[b, m, part], share[m], out)
