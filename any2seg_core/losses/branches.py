"""One loss over all predictions of a model: the ensemble and the branches of Linear Fusion (M3L, WACV 2024)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from any2seg_core.losses.whole_batch import Total, alone, whole_mean
from any2seg_core.models import Prediction


class PixelLoss(Protocol):
    """A mean over labelled pixels that knows what it divides by."""

    def __call__(self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """logits (B, K, H, W), labels (B, H, W) int64, sample_weight (B,) float or None: 1 for all -> scalar."""

    def pixel_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """(B, H, W) float32: what each pixel counts, 0 where unlabelled or ignored."""

    def batch_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """What these labels count for beside those of another mean, scalar."""


def branch_loss(pixel_loss: PixelLoss, prediction: Prediction, labels: Tensor, total: Total = alone) -> Tensor:
    """Mean of a loss over the ensemble and every branch that exists: L_s (Eq. 7) with truth, L_u (Eq. 9) otherwise.

    Every labelled pixel of every existing prediction counts alike (under OHEM every sample of every prediction). Where
    all branches exist in all samples that is the plain mean of 1 + M losses.

    Args:
        pixel_loss: what is averaged.
        prediction: of any model. Without branches the result is that of its logits.
        labels: (B, H, W) int64, as ``pixel_loss`` takes them.
        total: sum over the processes that share a batch; the mean is over all of it.

    Returns:
        Scalar with a graph.
    """
    loss = pixel_loss(prediction.logits, labels)
    if prediction.branches is None and total is alone:
        return loss
    weight = pixel_loss.batch_weight(labels)
    sums, weights = loss * weight, weight
    if prediction.branches is not None and prediction.exists is not None:
        counts = prediction.exists.sum(dim=0).tolist()  # M, how many samples have each branch
        there = prediction.exists.unbind(1)
        for branch, exists, count in zip(prediction.branches.unbind(1), there, counts, strict=True):
            if count:
                rows = slice(None) if count == len(labels) else exists
                weight = pixel_loss.batch_weight(labels[rows])
                sums, weights = sums + pixel_loss(branch[rows], labels[rows]) * weight, weights + weight
    return whole_mean(sums, weights, total)
