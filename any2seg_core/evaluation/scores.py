"""The scorer of data sets, recordings, live labels and the demonstration: counts that merge without rounding.

Every figure that leaves here is in percent; means over classes name their policy (`metrics.POLICIES`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from any2seg_core.evaluation.calibration import CalibrationHistogram
from any2seg_core.evaluation.metrics import ConfusionMatrix, as_array
from any2seg_core.evaluation.policies import POLICIES
from any2seg_core.vocabulary.labels import IGNORE, LabelSpace

if TYPE_CHECKING:
    from torch import Tensor

_COUNTS = ("frames", "labelled", "with_truth", "rated", "agreeing", "compared", "changed", "followed",
           "flickering", "steady")  # fmt: skip


@dataclass
class SubsetScore:
    """Sums of one subset of sensors.

    Attributes:
        confusion: over all frames with a truth. calibration: confidence of the same pixels.
        frames: frames that were evaluated. labelled: those of them for which at least one sensor of the subset was
            there. with_truth: those that had a truth; the confusion counts a frame without labels as missed everywhere.
        rated: labelled frames whose confidence is known; confidence_sum: of their mean confidences, 0..1 each.
        agreeing, compared: pixels equal to the label of all sensors that were there, of so many.
        changed, followed: pixels that differ from the label of the frame before, of so many.
        flickering, steady: the same of pixels where nothing has changed to be seen, see `FrameScorer`.
    """

    confusion: ConfusionMatrix
    calibration: CalibrationHistogram = field(default_factory=CalibrationHistogram)
    frames: int = 0
    labelled: int = 0
    with_truth: int = 0
    rated: int = 0
    agreeing: int = 0
    compared: int = 0
    changed: int = 0
    followed: int = 0
    flickering: int = 0
    steady: int = 0
    confidence_sum: float = 0.0

    @classmethod
    def of(cls, space: LabelSpace) -> SubsetScore:
        """Nothing counted yet."""
        return cls(ConfusionMatrix.of(space))

    @classmethod
    def of_confusion(cls, confusion: ConfusionMatrix, frames: int) -> SubsetScore:
        """Labels of so many frames, all with a truth, of which the confusion is all that is known."""
        return cls(confusion, frames=frames, labelled=frames, with_truth=frames)

    def add(
        self,
        labels: np.ndarray | Tensor | None,
        truth: np.ndarray | Tensor | None,
        confidence: np.ndarray | Tensor | None = None,
        calibration_stride: int = 1,
    ) -> None:
        """Count one frame.

        Args:
            labels: (H, W) train ids, 255 unlabelled; None where no sensor of the subset was there.
            truth: (H, W) train ids, 254 and 255 do not count; None without a truth.
            confidence: (H, W) float, 0..1, of the labels; None where nobody knows it.
            calibration_stride: calibration takes every n-th row and column.

        Raises:
            UserError: labels and truth of different sizes, or ids of another label space.
        """
        self.frames += 1
        if truth is not None:
            self.confusion.update(np.full(truth.shape, IGNORE, np.uint8) if labels is None else labels, truth)
            self.with_truth += 1
        if labels is None:
            return
        self.labelled += 1
        if confidence is None:
            return
        self.rated += 1
        self.confidence_sum += float(as_array(confidence).mean(dtype=np.float64))
        if truth is not None:
            grid = (slice(None, None, calibration_stride),) * 2
            self.calibration.update(confidence[grid], labels[grid], truth[grid])

    def add_missed(self, pixels: np.ndarray | None) -> None:
        """Count a moment without any labels; pixels (K,) int64 of each class in its truth, None without a truth."""
        self.frames += 1
        if pixels is not None:
            self.with_truth += 1
            self.confusion.counts[:, -1] += pixels

    def merge(self, other: SubsetScore) -> None:
        """Add the sums of other frames."""
        self.confusion.merge(other.confusion)
        self.calibration.merge(other.calibration)
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.confidence_sum += other.confidence_sum

    def frame_document(self) -> dict[str, Any]:
        """Of one frame, in percent: confidence, agreement, changes, flicker; with a truth mIoU and accuracy too."""
        figures = {
            "confidence": _share(self.confidence_sum, self.rated),
            "agreement": _share(self.agreeing, self.compared),
            "changed": _share(self.changed, self.followed),
            "flicker": _share(self.flickering, self.steady),
        }
        if self.with_truth:
            figures["miou_present"] = percent(self.confusion.miou("present"))
            figures["pixel_accuracy"] = percent(self.confusion.pixel_accuracy())
        return figures

    def document(self) -> dict[str, Any]:
        """All figures as plain JSON types, shares in percent; null where nothing was counted.

        ``miou``, ``f1`` and ``accuracy`` (recall per class) as means under each policy, ``f1_present`` and the like.
        """
        figures: dict[str, Any] = {"frames": self.frames, "frames_with_label": self.labelled}
        figures["coverage"] = _share(self.labelled, self.frames)
        figures |= self.frame_document()
        if self.with_truth:
            matrix = self.confusion
            figures["frames_with_truth"] = self.with_truth
            measures = {"miou": matrix.iou(), "f1": matrix.f1(), "accuracy": matrix.accuracy()}
            for name, per_class in measures.items():
                figures |= {f"{name}_{policy}": percent(matrix.mean(per_class, policy)) for policy in POLICIES}
            figures["ece"] = percent(self.calibration.ece())
            figures["overconfidence"] = percent(self.calibration.overconfidence())
        return figures

    def class_document(self, space: LabelSpace) -> dict[str, dict[str, float | None]]:
        """iou, f1 and accuracy -> class that occurs in the truth -> percent."""
        matrix = self.confusion
        present = np.flatnonzero(matrix.support)
        measures = {"iou": matrix.iou(), "f1": matrix.f1(), "accuracy": matrix.accuracy()}
        return {
            name: {space.classes[k]: percent(per_class[k]) for k in present} for name, per_class in measures.items()
        }

    def class_counts(self) -> dict[str, list[int]]:
        """Class id -> [right, in the truth, predicted] pixels, of classes that occur; what IoU of any frames needs."""
        right, truth, predicted = self.confusion.class_counts()
        return {str(k): [int(right[k]), int(truth[k]), int(predicted[k])] for k in np.flatnonzero(truth + predicted)}


class Scoreboard:
    """Adds up frames: over all of them, and apart for groups such as conditions, phases and failures.

    Attributes:
        total: subset letters -> score over all frames. groups: group -> subset letters -> score of its frames.
    """

    def __init__(self, space: LabelSpace) -> None:
        self._space = space
        self.total: dict[str, SubsetScore] = {}
        self.groups: dict[Hashable, dict[str, SubsetScore]] = {}

    def add(self, scores: Mapping[str, SubsetScore], groups: Iterable[Hashable] = ()) -> None:
        """Count the scores of one frame, by subset letters, for the groups that it belongs to."""
        for table in (self.total, *(self.groups.setdefault(group, {}) for group in groups)):
            for letters, score in scores.items():
                if letters not in table:
                    table[letters] = SubsetScore.of(self._space)
                table[letters].merge(score)

    def over_subsets(self, group: Hashable) -> SubsetScore:
        """All frames of a group, whichever sensors they were made of."""
        merged = SubsetScore.of(self._space)
        for score in self.groups.get(group, {}).values():
            merged.merge(score)
        return merged


def rounded(value: float, digits: int = 3) -> float | None:
    """A JSON number; None for NaN."""
    return None if np.isnan(value) else round(float(value), digits)


def rounded_document(value: Any) -> Any:
    """Floats to four digits (NaN to None), everywhere in a document."""
    if isinstance(value, dict):
        return {key: rounded_document(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded_document(entry) for entry in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 4)
    return value


def percent(fraction: float) -> float | None:
    """0..1 -> percent as a JSON number; None for NaN."""
    return rounded(100.0 * float(fraction))


def _share(part: float, whole: int) -> float | None:
    return None if whole == 0 else percent(part / whole)
