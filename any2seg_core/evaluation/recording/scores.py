"""Phases of a recording, and the scores of one of its frames for every sensor subset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from any2seg_core.evaluation.metrics import unchanged
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.faults.kinds import Fault
from any2seg_core.runtime.predictor import Segmentation
from any2seg_core.vocabulary.labels import LabelSpace

_CALIBRATION_STRIDE = 2  # every second row and column: a quarter of the cost, and neighbours say the same


@dataclass(frozen=True)
class Phase:
    """An interval of the recording, [start_s, end_s) seconds from its first message, with the faults that act in it."""

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


class FrameScorer:
    """Compares the labels of one frame with the truth, with the full set and with the frame before.

    Args:
        space: label space. names: subsets, as letters, with "full" for all sensors that are there.
        of_labels: labels of the model -> ids of `space`, see `Comparison`.
    """

    def __init__(
        self, space: LabelSpace, names: Sequence[str], of_labels: Callable[[np.ndarray], np.ndarray] = unchanged
    ) -> None:
        self._space, self._of_labels = space, of_labels
        self._names = tuple(names)
        self._before: dict[str, np.ndarray] = {}

    def empty(self) -> dict[str, SubsetScore]:
        """A zero score for every subset."""
        return {name: SubsetScore.of(self._space) for name in self._names}

    def score(
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
                if result is None:
                    score.add(None, truth)
                else:
                    score.add(self._of_labels(result.labels), truth, result.confidence, _CALIBRATION_STRIDE)
                    score.agreeing = int(np.count_nonzero(result.labels == full.labels))
                    score.compared = result.labels.size
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
            score.add_missed(pixels)
        return scores

    def _follow(self, name: str, result: Segmentation | None) -> tuple[int, int]:
        before = self._before.pop(name, None)
        if result is None:
            return 0, 0
        self._before[name] = result.labels
        if before is None or before.shape != result.labels.shape:
            return 0, 0
        return int(np.count_nonzero(before != result.labels)), before.size
