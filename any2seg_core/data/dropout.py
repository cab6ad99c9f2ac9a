"""Per-sample modality dropout: which sensors each training sample may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.modalities import SensorSuite, all_subsets, canonical, set_of
from any2seg_core.vocabulary.subsets import parse_subset


def subset_weights(
    modalities: Sequence[str], distribution: str | float | Mapping[str, float], suite: SensorSuite | None = None
) -> Tensor:
    """Probability of each subset in the order of ``all_subsets(modalities)``.

    Args:
        modalities: names, M of them.
        distribution: ``"uniform_subsets"``; or the probability of the full set, the rest being uniform over the other
            subsets; or weights by subset, e.g. ``{"RDEL": 4, "L": 1}``, unnamed subsets having none.
        suite: whose letters; None: those of ``set_of(modalities)``.

    Returns:
        (2^M - 1,) float64 that sums to 1.
    """
    subsets = all_subsets(modalities)
    count = len(subsets)
    if distribution == "uniform_subsets" or count == 1:
        return torch.full((count,), 1.0 / count, dtype=torch.float64)
    if isinstance(distribution, Mapping):
        suite = suite or set_of(modalities)
        named = {parse_subset(text, suite, modalities): weight for text, weight in distribution.items()}
        weights = torch.tensor([float(named.get(subset, 0.0)) for subset in subsets], dtype=torch.float64)
        if (weights < 0).any() or weights.sum() <= 0:
            raise UserError(f"subset weights must be >= 0 with a positive sum, got {dict(distribution)}", "value-range")
        return weights / weights.sum()
    if isinstance(distribution, str) or not 0.0 <= distribution <= 1.0:
        raise UserError(
            f"modality dropout {distribution!r}: expected 'uniform_subsets', a probability of the full set, or weights",
            "value-format",
        )
    weights = torch.full((count,), (1.0 - distribution) / (count - 1), dtype=torch.float64)
    weights[-1] = distribution  # the full set is last
    return weights


def sample_present(
    draws: Tensor,
    modalities: Sequence[str],
    distribution: str | float | Mapping[str, float],
    strength: float = 1.0,
    suite: SensorSuite | None = None,
    available: Tensor | None = None,
) -> Tensor:
    """One non-empty subset per sample from the sample's own random numbers, whatever batch it is in.

    Args:
        draws: (B, 2) float64, uniform in [0, 1): which subset, and whether the sample takes part.
        modalities: names, M of them, canonical order.
        distribution: see ``subset_weights``.
        strength: probability that a sample takes part; the others keep the full set. Grow it from 0 to 1 to warm up.
        suite: see ``subset_weights``.
        available: (B, M) bool, what each sample has at all, no row empty; None: everything. Of the subset drawn remains
            what is available, and all that is available where nothing remains.

    Returns:
        (B, M) bool, True = present; no row is empty.
    """
    names = canonical(modalities)
    table = torch.tensor([[name in subset for name in names] for subset in all_subsets(names)])  # (2^M - 1, M)
    bounds = subset_weights(names, distribution, suite).cumsum(0)  # (2^M - 1,)
    chosen = torch.searchsorted(bounds, draws[:, 0].contiguous() * bounds[-1], right=True)  # (B,)
    present = table[chosen] | (draws[:, 1:] >= strength)  # (B, M)
    if available is None:
        return present
    kept = present & available
    return torch.where(kept.any(dim=1, keepdim=True), kept, available)
