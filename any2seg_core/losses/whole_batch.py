"""Means over a batch that several processes share, each holding a part of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""Sum of a tensor over all processes, with a gradient to what each of them put in."""


def alone(values: Tensor) -> Tensor:
    """The sum over one process."""
    return values


def whole_mean(sums: Tensor, counts: Tensor, total: Total = alone) -> Tensor:
    """Means over the whole batch: the same numbers in all processes; 0, still connected to the graph, over nothing.

    DistributedDataParallel takes the mean of the gradients of all processes. Each of them has the derivative of the
    whole mean with respect to its own part, times their number, because a change of that part reaches the equal losses
    of all: so the mean is the gradient of one process with the whole batch.

    Args:
        sums, counts: (...) float32 of one shape, of this process.
    """
    values, weights = total(torch.stack([sums, counts.to(sums.dtype)]))
    return values / weights.masked_fill(weights == 0, 1.0)  # not a tiny number: times a loss scale that is infinite
