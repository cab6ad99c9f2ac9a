"""What a student learns from a teacher's probabilities."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.losses.whole_batch import Total, alone, whole_mean
from any2seg_core.vocabulary.labels import is_labelled

_LEAST = 1e-8  # probability, below which a logarithm tells nothing


class SoftTargets(NamedTuple):
    """What a teacher says of a batch, at the size of the student's head.

    Attributes:
        probabilities: (N, K, h, w) float32, summing to 1 over K.
        weight: (N, h, w) float32, what each cell counts; 0 where nothing is to be learnt.
    """

    probabilities: Tensor
    weight: Tensor


def certainties(cells: Tensor, classes: int) -> Tensor:
    """Labels (N, h, w) integer -> (N, K, h, w) float32, 1 for the class of a cell; 0 where there is none."""
    known = is_labelled(cells)
    return F.one_hot(cells.long().masked_fill(~known, 0), classes).permute(0, 3, 1, 2).float() * known[:, None]


def soft_cross_entropy(logits: Tensor, targets: SoftTargets, temperature: float, total: Total = alone) -> Tensor:
    """T^2 KL(p_T || softmax(z / T)), p_T ~ p^(1/T): mean over cells by their weight, over the batch of all processes.

    Its gradient keeps its size whatever the temperature (Hinton et al., 2015). 0, still connected to the graph, where
    no cell counts.

    Args:
        logits: (N, K, h, w) float of the student.
    """
    softened = (targets.probabilities.clamp_min(_LEAST).log() / temperature).log_softmax(dim=1)
    own = (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).log_softmax(dim=1)
    divergence = (softened.exp() * (softened - own)).sum(dim=1)  # (N, h, w)
    sums = (divergence * targets.weight).sum()
    return temperature**2 * whole_mean(sums, targets.weight.sum(), total)
