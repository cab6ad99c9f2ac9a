"""Supervised segmentation losses: cross entropy and its online hard example mining."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.losses.whole_batch import whole_mean
from any2seg_core.vocabulary.labels import is_labelled


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, K, H, W) any float, (B, H, W) int64 -> (B, H, W) cross entropy, 0 where unlabelled or ignored.

    In float32, or in float64 where the logits are that.
    """
    # ignore_index is one id, and there are two: any class will do where the result is not used.
    labelled = is_labelled(labels)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    pixel_loss = F.cross_entropy(logits, labels.masked_fill(~labelled, 0), reduction="none")
    return pixel_loss.masked_fill(~labelled, 0.0)


def _weighted_mean(pixel_loss: Tensor, weight: Tensor) -> Tensor:
    """Mean of (B, H, W) under (B, H, W) weights; 0, still connected to the graph, where all weights are 0."""
    return whole_mean((pixel_loss * weight).sum(), weight.sum())


def _pixel_weight(labels: Tensor, class_weights: Tensor | None, sample_weight: Tensor | None) -> Tensor:
    """(B, H, W) float32: weight of the class of each pixel times that of its sample (B,), 0 without a label."""
    valid = is_labelled(labels)
    weight = valid.float() if class_weights is None else class_weights[labels.masked_fill(~valid, 0)] * valid
    return weight if sample_weight is None else weight * sample_weight[:, None, None]


class CrossEntropy(nn.Module):
    """Mean cross entropy over labelled pixels, optionally weighted by class.

    ``forward(logits (B, K, H, W) float, labels (B, H, W) int64, 254 unlabelled, 255 ignored, sample_weight (B,) float
    or None: 1 for all) -> scalar float32``.
    A batch without any labelled pixel gives 0 and zero gradients, not NaN.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None):
        super().__init__()
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return _weighted_mean(pixel_cross_entropy(logits, labels), self.pixel_weight(labels, sample_weight))

    def pixel_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """(B, H, W) float32: what each pixel counts, 0 where unlabelled or ignored."""
        return _pixel_weight(labels, self.class_weights, sample_weight)

    def batch_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """What these labels count for beside those of other processes, scalar: the sum that the mean divides by."""
        return self.pixel_weight(labels, sample_weight).sum()


class OhemCrossEntropy(nn.Module):
    """Cross entropy over hard pixels only: those whose true class got less than ``threshold`` probability.

    Where fewer than 1/16 of the labelled pixels are hard, the hardest 1/16 are kept (the DELIVER recipe). Where any
    is labelled at least one is kept, which goes beyond that recipe: of fewer than 16 labelled pixels, all of them easy,
    it would learn nothing.
    ``forward`` as in CrossEntropy; a batch without any labelled pixel gives 0 and zero gradients.
    """

    class_weights: Tensor | None

    def __init__(self, threshold: float = 0.7, class_weights: Tensor | None = None):
        super().__init__()
        self.limit = -math.log(threshold)
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        pixel_loss = pixel_cross_entropy(logits, labels)
        with torch.no_grad():
            hard = pixel_loss > self.limit  # unlabelled pixels have loss 0
            count = int(is_labelled(labels).sum())
            fewest = max(count // 16, min(count, 1))
            if int(hard.sum()) < fewest:
                hard = pixel_loss >= pixel_loss.flatten().topk(fewest).values[-1]
        return _weighted_mean(pixel_loss, self.pixel_weight(labels, sample_weight) * hard)

    def pixel_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """(B, H, W) float32: what each pixel would count if it were hard, 0 where unlabelled or ignored."""
        return _pixel_weight(labels, self.class_weights, sample_weight)

    def batch_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Each process mines its own pixels and its samples count alike, as in the published trainers: scalar B."""
        if sample_weight is not None:
            return sample_weight.sum()
        return torch.full((), float(len(labels)), device=labels.device)
