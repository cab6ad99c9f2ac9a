"""What a subset table says about robustness: failure expectation, MM-Robust, retention.

Tables map subset letters of a suite ("R", ..., "RDEL") to mIoU in percent. Damaged sensors: the random missing of RMM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.subsets import FillIn
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH

FAILURE_PROBABILITIES = (0.2, 0.1, 0.05)
MISSING_RATES = (0.25, 0.5, 0.75)


def failure_expectation(table: Mapping[str, float], probability: float) -> float | None:
    """Expected mIoU when each sensor fails on its own with ``probability``, given that at least one is left (EMM).

    None for a table without some of the 2^M - 1 subsets: any of them may be what is left.
    """
    sensors = max(len(letters) for letters in table)
    if len(table) < 2**sensors - 1:
        return None
    weights = [(1 - probability) ** len(letters) * probability ** (sensors - len(letters)) for letters in table]
    return float(np.average(list(table.values()), weights=weights))


def mm_robust(table: Mapping[str, float], suite: SensorSuite) -> float | None:
    """MM-Robust of M3L: mean of camera alone, depth alone and both; None for a model without one of the two.

    The camera is that of the suite, depth its first sensor of that kind.
    """
    pair = (suite.camera, *suite.of_kind(DEPTH)[:1])
    wanted = [*(suite.letter(name) for name in pair), suite.subset_letters(pair)]
    if len(pair) < 2 or not all(letters in table for letters in wanted):
        return None
    return float(np.mean([table[letters] for letters in wanted]))


def retention(table: Mapping[str, float], specialists: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """mIoU of a subset in percent of what a specialist reaches that was trained on these sensors alone.

    Args:
        table: of the model.
        specialists: for any subsets of the table, mIoU in percent; NaN where a specialist has nothing right.
    """
    return {
        letters: {
            "specialist": reached,
            "model": table[letters],
            "retention": 100.0 * table[letters] / reached if reached else float("nan"),
        }
        for letters, reached in specialists.items()
    }


def random_missing(rate: float, seed: int) -> FillIn:
    """RMM: every value of every image is zero with probability ``rate``, after normalisation.

    At rate 1 this is the protocol "zero". The draw depends on the seed, the frame and the sensor alone.
    """

    def damaged(batch: EvaluationBatch) -> dict[str, Tensor]:
        images = {}
        for number, (name, image) in enumerate(batch.images.items()):
            kept = [_kept(image.shape[1:], rate, (seed, index, number)) for index in batch.indices]
            images[name] = image * torch.stack(kept).to(image.device)  # (B, C, H, W)
        return images

    return damaged


def _kept(shape: Sequence[int], rate: float, seed: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(tuple(shape), np.float32) >= rate)
