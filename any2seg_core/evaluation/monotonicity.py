"""What a further sensor costs or brings, with its error over frames. Light to import: reports of recordings need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from any2seg_core.evaluation.bootstrap import drawn_blocks, drawn_miou
from any2seg_core.evaluation.policies import Policy

TOLERATED_DROP = 1.0
"""mIoU in percentage points that a further sensor may cost before it counts as a violation."""
_WORST_SHOWN = 5
_RESAMPLES = 1000
_MIDDLE = (2.5, 97.5)


def monotonicity(
    table: Mapping[str, float], counts: Mapping[str, np.ndarray] | None = None, policy: Policy = "all", seed: int = 0
) -> dict[str, Any] | None:
    """How often, and by how much, adding one sensor lowers mIoU; None where no two subsets differ by one sensor.

    Args:
        table: mIoU in percent of all frames, under the policy.
        counts: of the same subsets (blocks, K, 3), see `FrameBlocks`; then the figures have an error over frames, from
            drawing these blocks again.
        seed: of these draws.

    Returns:
        steps: pairs of a subset and the same with one sensor more. lowered: those where mIoU falls, share_lowered: of
        all steps, in percent; violations: those where it falls by more than `TOLERATED_DROP`.
        mean_change, mean_drop (over the lowered), worst: the largest drops. by_sensor: mean change that each sensor
        brings when it is added. Changes in percentage points.
        With ``counts`` also ``violations_std``, ``violations_low`` and ``violations_high`` (the middle 95 % of the
        draws), and ``low`` and ``high`` of each of the worst.
    """
    steps = [
        (table[larger] - table[smaller], smaller, added, larger)
        for larger in table
        for added in larger
        if (smaller := larger.replace(added, "")) in table
    ]
    if not steps:
        return None
    drops = sorted(step for step in steps if step[0] < 0)
    worst: list[dict[str, Any]] = [
        {"from": smaller, "adding": added, "change": change} for change, smaller, added, _ in drops[:_WORST_SHOWN]
    ]
    found = {
        "steps": len(steps),
        "lowered": len(drops),
        "share_lowered": 100.0 * len(drops) / len(steps),
        "violations": sum(change < -TOLERATED_DROP for change, *_ in steps),
        "mean_change": float(np.mean([change for change, *_ in steps])),
        "mean_drop": float(np.mean([-change for change, *_ in drops])) if drops else 0.0,
        "worst": worst,
        "by_sensor": {
            sensor: float(np.mean(changes))
            for sensor in max(table, key=len)
            if (changes := [change for change, _, added, _ in steps if added == sensor])
        },
    }
    return found | _errors(steps, worst, counts, policy, seed) if counts else found


def _errors(
    steps: list[tuple[float, str, str, str]],
    worst: list[dict[str, Any]],
    counts: Mapping[str, np.ndarray],
    policy: Policy,
    seed: int,
) -> dict[str, float]:
    """Error of the violations over the draws; that of the worst steps is written beside them."""
    draws = drawn_blocks(len(next(iter(counts.values()))), _RESAMPLES, seed)
    drawn = {letters: drawn_miou(blocks, draws, policy) for letters, blocks in counts.items()}  # (R,) each
    changes = {(smaller, added): drawn[larger] - drawn[smaller] for _, smaller, added, larger in steps}
    for step in worst:
        step["low"], step["high"] = map(float, np.nanpercentile(changes[step["from"], step["adding"]], _MIDDLE))
    violations = np.sum([change < -TOLERATED_DROP for change in changes.values()], axis=0)  # (R,)
    low, high = np.percentile(violations, _MIDDLE)
    return {
        "violations_std": float(violations.std()),
        "violations_low": float(low),
        "violations_high": float(high),
    }
