"""Whether numbers are finite, at the cost of one fast pass over them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def all_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite. Whole numbers always are finite."""
    if not values.is_floating_point():
        return True
    if bool(torch.isfinite(torch.linalg.vector_norm(values))):  # what is not finite shows in the sum of squares
        return True
    return bool(torch.isfinite(values).all())


def unusable_tensor(state: Mapping[str, Tensor]) -> str:
    """What makes a state of weights useless: one that is not finite, or a statistic that cannot be.

    Returns:
        Name of the first such tensor and what is wrong with it; "" when all can be used.
    """
    for name, values in state.items():
        if not all_finite(values):
            count = int((~torch.isfinite(values)).sum())
            return f"{name} holds {count} of {values.numel()} numbers that are not finite"
        kind = name.rpartition(".")[2]
        if kind in ("running_var", "num_batches_tracked") and values.numel() and bool((values < 0).any()):
            return f"{name} is negative, {values.min().item():g}: a variance or a count cannot be"
    return ""
