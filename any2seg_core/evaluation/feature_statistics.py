"""Statistics of each sensor's pooled features, and the distance from them beyond which a frame is unlike training."""

from __future__ import annotations

import numpy as np
import torch

from any2seg_core.evaluation.dataset import EvaluationTarget
from any2seg_core.evaluation.settings import Progress
from any2seg_core.runtime.novelty import distance
from any2seg_core.vocabulary.contract import FeatureStatistics

FALSE_ALARMS = 0.01
"""Share of frames like those of training that lie beyond the limit."""
LEAST_FRAMES = 20
_FOLDS = 8
_SHRINKAGE = 0.3  # of the covariance to its diagonal (Ledoit and Wolf 2004): there are hardly more frames than features
_LEAST_VARIANCE = 0.01  # of the median: a feature that hardly ever changes must not decide alone


def feature_statistics(target: EvaluationTarget, progress: Progress) -> dict[str, FeatureStatistics]:
    """Per sensor, of the frames of a target; none of sensors with fewer than `LEAST_FRAMES` frames, and none of models
    that encode their sensors together."""
    found: dict[str, list[np.ndarray]] = {}
    done = 0
    for batch in target.batches():
        with torch.no_grad():
            pooled = target.engine.pooled(target.engine.encode(target.engine.given(batch.images)))
        for name, features in pooled.items():
            found.setdefault(name, []).append(features)
        done += len(batch.indices)
        progress("features", done, len(target.indices))
    table = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: fit_statistics(table[name]) for name in target.suite.canonical(table)
            if len(table[name]) >= LEAST_FRAMES}  # fmt: skip


def fit_statistics(features: np.ndarray) -> FeatureStatistics:
    """Statistics of pooled features (N, C) of frames in their order, N at least 2.

    The limit is found on frames that the statistics were not made of: each of eight parts by those of the others. Parts
    are of frames that follow each other, as neighbours are alike.
    """
    distances: list[float] = []
    for part in np.array_split(np.arange(len(features)), min(_FOLDS, len(features))):
        others = _statistics(np.delete(features, part, axis=0))
        distances += [distance(row, others) for row in features[part]]
    limit = max(float(np.quantile(distances, 1.0 - FALSE_ALARMS)), 1e-3)
    return _statistics(features).model_copy(update={"limit": _short(limit)})


def _statistics(features: np.ndarray) -> FeatureStatistics:
    table = features.astype(np.float64)
    mean = table.mean(axis=0)
    covariance = (table - mean).T @ (table - mean) / len(table)
    variance = np.diag(covariance)
    least = max(_LEAST_VARIANCE * float(np.median(variance)), 1e-10)
    shrunk = (1.0 - _SHRINKAGE) * covariance + np.diag(_SHRINKAGE * variance + np.maximum(least - variance, 0.0))
    whitening = np.linalg.inv(np.linalg.cholesky(shrunk))  # (C, C), lower triangle
    rows = tuple(tuple(map(_short, row[: i + 1])) for i, row in enumerate(whitening))
    return FeatureStatistics(mean=tuple(map(_short, mean)), whitening=rows, limit=1.0)


def _short(value: float) -> float:
    """Five digits: metadata is text."""
    return float(f"{value:.5g}")
