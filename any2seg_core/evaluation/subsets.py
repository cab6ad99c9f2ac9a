"""Modality-incomplete evaluation (MISS): every subset of the sensors from one encoding, and the floors to beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from any2seg_core.errors import UserError
from any2seg_core.evaluation.metrics import ConfusionMatrix, Policy
from any2seg_core.labels import IGNORE, LabelSpace
from any2seg_core.modalities import all_subsets, subset_letters
from any2seg_core.models import Any2Seg
from any2seg_core.preprocess import logits_to_labels


def subset_mean(table: dict[str, ConfusionMatrix], policy: Policy = "present") -> float:
    """Unweighted mean over the subsets of a table of their mIoU, 0..1."""
    return float(np.mean([matrix.miou(policy) for matrix in table.values()]))


@torch.no_grad()
def evaluate_subsets(
    model: Any2Seg,
    batches: Iterable[tuple[dict[str, Tensor], Tensor]],
    space: LabelSpace,
    subsets: Sequence[Sequence[str]] | None = None,
    protocol: Literal["drop", "zero"] = "drop",
) -> dict[str, ConfusionMatrix]:
    """Confusion matrix of each sensor subset.

    Args:
        model: in evaluation mode.
        batches: pairs of model input, per modality (B, 3, h, w) float32, and truth (B, H, W) uint8 at any size.
        space: label space of the truth.
        subsets: which subsets; None means all 2^M - 1 of the model's modalities.
        protocol: "drop" leaves absent sensors out of the fusion; each sensor is encoded once for all subsets. "zero"
            feeds zeros for them after normalisation instead, for comparison with papers that do.

    Returns:
        Subset letters ("R", ..., "RDEL") -> ConfusionMatrix, in the order of ``subsets``.
    """
    if model.training:
        raise UserError("the model is in training mode: call model.eval() before evaluate_subsets")
    subsets = all_subsets(model.modalities) if subsets is None else subsets
    table = {subset_letters(subset): ConfusionMatrix.of(space) for subset in subsets}
    for images, truth in batches:
        height, width = truth.shape[-2:]
        encoded = model.encode(images) if protocol == "drop" else None
        for subset in subsets:
            if encoded is not None:
                features = encoded.keep(subset)
            else:
                zeroed = {name: x if name in subset else torch.zeros_like(x) for name, x in images.items()}
                features = model.encode(zeroed)
            logits = model.decode(model.fuse(features))  # (B, K, h/4, w/4)
            labels, _ = logits_to_labels(logits, height, width)
            table[subset_letters(subset)].update(labels, truth)
    return table


class PriorStatistics:
    """Where each class lies in the training labels: the knowledge of a predictor that has no sensor at all.

    Attributes:
        counts: (K, H, W) int64, how often each class was at each pixel; the size of the first label added.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.counts: np.ndarray | None = None

    def update(self, labels: np.ndarray) -> None:
        """Add one (H, W) uint8 label image; another size is resized to the first one's, nearest."""
        if self.counts is None:
            self.counts = np.zeros((self.num_classes, *labels.shape), np.int64)
        labels = _resized(labels, self.counts.shape[1:])
        rows, columns = np.nonzero(labels != IGNORE)
        self.counts[labels[rows, columns], rows, columns] += 1  # no index occurs twice within one image

    def class_pixels(self) -> np.ndarray:
        """(K,) int64 pixels per class."""
        return self.counts.sum(axis=(1, 2))

    def most_frequent(self) -> np.ndarray:
        """(H, W) uint8: at each pixel the class seen there most often."""
        return self.counts.argmax(axis=0).astype(np.uint8)


@dataclass(frozen=True)
class Floors:
    """mIoU that needs no sensor, 0..1 over the classes present in the truth.

    Attributes:
        constant: best single class everywhere, chosen on the evaluated labels themselves.
        constant_class: its train id.
        pixel_prior: at each pixel the class most frequent there in training.
    """

    constant: float
    constant_class: int
    pixel_prior: float

    @property
    def best(self) -> float:
        """The higher of the two."""
        return max(self.constant, self.pixel_prior)


def prior_baselines(prior: PriorStatistics, truths: Iterable[np.ndarray], space: LabelSpace) -> Floors:
    """Floors on label images ``truths``, each (H, W) uint8, for predictors that know only the training labels."""
    guess = prior.most_frequent()
    matrix = ConfusionMatrix.of(space)
    for truth in truths:
        matrix.update(_resized(guess, truth.shape), truth)
    # A constant prediction hits all pixels of its class and nothing else: its IoU is the share of that class.
    support = matrix.support
    constant = support.max() / support.sum() / np.count_nonzero(support)
    return Floors(float(constant), int(support.argmax()), matrix.miou("present"))


def _resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if labels.shape == tuple(size):
        return labels
    return cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
