"""MFF of one level in two passes over the features: which weight each modality has, then fuse location by location."""

from __future__ import annotations

from functools import partial

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.running import KERNEL, in_parts

_EPS = np.float32(1e-8)
_CHUNK = 2048  # values of each modality that are summed in float32; chunks of all modalities stay in the cache
_LEAST_VALUES = 1 << 16


def inner_products(tokens: np.ndarray, present: np.ndarray) -> np.ndarray:
    """tokens (B, M, N, C) float32 in C order, present (B, M) bool -> (B, M, M) float64 <f_a, f_b> over N and C.

    Those of an absent modality are 0. An entry depends on its two modalities alone, bit by bit: MFF of every subset
    needs nothing else for its global weights.
    """
    products = np.zeros((*present.shape, present.shape[1]))
    _inner_products(tokens.reshape(*present.shape, -1), present, products)  # (B, M, N * C)
    return products


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
    balanced: float,
    selected: float,
    temperature: float = 0.0,
) -> np.ndarray:
    """balanced * f_mb + selected * f_ms at each location.

    f_mb is the sum of weight_m * f_m over those that take part; f_ms is the one of them whose cosine with f_mb over the
    channels is largest, or with a temperature their mean, weighted by a softmax of the cosines divided by it.

    Args:
        tokens: (B, M, N, C) float32, C order.
        there: (B, M, N) bool, which take part, at least one at each location; (B, M): the same ones everywhere.
        weights: float32 of the same shape.
        balanced, selected: factors of the two. temperature: of the selection, 0 for a choice of one.

    Returns:
        (B, N, C) float32.
    """
    B, _, N, C = tokens.shape
    if there.ndim == 2:
        there, weights = there[..., None], weights[..., None]
    fused = np.empty((B, N, C), np.float32)
    factors = np.float32(balanced), np.float32(selected), np.float32(temperature)
    work = partial(_weigh_and_select, tokens, there, weights, *factors, fused)
    in_parts(work, N, _LEAST_VALUES // (B * C))
    return fused


@compiled(**KERNEL)
def _dot(left, right):
    """Of two arrays without gaps: a loop over them becomes vector instructions, one over a larger array does not."""
    total = np.float32(0.0)
    for k in range(left.size):
        total += left[k] * right[k]
    return total


@compiled(**KERNEL)
def _inner_products(tokens, present, products):
    B, M, length = tokens.shape
    for b in range(B):
        for start in range(0, length, _CHUNK):
            stop = min(start + _CHUNK, length)
            for i in range(M):
                for j in range(i + 1):
                    if present[b, i] and present[b, j]:
                        products[b, i, j] += _dot(tokens[b, i, start:stop], tokens[b, j, start:stop])
        for i in range(M):
            for j in range(i):
                products[b, j, i] = products[b, i, j]


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
def _choose(similarity, there):
    """Weights of the modalities: 1 for the most similar, the first of equals."""
    winner, highest = there[0], np.float32(-np.inf)
    for m in there:
        if similarity[m] > highest:
            highest, winner = similarity[m], m
    similarity[:] = np.float32(0.0)
    similarity[winner] = np.float32(1.0)


@compiled(**KERNEL)
def _soften(similarity, there, temperature):
    """Weights of the modalities: a softmax of the similarities divided by the temperature."""
    highest, total = np.float32(-np.inf), np.float32(0.0)
    for m in there:
        highest = max(highest, similarity[m])
    for m in there:
        similarity[m] = np.exp((similarity[m] - highest) / temperature)
        total += similarity[m]
    for m in there:
        similarity[m] /= total


@compiled(**KERNEL)
def _scale(values, factor, out):
    for k in range(values.size):
        out[k] = factor * values[k]


# A similarity is the cosine with f_mb times the norm of f_mb, which is the same for all modalities of a location.


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


@compiled(**KERNEL)
def _weigh_and_select(tokens, there, weights, balanced, selected, temperature, fused, first, last):
    B, M, _, C = tokens.shape
    mixed, choice = np.empty(C, np.float32), np.zeros(M, np.float32)
    weight, numbers = np.empty(M, np.float32), np.empty(M, np.int64)
    varies = there.shape[2] > 1
    for b in range(B):
        count = 0
        for n in range(first, last):
            if varies or n == first:
                place = n if varies else 0
                count = _numbers_at(there, b, place, numbers)
                for m in numbers[:count]:
                    weight[m] = weights[b, m, place]
            if count == 1:  # f_ms is f_m, and f_mb a multiple of it
                only, stop = numbers[0], n + 1 if varies else last
                factor = balanced * weight[only] + selected
                _scale(tokens[b, only, n:stop].ravel(), factor, fused[b, n:stop].ravel())
                if varies:
                    continue
                break
            at = numbers[:count]
            mixed[:] = 0.0
            for m in at:
                for c in range(C):
                    mixed[c] += weight[m] * tokens[b, m, n, c]
            for m in at:
                dot, squared = np.float32(0.0), np.float32(0.0)
                for c in range(C):
                    value = tokens[b, m, n, c]
                    dot += value * mixed[c]
                    squared += value * value
                choice[m] = dot / max(np.sqrt(squared), _EPS)
            if temperature > 0.0:
                squared = np.float32(0.0)
                for c in range(C):
                    squared += mixed[c] * mixed[c]
                _soften(choice, at, temperature * max(np.sqrt(squared), _EPS))
            else:
                _choose(choice, at)
            for c in range(C):
                fused[b, n, c] = balanced * mixed[c]
            for m in at:
                factor = selected * choice[m]
                if factor != 0.0:
                    for c in range(C):
                        fused[b, n, c] += factor * tokens[b, m, n, c]
