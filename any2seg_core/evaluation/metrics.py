"""Segmentation metrics from one integer confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.policies import Policy
from any2seg_core.kernels.counts import count_pairs
from any2seg_core.vocabulary.labels import IGNORE, LabelSpace, require_train_ids

if TYPE_CHECKING:
    from torch import Tensor


def as_array(values: np.ndarray | Tensor) -> np.ndarray:
    """Tensors of any device and array-likes as NumPy arrays."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def unchanged(labels: np.ndarray) -> np.ndarray:
    """Labels as they are: model and truth have the same classes."""
    return labels


class ConfusionMatrix:
    """Counts of (truth, prediction) pairs; exact in int64, mergeable over batches, ranks and bags.

    Attributes:
        num_classes: K.
        other: train id left out by the policy "without_other", or None.
        counts: (K, K + 1) int64, rows truth, columns prediction; the last column counts pixels that have a truth
            but were predicted as unlabelled (255), so silence is a miss and never a free pass.
    """

    def __init__(self, num_classes: int, other: int | None = None):
        require_train_ids(num_classes)
        self.num_classes = num_classes
        self.other = other
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)

    @classmethod
    def of(cls, space: LabelSpace) -> ConfusionMatrix:
        """An empty matrix for a label space."""
        return cls(len(space), None if space.other is None else space.id(space.other))

    def update(self, prediction: np.ndarray | Tensor, truth: np.ndarray | Tensor) -> None:
        """Count integer arrays of one shape; pixels of truth 254 or 255 do not count, other ids must be below K."""
        prediction, truth = as_array(prediction), as_array(truth)
        if prediction.shape != truth.shape:
            raise UserError(
                f"prediction {prediction.shape} and truth {truth.shape} differ: resize one of them", "size-mismatch"
            )
        counts, strange = count_pairs(prediction, truth, self.num_classes)
        if strange is not None:
            known = f"below {self.num_classes} or {IGNORE}"
            raise UserError(f"ids must be {known}, got {strange}: that is another label space", "label-ids")
        self.counts += counts

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix of the same K."""
        if other.num_classes != self.num_classes:
            raise UserError(f"cannot merge {other.num_classes} classes into {self.num_classes}", "value-conflict")
        self.counts += other.counts

    def reset(self) -> None:
        """Forget everything."""
        self.counts[:] = 0

    @property
    def support(self) -> np.ndarray:
        """(K,) int64 pixels of each class in the truth."""
        return self.counts.sum(axis=1)

    def class_counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(K,) int64 each: pixels that are right, in the truth, predicted where there is a truth."""
        square = self.counts[:, : self.num_classes]  # (K, K)
        return np.diagonal(square), self.support, square.sum(axis=0)

    def iou(self) -> np.ndarray:
        """(K,) float64 in 0..1; NaN for a class that neither truth nor prediction contains."""
        hits, truth, predicted = self.class_counts()
        return _ratio(hits, truth + predicted - hits)

    def f1(self) -> np.ndarray:
        """(K,) float64 in 0..1, harmonic mean of precision and recall; NaN as in ``iou``."""
        hits, truth, predicted = self.class_counts()
        return _ratio(2 * hits, truth + predicted)

    def accuracy(self) -> np.ndarray:
        """(K,) float64 in 0..1, recall of each class; NaN for a class that is not in the truth."""
        hits, truth, _ = self.class_counts()
        return _ratio(hits, truth)

    def pixel_accuracy(self) -> float:
        """Share of labelled pixels that are right, 0..1; NaN without any labelled pixel."""
        return float(_ratio(np.trace(self.counts), self.counts.sum()))

    def miou(self, policy: Policy = "present") -> float:
        """Mean IoU in 0..1.

        Args:
            policy: "present" = classes that occur in the truth; "all" = all K, absent ones count 0 (the papers'
                convention); "without_other" = as "all" but without the class "Other".
        """
        return self.mean(self.iou(), policy)

    def mean(self, per_class: np.ndarray, policy: Policy) -> float:
        """Mean of a (K,) per-class measure of this matrix under a policy of ``miou``; NaN if no class is left."""
        if policy == "present":
            kept = self.support > 0
        elif policy in ("all", "without_other"):
            kept = np.ones(self.num_classes, bool)
            if policy == "without_other" and self.other is not None:
                kept[self.other] = False
        else:
            raise UserError(f"unknown policy {policy!r}: expected present, all or without_other", "value-unknown")
        return float(np.nan_to_num(per_class[kept]).mean()) if kept.any() else float("nan")


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)
