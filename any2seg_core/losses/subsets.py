"""Terms between the subsets of a sample that are decoded from one encoding: self-distillation and monotonicity.

Subset supervision itself is the supervised loss on the logits of more subsets than one; what stands here compares them.
All of it is computed in float32 at least, and averaged over the batch of all processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from any2seg_core.losses.whole_batch import Total, alone, whole_mean
from any2seg_core.vocabulary.labels import NOT_ANNOTATED, is_labelled

_Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SubsetSupervisionConfig(BaseModel):
    """Which subsets learn from the truth beside all that a sample shows, and how much they count.

    Attributes:
        count: N subsets of each sample beside the whole: one single sensor, the others drawn evenly from all subsets
            but the whole. 0: none, and nothing else here has an effect.
        weight: of the mean loss of these subsets, beside 1 for the whole.
        weights: what the loss of one subset counts in that mean, by letters such as ``{R: 2}``; 1 where unnamed.
        start_step: the first step with subsets. grow_steps: from there on N grows from 1 to ``count`` over these steps.
        enlarge: whether their loss is that of the logits enlarged to the labels, as the loss of the whole. Otherwise it
            is taken at the size of the logits, a quarter, from the labels in the middle of each cell, which saves most
            of what subsets cost; sparse labels, of which this would leave few, need true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    count: int = Field(0, ge=0, le=64)
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    weights: dict[str, _Weight] = {}
    start_step: int = Field(0, ge=0)
    grow_steps: int = Field(0, ge=0)
    enlarge: bool = True

    def count_at(self, step: int) -> int:
        """N in step number ``step``, counted from 0."""
        if step < self.start_step:
            return 0
        since = step - self.start_step
        return self.count if since >= self.grow_steps else min(self.count, 1 + since * self.count // self.grow_steps)


class SelfDistillationConfig(BaseModel):
    """How all that a sample shows teaches its subsets.

    Attributes:
        weight: of the mean over the subsets; 0: off.
        temperature: by which both logits are divided; the loss is multiplied by its square, so that its gradient keeps
            its size.
        floor: least probability that makes the teacher's word count where a pixel has no label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: float = Field(0.0, ge=0, allow_inf_nan=False)
    temperature: float = Field(2.0, gt=0, le=100)
    floor: float = Field(0.9, ge=0, le=1)


class MonotoneConfig(BaseModel):
    """Hinge on what a further sensor makes worse.

    Attributes:
        weight: of the term; 0: off.
        margin: cross entropy in nats by which a pixel may become worse without a penalty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: float = Field(0.0, ge=0, allow_inf_nan=False)
    margin: float = Field(0.0, ge=0, allow_inf_nan=False)


def _precise(logits: Tensor) -> Tensor:
    """In float32, or in float64 where they are that."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def taught_pixels(teacher: Tensor, labels: Tensor, floor: float) -> Tensor:
    """Where a teacher's word counts: its logits (B, K, h, w), labels (B, h, w) int64 -> (B, h, w) bool.

    Where there is a label: its arg max is that. Where nobody labelled (254): its largest probability reaches ``floor``.
    Never on padding and what the truth says to ignore (255).
    """
    confidence, best = _precise(teacher).softmax(dim=1).max(dim=1)  # (B, h, w)
    return torch.where(is_labelled(labels), best == labels, (labels == NOT_ANNOTATED) & (confidence >= floor))


def self_distillation(
    subset_logits: Tensor, teacher: Tensor, labels: Tensor, config: SelfDistillationConfig, total: Total = alone
) -> tuple[Tensor, Tensor]:
    """T^2 KL(softmax(teacher / T) || softmax(subset / T)), mean over the subsets and the pixels of `taught_pixels`.

    No gradient flows to the teacher.

    Args:
        subset_logits: (S, B, K, h, w) float.
        teacher: (B, K, h, w) float, logits of all that each sample shows.
        labels: (B, h, w) int64, 254 unlabelled, 255 ignored.

    Returns:
        Scalar with a graph; and the share of the pixels but the ignored ones that counted, of this process.
    """
    teacher = _precise(teacher.detach())
    counted = taught_pixels(teacher, labels, config.floor)  # (B, h, w)
    target = (teacher / config.temperature).log_softmax(dim=1)
    sums = teacher.new_zeros(())
    for logits in subset_logits:
        own = (_precise(logits) / config.temperature).log_softmax(dim=1)
        divergence = (target.exp() * (target - own)).sum(dim=1)  # (B, h, w)
        sums = sums + divergence.masked_fill(~counted, 0.0).sum()
    possible = is_labelled(labels) | (labels == NOT_ANNOTATED)
    mean = whole_mean(sums, counted.sum() * len(subset_logits), total)
    return config.temperature**2 * mean, counted.sum() / possible.sum()


def monotone_hinge(
    losses: Sequence[Tensor], shown: Sequence[Tensor], weight: Tensor, margin: float, total: Total = alone
) -> tuple[Tensor, Tensor]:
    """relu(l(S + sensor) - l(S) - margin), mean over the pixels of all pairs S, S + sensor among the subsets.

    No gradient flows to l(S): the larger subset learns, and the smaller one is not made worse to please it. Per pixel
    and not per sample: a further sensor that spoils a few pixels of a rare class and improves many of the road lowers
    the loss of the sample and yet the mIoU, and a pixel keeps the weight of its class. Two subsets differ by noise in
    any pixel, which the margin leaves out.

    Args:
        losses: per subset (B, h, w) float32, cross entropy of each pixel.
        shown: per subset (B, M) bool.
        weight: (B, h, w) float32 of the pixels, 0 where there is no label.
        margin: in the unit of the losses.

    Returns:
        Scalar with a graph, 0 without any pair; and the share of the pairs of samples whose weighted mean loss the
        further sensor raises, of this process; NaN without a pair.
    """
    sums, weights = losses[0].new_zeros(()), losses[0].new_zeros(())
    raised, pairs = losses[0].new_zeros(()), losses[0].new_zeros(())
    for smaller, few in zip(losses, shown, strict=True):
        for larger, more in zip(losses, shown, strict=True):
            is_pair = ~(few & ~more).any(dim=1) & ((more & ~few).sum(dim=1) == 1)  # (B,)
            counted = weight * is_pair[:, None, None]  # (B, h, w)
            change = larger - smaller.detach()
            sums = sums + (F.relu(change - margin) * counted).sum()
            weights = weights + counted.sum()
            raised = raised + ((change.detach() * counted).sum(dim=(1, 2)) > 0).sum()
            pairs = pairs + counted.flatten(1).any(dim=1).sum()
    return whole_mean(sums, weights, total), raised / pairs
