"""Per-sample modality dropout: which sensors each training sample may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.subsets import parse_subset

Subset = tuple[str, ...]


def subset_weights(
    modalities: Sequence[str], distribution: str | float | Mapping[str, float], suite: SensorSuite = VEHICLE
) -> dict[Subset, float]:
    """Probability of each subset that can be drawn, in the order of `SensorSuite.all_subsets`; together 1.

    Args:
        modalities: names, M of them.
        distribution: ``"uniform_subsets"``; or the probability of the full set, the rest being uniform over the other
            subsets; or weights by subset, e.g. ``{"RDEL": 4, "L": 1}``, unnamed subsets having none.
        suite: that the sensors are of.

    Raises:
        UserError: a distribution that is none of these; more than 12 sensors, unless weights by subset are given.
    """
    names = suite.canonical(modalities)
    if isinstance(distribution, Mapping):
        named = {parse_subset(text, suite, names): float(weight) for text, weight in distribution.items()}
        total = sum(named.values())
        if min(named.values(), default=0.0) < 0 or not 0 < total < float("inf"):
            raise UserError(f"subset weights must be >= 0 with a positive sum, got {dict(distribution)}", "value-range")
        order = sorted(named, key=lambda subset: (len(subset), list(map(names.index, subset))))
        return {subset: named[subset] / total for subset in order}
    subsets = suite.all_subsets(names)
    count = len(subsets)
    if distribution == "uniform_subsets" or count == 1:
        return dict.fromkeys(subsets, 1.0 / count)
    if isinstance(distribution, str) or not 0.0 <= distribution <= 1.0:
        raise UserError(
            f"modality dropout {distribution!r}: expected 'uniform_subsets', a probability of the full set, or weights",
            "value-format",
        )
    return dict.fromkeys(subsets, (1.0 - distribution) / (count - 1)) | {names: distribution}


def sample_present(
    draws: Tensor,
    modalities: Sequence[str],
    distribution: str | float | Mapping[str, float],
    strength: float = 1.0,
    suite: SensorSuite = VEHICLE,
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
    names = suite.canonical(modalities)
    weights = subset_weights(names, distribution, suite)  # S subsets
    table = torch.tensor([[name in subset for name in names] for subset in weights])  # (S, M)
    bounds = torch.tensor(list(weights.values()), dtype=torch.float64).cumsum(0)  # (S,)
    chosen = torch.searchsorted(bounds, draws[:, 0].contiguous() * bounds[-1], right=True)  # (B,)
    present = table[chosen] | (draws[:, 1:] >= strength)  # (B, M)
    if available is None:
        return present
    kept = present & available
    return torch.where(kept.any(dim=1, keepdim=True), kept, available)


def sample_subsets(draws: Tensor, shown: Tensor, nested: bool = False) -> Tensor:
    """Further subsets of each sample from its own random numbers: one single sensor, then subsets drawn evenly.

    Drawn is among all non-empty subsets of what the sample shows but the whole, so that the mean over the draws is the
    mean over these subsets; a sample with one sensor has nothing but that.

    Args:
        draws: (B, S, 2) float64, uniform in [0, 1).
        shown: (B, M) bool, what each sample shows, no row empty.
        nested: each second subset is the one before it and one sensor more, so that there is a pair to compare. Where
            that would be the whole, which is there beside them anyway, it is drawn as the others are.

    Returns:
        (S, B, M) bool, no row empty.
    """
    found = torch.zeros(draws.shape[1], *shown.shape, dtype=torch.bool)  # (S, B, M)
    for sample, (numbers, row) in enumerate(zip(draws.tolist(), shown.cpu(), strict=True)):
        sensors = row.nonzero()[:, 0].tolist()
        before: list[int] = []
        for slot, (first, second) in enumerate(numbers):
            missing = [sensor for sensor in sensors if sensor not in before]
            if slot == 0:
                chosen = [sensors[int(first * len(sensors))]]
            elif nested and slot % 2 == 1 and len(missing) > 1:
                chosen = [*before, missing[int(second * len(missing))]]
            else:
                code = 1 + int(first * max(2 ** len(sensors) - 2, 1))  # its bits say which
                chosen = _of_code(code, sensors)
            found[slot, sample, chosen] = True
            before = chosen
    return found


def sample_nonempty(draws: Tensor, shown: Tensor) -> Tensor:
    """One non-empty subset of what each sample shows, the whole among them, drawn evenly.

    Args:
        draws: (B,) float64, uniform in [0, 1). shown: (B, M) bool; a row may be empty, and stays so.

    Returns:
        (B, M) bool.
    """
    found = torch.zeros_like(shown, device="cpu")
    for sample, (number, row) in enumerate(zip(draws.tolist(), shown.cpu(), strict=True)):
        found[sample, _of_code(1 + int(number * (2 ** int(row.sum()) - 1)), row.nonzero()[:, 0].tolist())] = True
    return found


def _of_code(code: int, sensors: Sequence[int]) -> list[int]:
    """Those of the sensors that the bits of a code name."""
    return [sensor for bit, sensor in enumerate(sensors) if code >> bit & 1]
