"""Features of every sensor at the same places of the same frames: how far apart sensors lie, and how far classes do."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.dataset import EvaluationTarget
from any2seg_core.evaluation.settings import EvaluateSettings, FeatureSettings, Progress
from any2seg_core.vocabulary.labels import LabelSpace, is_labelled
from any2seg_core.vocabulary.modalities import SensorSuite


@dataclass(frozen=True)
class FeatureSample:
    """N features, rows that belong together in every array.

    Attributes:
        features: (N, C) float32 of the encoder. sensors: (N,) index into `names`. classes: (N,) uint8 train ids.
        names: of the sensors, which are of `suite`. space: of the classes. frames: how many the rows are of.
    """

    features: np.ndarray
    sensors: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    suite: SensorSuite
    space: LabelSpace
    frames: int


@torch.no_grad()
def sample_features(settings: FeatureSettings, progress: Progress) -> FeatureSample:
    """Encode some frames and take the features of all their sensors at places drawn among the labelled ones.

    Raises:
        UserError: as `EvaluationTarget.open`; a fusion without features of its own per sensor; no labelled place.
    """
    target = EvaluationTarget.open(
        EvaluateSettings(
            checkpoint=settings.checkpoint, data=settings.data, dataset=settings.dataset, suite=settings.suite,
            split=settings.split, frames=settings.frames, device=settings.device, batch_size=1,
        ),
        settings.checkpoint,
    )  # fmt: skip
    random = np.random.default_rng(settings.seed)
    features, sensors, classes, frames = [], [], [], 0
    for batch in target.batches():
        encoded = target.model.encode(batch.images)
        if len(encoded.levels) < settings.level:
            raise UserError(f"{settings.checkpoint}: {_lack(len(encoded.levels))}", "model-unsuitable")
        level = encoded.levels[settings.level - 1][0].cpu().numpy()  # (M, C, h, w)
        height, width = level.shape[-2:]
        truth = cv2.resize(batch.truth[0].numpy(), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        rows, columns = np.nonzero(is_labelled(truth))
        chosen = random.permutation(len(rows))[: settings.points]
        rows, columns = rows[chosen], columns[chosen]
        for number, name in enumerate(encoded.modalities):
            if name in batch.images:
                features.append(level[number][:, rows, columns].T)  # (points, C)
                sensors.append(np.full(len(rows), number))
                classes.append(truth[rows, columns])
        frames += 1
        progress("features", frames, len(target.indices))
    if not any(map(len, features)):
        raise UserError(
            f"{settings.data}: no labelled pixel in {frames} frames of split {settings.split}: give another split",
            "data-unlabelled",
        )
    points, of_sensor, of_class = (np.concatenate(each) for each in (features, sensors, classes))
    return FeatureSample(
        points, of_sensor, of_class, target.model.modalities, target.contract.suite, target.space, frames
    )


def _lack(levels: int) -> str:
    """What to tell of a model whose sensors have features of their own at so many levels, fewer than were asked for."""
    if levels:
        return f"its sensors have features of their own at levels 1 to {levels}: give one of these, --level {levels}"
    return "its fusion has no features of each sensor; give a checkpoint with fusion=mff, mff_early or mean_predictions"


def principal_components(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal component analysis.

    Args:
        features: (N, C).

    Returns:
        (N, count) coordinates, each direction with its largest entry positive, and (count,) their shares of the
        variance, 0..1.
    """
    centred = np.asarray(features, np.float64)
    centred = centred - centred.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:count]
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    variance = lengths**2
    shares = variance[:count] / variance.sum() if variance.any() else np.zeros(count)
    return centred @ (directions * signs[:, None]).T, shares


def explained_by(features: np.ndarray, groups: np.ndarray) -> float:
    """Share of the variance of (N, C) features that lies between groups (N,), 0..1; NaN where there is none."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    total = ((features - mean) ** 2).sum()
    between = sum(
        np.count_nonzero(groups == group) * ((features[groups == group].mean(axis=0) - mean) ** 2).sum()
        for group in np.unique(groups)
    )
    return float(between / total) if total else float("nan")
