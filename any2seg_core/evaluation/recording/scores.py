"""What an evaluation adds up: per phase and sensor subset, of counts that merge without rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from any2seg_core.evaluation.calibration import CalibrationHistogram
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.faults.kinds import Fault
from any2seg_core.runtime.predictor import Segmentation
from any2seg_core.vocabulary.labels import IGNORE, LabelSpace

_CALIBRATION_STRIDE = 2  # every second row and column: a quarter of the cost, and neighbours say the same
_POLICIES = ("present", "all", "without_other")


@dataclass(frozen=True)
class Phase:
    """A stretch of the recording, [start_s, end_s) seconds from its first message, with the faults that act in it."""

    name: str
    start_s: float
    end_s: float
    faults: tuple[str, ...] = ()


def phases_of(faults: Sequence[Fault], end_s: float) -> list[Phase]:
    """The recording cut wherever a fault begins or ends; one phase without faults when there are none."""
    cuts = {0.0, end_s}
    for fault in faults:
        cuts |= {fault.start_s, end_s if fault.end_s is None else fault.end_s}
    edges = sorted(cut for cut in cuts if 0.0 <= cut <= end_s)
    phases = []
    for start_s, stop_s in pairwise(edges):
        acting = [fault for fault in faults if fault.is_active(start_s)]
        name = " + ".join(f"{fault.kind} {'+'.join(fault.sensors)}" for fault in acting) or "as recorded"
        phases.append(Phase(name, start_s, stop_s, tuple(str(fault) for fault in acting)))
    return phases


@dataclass
class SubsetScore:
    """Sums of one subset of sensors.

    Attributes:
        frames: frames that were judged. labelled: those of them for which at least one sensor of the subset was there.
        with_truth: those that had a truth; the confusion counts a frame without any sensor as missed everywhere.
        agreeing, compared: pixels equal to the label of all sensors that were there, of so many.
        changed, followed: pixels that differ from the label of the frame before, of so many.
        confidence_sum: of the mean confidence of each labelled frame.
    """

    matrix: ConfusionMatrix
    calibration: CalibrationHistogram = field(default_factory=CalibrationHistogram)
    frames: int = 0
    labelled: int = 0
    with_truth: int = 0
    agreeing: int = 0
    compared: int = 0
    changed: int = 0
    followed: int = 0
    confidence_sum: float = 0.0

    def merge(self, other: SubsetScore) -> None:
        """Add the sums of another stretch."""
        self.matrix.merge(other.matrix)
        self.calibration.merge(other.calibration)
        for name in ("frames", "labelled", "with_truth", "agreeing", "compared", "changed", "followed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.confidence_sum += other.confidence_sum

    def document(self) -> dict[str, Any]:
        """Figures as plain JSON types, shares in percent; null where there is nothing to judge."""
        figures: dict[str, Any] = {"frames": self.frames, "frames_with_label": self.labelled}
        figures["coverage"] = _percent(self.labelled, self.frames)
        figures["agreement"] = _percent(self.agreeing, self.compared)
        figures["flicker"] = _percent(self.changed, self.followed)
        figures["confidence"] = _percent(self.confidence_sum, self.labelled)
        if self.with_truth:
            figures["frames_with_truth"] = self.with_truth
            for policy in _POLICIES:
                figures[f"miou_{policy}"] = rounded(100 * self.matrix.miou(policy))
            figures["f1_present"] = rounded(100 * self.matrix.mean(self.matrix.f1(), "present"))
            figures["pixel_accuracy"] = rounded(100 * self.matrix.pixel_accuracy())
            figures["ece"] = rounded(100 * self.calibration.ece())
        return figures


def rounded(value: float, digits: int = 3) -> float | None:
    """A JSON number; None for NaN."""
    return None if np.isnan(value) else round(float(value), digits)


def _percent(part: float, whole: int) -> float | None:
    return None if whole == 0 else rounded(100.0 * part / whole)


class FrameJudge:
    """Compares the labels of one frame with the truth, with the full set and with the frame before.

    Args:
        space: label space. names: subsets, as letters, with "full" for all sensors that are there.
    """

    def __init__(self, space: LabelSpace, names: Sequence[str]) -> None:
        self._space = space
        self._names = tuple(names)
        self._before: dict[str, np.ndarray] = {}

    def empty(self) -> dict[str, SubsetScore]:
        """A zero score for every subset."""
        return {name: SubsetScore(ConfusionMatrix.of(self._space)) for name in self._names}

    def judge(
        self, results: dict[str, Segmentation | None], full: Segmentation, truth: np.ndarray | None
    ) -> dict[str, SubsetScore]:
        """Scores of this frame alone, to be merged where they belong.

        Args:
            results: per subset its segmentation, None when none of its sensors was there.
            full: of all sensors that were there. truth: (H, W) uint8 train ids at the size of the labels, or None.
        """
        scores = self.empty()
        known: dict[int, SubsetScore] = {}  # subsets of which the same sensors are left share one result
        for name, result in results.items():
            score = scores[name]
            if result is not None and id(result) in known:
                score.merge(known[id(result)])
            else:
                self._judge_one(score, result, full, truth)
                if result is not None:
                    known[id(result)] = score
            score.changed, score.followed = self._follow(name, result)
        return scores

    def missed(self, pixels: np.ndarray | None) -> dict[str, SubsetScore]:
        """Scores of a moment without any labels: every subset misses all of it.

        Args:
            pixels: (K,) int64 pixels of each class in the truth, or None without a truth.
        """
        self._before.clear()
        scores = self.empty()
        for score in scores.values():
            score.frames = 1
            if pixels is not None:
                score.with_truth = 1
                score.matrix.counts[:, -1] += pixels
        return scores

    def _judge_one(
        self, score: SubsetScore, result: Segmentation | None, full: Segmentation, truth: np.ndarray | None
    ) -> None:
        score.frames = 1
        if truth is not None:
            score.with_truth = 1
            labels = np.full_like(truth, IGNORE) if result is None else result.labels
            score.matrix.update(labels, truth)
        if result is None:
            return
        score.labelled = 1
        score.agreeing, score.compared = int(np.count_nonzero(result.labels == full.labels)), result.labels.size
        score.confidence_sum = float(result.confidence.mean(dtype=np.float64))
        if truth is not None:
            grid = (slice(None, None, _CALIBRATION_STRIDE),) * 2
            score.calibration.update(result.confidence[grid], result.labels[grid], truth[grid])

    def _follow(self, name: str, result: Segmentation | None) -> tuple[int, int]:
        before = self._before.pop(name, None)
        if result is None:
            return 0, 0
        self._before[name] = result.labels
        if before is None or before.shape != result.labels.shape:
            return 0, 0
        return int(np.count_nonzero(before != result.labels)), before.size
