"""One loss over all predictions of a model: the ensemble and the branches of Linear Fusion (M3L, WACV 2024)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from any2seg_core.models import Prediction


def branch_loss(pixel_loss: Callable[[Tensor, Tensor], Tensor], prediction: Prediction, labels: Tensor) -> Tensor:
    """Mean of a loss over the ensemble and every branch that exists: L_s (Eq. 7) with truth, L_u (Eq. 9) otherwise.

    Every existing prediction of every sample counts alike. Where all branches exist in all samples that is the plain
    mean of 1 + M losses; a branch that exists in two of eight samples counts a quarter of one that exists in all.

    Args:
        pixel_loss: (logits (B, K, H, W), labels (B, H, W)) -> scalar mean over labelled pixels.
        prediction: of any model. Without branches the result is ``pixel_loss(prediction.logits, labels)``.
        labels: (B, H, W) int64, as ``pixel_loss`` takes them.

    Returns:
        Scalar with a graph.
    """
    loss = pixel_loss(prediction.logits, labels)
    if prediction.branches is None:
        return loss
    batch = len(labels)
    counts = prediction.exists.sum(dim=0).tolist()  # M, how many samples have each branch
    total = loss * batch
    for branch, exists, count in zip(prediction.branches.unbind(1), prediction.exists.unbind(1), counts, strict=True):
        if count == batch:
            total = total + pixel_loss(branch, labels) * count
        elif count:
            total = total + pixel_loss(branch[exists], labels[exists]) * count
    return total / (batch + sum(counts))
