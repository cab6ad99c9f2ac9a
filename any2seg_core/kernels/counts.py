"""Counting pixels: pairs of ids, and confidence by bin, each in one pass without temporary arrays."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.running import KERNEL
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED

CONFIDENCE_UNIT = 2.0**-24
"""Spacing of float32 just below 1: confidences are summed as multiples of it, integers that any order sums alike."""

_ABOVE_ONE = 1e-6  # softmax in float32 may end one rounding step above 1


def count_pairs(prediction: np.ndarray, truth: np.ndarray, num_classes: int) -> tuple[np.ndarray, int | None]:
    """Count (truth, prediction) over integer arrays of one shape; truth 254 and 255 are left out.

    Returns:
        (K, K + 1) int64, the last column for prediction 255; and the largest id that is no class, or None.
    """
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    strange, worst = _count_pairs(*_flat(prediction, truth), counts)
    return counts, int(worst) if strange else None


def count_confidence(
    confidence: np.ndarray, prediction: np.ndarray, truth: np.ndarray, bins: int
) -> tuple[np.ndarray, float | None]:
    """Count pixels by confidence; arrays of one shape. Truth 254 and 255 and prediction 255 are left out.

    Returns:
        (3, bins) int64: pixels, right pixels, sum of confidence in units of CONFIDENCE_UNIT; and a confidence that is
        not in 0..1, if there is one, or None.
    """
    sums = np.zeros((3, bins), np.int64)
    values = np.ascontiguousarray(confidence.reshape(-1), np.float64 if confidence.dtype == np.float64 else np.float32)
    strange, value = _count_confidence(values, *_flat(prediction, truth), sums)
    return sums, float(value) if strange else None


def _flat(*ids: np.ndarray) -> list[np.ndarray]:
    """(N,) each in C order: uint8 where all are, else int64, so that the kernels are compiled for two types only."""
    dtype = np.uint8 if all(array.dtype == np.uint8 for array in ids) else np.int64
    return [np.ascontiguousarray(array.reshape(-1), dtype) for array in ids]


@compiled(**KERNEL)
def _count_pairs(prediction, truth, counts):
    K = np.int64(counts.shape[0])
    strange, worst = False, np.int64(0)
    for n in range(truth.shape[0]):
        row, column = np.int64(truth[n]), np.int64(prediction[n])
        if row >= NOT_ANNOTATED:
            continue
        if column == IGNORE:
            column = K
        elif not 0 <= column < K:
            strange, worst = True, max(worst, column) if strange else column
            continue
        if not 0 <= row < K:
            strange, worst = True, max(worst, row) if strange else row
            continue
        counts[row, column] += 1
    return strange, worst


@compiled(**KERNEL)
def _count_confidence(confidence, prediction, truth, sums):
    bins = sums.shape[1]
    for n in range(truth.shape[0]):
        if np.int64(truth[n]) >= NOT_ANNOTATED or prediction[n] == IGNORE:
            continue
        value = np.float64(confidence[n])
        if not 0.0 <= value <= 1.0 + _ABOVE_ONE:  # also true for NaN
            return True, value
        place = min(np.int64(value * bins), bins - 1)
        sums[0, place] += 1
        sums[1, place] += np.int64(prediction[n] == truth[n])
        sums[2, place] += np.int64(np.rint(value / CONFIDENCE_UNIT))
    return False, 0.0
