"""How unlike the training frames a sensor is: distance of its pooled features from those of held-out frames."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from any2seg_core.vocabulary.contract import FeatureStatistics

MOST_NOVELTY = 1000.0
"""What is farther away, or not finite, counts as this."""


def distance(pooled: np.ndarray, statistics: FeatureStatistics) -> float:
    """Mahalanobis distance over the root of the number of features: about 1 in training.

    Args:
        pooled: (C,) float, a row of `Engine.pooled`.
    """
    mean, whitening = statistics.arrays
    with np.errstate(all="ignore"):
        found = float(np.sqrt(np.mean((whitening @ (pooled.astype(np.float64) - mean)) ** 2)))
    return found if found < MOST_NOVELTY else MOST_NOVELTY  # NaN too


def novelty(pooled: Mapping[str, np.ndarray], statistics: Mapping[str, FeatureStatistics]) -> dict[str, float]:
    """Sensor -> distance of its one frame as a share of the limit, above 1: unlike training; none without statistics.

    Args:
        pooled: sensor -> (1, C), of `Engine.pooled`.
    """
    scores = {name: distance(features[0], statistics[name]) / statistics[name].limit
              for name, features in pooled.items() if name in statistics}  # fmt: skip
    return {name: min(score, MOST_NOVELTY) for name, score in scores.items()}
