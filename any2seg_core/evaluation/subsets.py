"""Modality-incomplete evaluation (MISS): every subset of the sensors from one encoding, and the baselines to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.metrics import ConfusionMatrix, as_array, unchanged
from any2seg_core.evaluation.policies import Policy
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.engines.choice import choose_engine
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.preprocess import logits_to_labels
from any2seg_core.vocabulary.labels import IGNORE, LabelSpace, is_labelled, require_train_ids
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite


class FrameScores(NamedTuple):
    """One frame: its number in the data set, subset letters -> scores, labels (H, W) uint8 of the last subset."""

    number: int
    scores: dict[str, SubsetScore]
    labels: np.ndarray


def subset_mean(table: dict[str, ConfusionMatrix], policy: Policy = "present") -> float:
    """Unweighted mean over the subsets of a table of their mIoU, 0..1."""
    return float(np.mean([matrix.miou(policy) for matrix in table.values()]))


def plain_softmax(_: Sequence[str]) -> float:
    """The temperature of every subset whose confidence is the softmax as it is."""
    return 1.0


FillIn = Callable[[EvaluationBatch], dict[str, Tensor]]
"""What absent sensors are replaced by: a batch -> images of the same shapes."""


def zeros(batch: EvaluationBatch) -> dict[str, Tensor]:
    """Absent sensors are zeros after normalisation: the protocol "zero"."""
    return {name: torch.zeros_like(image) for name, image in batch.images.items()}


FILL_INS: Mapping[str, FillIn | None] = {"drop": None, "zero": zeros}
"""Protocol -> what is encoded for absent sensors; "drop": nothing, they leave the fusion."""


def subset_logits(
    model: Any2Seg,
    batch: EvaluationBatch,
    subsets: Sequence[Sequence[str]],
    fill_in: FillIn | None = None,
    engine: Engine | None = None,
) -> Iterator[tuple[Sequence[str], Tensor | None]]:
    """Each subset with its logits (B, K, h/4, w/4), from one encoding of each sensor.

    Of sensors that the frames lack a subset is left with those that are there; None where that is none of them.

    Args:
        model: in evaluation mode.
        batch: frames.
        subsets: which subsets of the model's modalities.
        fill_in: None leaves absent sensors out of the fusion; otherwise what is encoded, once, in their place, also in
            that of sensors which the frames lack.
        engine: of the model; None: the default one, chosen anew.
    """
    return _subset_logits(engine or choose_engine(model), model, batch, subsets, fill_in)


@torch.no_grad()
def _subset_logits(
    engine: Engine,
    model: Any2Seg,
    batch: EvaluationBatch,
    subsets: Sequence[Sequence[str]],
    fill_in: FillIn | None,
) -> Iterator[tuple[Sequence[str], Tensor | None]]:
    there = [[name for name in subset if name in batch.images] for subset in subsets]
    if fill_in is None:
        every = engine.fuse_subsets(engine.encode(engine.given(batch.images)), [kept for kept in there if kept])
        for subset, kept in zip(subsets, there, strict=True):
            yield subset, torch.as_tensor(engine.decode(next(every))) if kept else None
        return
    name, image = next(iter(batch.images.items()))
    size = model.input_size(name, image)
    blanks = {each: image.new_zeros(*image.shape[:2], *model.image_size(each, size)) for each in model.modalities}
    whole = batch._replace(images=blanks | batch.images)
    encoded, replaced = (engine.encode(engine.given(images)) for images in (whole.images, fill_in(whole)))
    for subset, kept in zip(subsets, there, strict=True):
        yield subset, torch.as_tensor(engine.decode(engine.fuse(encoded.replacing_absent(kept, replaced))))


def _logits_by_letters(
    model: Any2Seg,
    batches: Iterable[EvaluationBatch],
    subsets: Sequence[Sequence[str]],
    fill_in: FillIn | None,
    suite: SensorSuite,
    engine: Engine | None,
) -> Iterator[tuple[EvaluationBatch, str, Tensor | None]]:
    """Each batch with the letters and the logits (B, K, h/4, w/4) or None of each subset."""
    if model.training:
        raise UserError("the model is in training mode: call model.eval() before evaluate_subsets", "model-unsuitable")
    engine = engine or choose_engine(model)
    for batch in batches:
        for subset, logits in _subset_logits(engine, model, batch, subsets, fill_in):
            yield batch, suite.subset_letters(subset), logits


@torch.no_grad()
def subset_predictions(
    model: Any2Seg,
    batches: Iterable[EvaluationBatch],
    subsets: Sequence[Sequence[str]],
    fill_in: FillIn | None = None,
    suite: SensorSuite = VEHICLE,
    temperature: Callable[[Sequence[str]], float] = plain_softmax,
    engine: Engine | None = None,
) -> Iterator[tuple[EvaluationBatch, str, Tensor, Tensor]]:
    """Predictions of every subset of :func:`subset_logits`.

    Args:
        suite: whose letters name the subsets. engine: of the model; None: the default one.
        temperature: of the confidence from the sensors that a frame has, as `InputContract.temperature`.

    Yields:
        The batch, letters of the subset, labels (B, H, W) uint8 and confidence (B, H, W) float32 at the truth's size;
        labels are 255, which scores count as missed, where the frames have none of the sensors of the subset.
    """
    sensors = {suite.subset_letters(subset): subset for subset in subsets}
    for batch, letters, logits in _logits_by_letters(model, batches, subsets, fill_in, suite, engine):
        truth = batch.truth
        if logits is None:
            yield batch, letters, _silence(truth), torch.zeros(truth.shape)
        else:
            kept = [name for name in sensors[letters] if fill_in is not None or name in batch.images]
            scale = model.config.align_corners, temperature(kept)
            height, width = truth.shape[-2:]
            labels, confidence = logits_to_labels(logits, height, width, True, *scale)
            assert confidence is not None  # it is left out only when told to
            yield batch, letters, labels, confidence


def _silence(truth: Tensor) -> Tensor:
    """Labels of a model that was given nothing."""
    return torch.full_like(truth, IGNORE)


@torch.no_grad()
def evaluate_subsets(
    model: Any2Seg,
    batches: Iterable[EvaluationBatch],
    space: LabelSpace,
    subsets: Sequence[Sequence[str]] | None = None,
    fill_in: FillIn | None = None,
    suite: SensorSuite = VEHICLE,
    of_labels: Callable[[np.ndarray], np.ndarray] = unchanged,
    engine: Engine | None = None,
) -> dict[str, ConfusionMatrix]:
    """Confusion matrix of each sensor subset.

    Args:
        model: in evaluation mode.
        batches: frames.
        space: label space of the truth.
        subsets: which subsets; None means all 2^M - 1 of the model's modalities.
        fill_in: None ("drop") leaves absent sensors out of the fusion; ``zeros`` feeds zeros for them after
            normalisation instead, for comparison with papers that do. Each sensor is encoded once for all subsets.
        suite: whose letters name the subsets.
        of_labels: labels of the model -> ids of `space`, see `Comparison`. engine: of the model; None: the default.

    Returns:
        Subset letters ("R", ..., "RDEL") -> ConfusionMatrix, in the order of ``subsets``.
    """
    subsets = suite.all_subsets(model.modalities) if subsets is None else subsets
    table = {suite.subset_letters(subset): ConfusionMatrix.of(space) for subset in subsets}
    for batch, letters, logits in _logits_by_letters(model, batches, subsets, fill_in, suite, engine):
        truth = batch.truth
        if logits is None:
            table[letters].update(_silence(truth), truth)
        else:
            height, width = truth.shape[-2:]
            labels, _ = logits_to_labels(logits, height, width, False, model.config.align_corners)
            table[letters].update(of_labels(as_array(labels)), truth)
    return table


def frame_scores(
    model: Any2Seg,
    batches: Iterable[EvaluationBatch],
    space: LabelSpace,
    subsets: Sequence[Sequence[str]] | None = None,
    fill_in: FillIn | None = None,
    suite: SensorSuite = VEHICLE,
    of_labels: Callable[[np.ndarray], np.ndarray] = unchanged,
    temperature: Callable[[Sequence[str]], float] = plain_softmax,
    engine: Engine | None = None,
) -> Iterator[FrameScores]:
    """As :func:`evaluate_subsets`, frame by frame and with calibration; temperature as of `subset_predictions`.

    Yields:
        The scores of each frame, in the order of the batches, with the labels of the last subset.
    """
    subsets = suite.all_subsets(model.modalities) if subsets is None else subsets
    sensors = {suite.subset_letters(subset): subset for subset in subsets}
    found: dict[str, tuple[Tensor, Tensor]] = {}
    predictions = subset_predictions(model, batches, subsets, fill_in, suite, temperature, engine)
    for batch, letters, labels, confidence in predictions:
        found[letters] = labels, confidence
        if len(found) < len(subsets):
            continue
        for row, (index, truth) in enumerate(zip(batch.indices, batch.truth, strict=True)):
            scores = {name: SubsetScore.of(space) for name in found}
            for name, (guess, certainty) in found.items():
                has_labels = fill_in is not None or any(sensor in batch.images for sensor in sensors[name])
                compared = of_labels(as_array(guess[row])) if has_labels else None
                scores[name].add(compared, truth, certainty[row])
            yield FrameScores(index, scores, of_labels(as_array(found[letters][0][row])))
        found = {}


class PriorStatistics:
    """Where each class lies in the training labels: the knowledge of a predictor that has no sensor at all.

    Attributes:
        counts: (K, H, W) int64, how often each class was at each pixel; the size of the first label added.
    """

    def __init__(self, num_classes: int):
        require_train_ids(num_classes)
        self.num_classes = num_classes
        self.counts: np.ndarray | None = None

    def update(self, labels: np.ndarray) -> None:
        """Add one (H, W) uint8 label image; another size is resized to the first one's, nearest."""
        if self.counts is None:
            self.counts = np.zeros((self.num_classes, *labels.shape), np.int64)
        labels = _resized(labels, self.counts.shape[1:])
        rows, columns = np.nonzero(is_labelled(labels))
        self.counts[labels[rows, columns], rows, columns] += 1  # no index occurs twice within one image

    def class_pixels(self) -> np.ndarray:
        """(K,) int64 pixels per class."""
        return self._seen().sum(axis=(1, 2))

    def most_frequent(self) -> np.ndarray:
        """(H, W) uint8: at each pixel the class seen there most often; where none was, the most frequent of all."""
        overall = self.class_pixels().argmax()
        counts = self._seen()
        return np.where(counts.any(axis=0), counts.argmax(axis=0), overall).astype(np.uint8)

    def _seen(self) -> np.ndarray:
        assert self.counts is not None  # asked after the first label
        return self.counts


@dataclass(frozen=True)
class PriorBaselines:
    """mIoU that needs no sensor, 0..1 over the classes present in the truth.

    Attributes:
        constant: best single class everywhere, chosen on the evaluated labels themselves.
        constant_class: its train id.
        pixel_prior: at each pixel the class most frequent there in training.
    """

    constant: float
    constant_class: int
    pixel_prior: float

    @property
    def best(self) -> float:
        """The higher of the two."""
        return max(self.constant, self.pixel_prior)


def prior_baselines(prior: PriorStatistics, truths: Iterable[np.ndarray], space: LabelSpace) -> PriorBaselines:
    """Baselines on label images ``truths``, each (H, W) uint8, for predictors that know only the training labels."""
    guess = prior.most_frequent()
    matrix = ConfusionMatrix.of(space)
    for truth in truths:
        matrix.update(_resized(guess, truth.shape), truth)
    # A constant prediction hits all pixels of its class and nothing else: its IoU is the share of that class.
    support = matrix.support
    constant = support.max() / support.sum() / np.count_nonzero(support) if support.any() else np.nan
    return PriorBaselines(float(constant), int(support.argmax()), matrix.miou("present"))


def _resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if labels.shape == tuple(size):
        return labels
    return cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
