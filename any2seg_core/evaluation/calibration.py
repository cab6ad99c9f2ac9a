"""Calibration: does a confidence of 0.8 mean right in 80 of 100 pixels? (Guo et al., ICML 2017)"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.metrics import as_array
from any2seg_core.kernels.counts import CONFIDENCE_UNIT, count_confidence

if TYPE_CHECKING:
    from torch import Tensor

BINS = 15
"""Number of equal bins of confidence, as in the paper."""


class CalibrationHistogram:
    """Pixels by confidence; integers throughout, so batches, ranks and bags merge without any rounding.

    Attributes:
        sums: (3, bins) int64 per bin of equal width: pixels, right pixels, sum of confidence in units of 2^-24.
            Bin i holds i / bins <= confidence < (i + 1) / bins; the last one includes 1.
    """

    def __init__(self, bins: int = BINS):
        if bins < 1:
            raise UserError(f"calibration with {bins} bins: at least 1", "value-range")
        self.sums = np.zeros((3, bins), np.int64)

    def update(
        self, confidence: np.ndarray | Tensor, prediction: np.ndarray | Tensor, truth: np.ndarray | Tensor
    ) -> None:
        """Count pixels of arrays of one shape.

        Pixels without truth (254, 255) do not count, nor do pixels predicted as 255: they state no confidence (the
        confusion matrix counts them as misses).

        Args:
            confidence: float, 0..1, softmax of the predicted class.
            prediction, truth: integer train ids.
        """
        confidence, prediction, truth = as_array(confidence), as_array(prediction), as_array(truth)
        if not confidence.shape == prediction.shape == truth.shape:
            raise UserError(
                f"confidence {confidence.shape}, prediction {prediction.shape} and truth {truth.shape} differ: "
                "resize them to one size",
                "size-mismatch",
            )
        sums, strange = count_confidence(confidence, prediction, truth, self.sums.shape[1])
        if strange is not None:
            raise UserError(f"confidence of {strange:g}: expected 0..1", "value-range")
        self.sums += sums

    def merge(self, other: CalibrationHistogram) -> None:
        """Add the counts of another histogram with as many bins."""
        if other.sums.shape != self.sums.shape:
            raise UserError(f"cannot merge {other.sums.shape[1]} bins into {self.sums.shape[1]}", "value-conflict")
        self.sums += other.sums

    def accuracy(self) -> np.ndarray:
        """(bins,) float64, share of right pixels per bin, 0..1; NaN for an empty bin."""
        return self._per_pixel(self.sums[1])

    def confidence(self) -> np.ndarray:
        """(bins,) float64, mean confidence per bin, 0..1; NaN for an empty bin."""
        return self._per_pixel(self.sums[2] * CONFIDENCE_UNIT)

    def ece(self) -> float:
        """Expected calibration error, 0..1: sum over bins of share * |accuracy - confidence|; NaN without any pixel."""
        pixels = self.sums[0]
        if not pixels.any():
            return float("nan")
        return float(np.abs(self.sums[1] - self.sums[2] * CONFIDENCE_UNIT).sum() / pixels.sum())

    def overconfidence(self) -> float:
        """Mean confidence minus share of right pixels, -1..1; above 0 it promises too much. NaN without pixels."""
        pixels, right, units = self.sums.sum(axis=1)
        return float((units * CONFIDENCE_UNIT - right) / pixels) if pixels else float("nan")

    def _per_pixel(self, sums: np.ndarray) -> np.ndarray:
        pixels = self.sums[0]
        return np.divide(sums, pixels, out=np.full(pixels.shape, np.nan), where=pixels > 0)
