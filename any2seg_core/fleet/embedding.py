"""A few numbers that say what a frame shows, for finding frames that are unlike each other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from any2seg_core.vocabulary.contract import FeatureStatistics

LENGTH = 48
_SEED = 3407


@lru_cache(maxsize=8)
def projection(features: int) -> np.ndarray:
    """(features, LENGTH) float64, the same in every process and version: it is never stored."""
    return np.random.RandomState(_SEED).standard_normal((features, LENGTH)) / np.sqrt(LENGTH)


def embedding(
    pooled: Mapping[str, np.ndarray], statistics: Mapping[str, FeatureStatistics] | None = None
) -> list[np.float16] | None:
    """LENGTH numbers of length 1 together; None where there are no features, or not finite ones.

    Features of the encoder, averaged over the picture and over the sensors that were fused, then projected at random,
    which keeps distances. Where the checkpoint knows how features of a sensor spread, they are whitened by that: else
    the few that vary most would decide alone.

    Args:
        pooled: sensor -> (C,), of `Segmentation.pooled`. statistics: of the checkpoint.
    """
    if not pooled:
        return None
    whitened = [_whitened(pooled[name], (statistics or {}).get(name)) for name in sorted(pooled)]
    with np.errstate(all="ignore"):
        mean = np.mean(whitened, axis=0)
        short = mean @ projection(len(mean))
        short /= np.linalg.norm(short)
    return list(short.astype(np.float16)) if np.isfinite(short).all() else None


def _whitened(features: np.ndarray, statistics: FeatureStatistics | None) -> np.ndarray:
    features = features.astype(np.float64)
    if statistics is None:
        return features
    mean, whitening = statistics.arrays
    return np.asarray(whitening @ (features - mean))
