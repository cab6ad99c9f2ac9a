"""Phases of a recording, and the scores of one of its frames for every sensor subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from any2seg_core.evaluation.metrics import unchanged
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.faults.kinds import Fault
from any2seg_core.runtime.predictor import Segmentation
from any2seg_core.vocabulary.labels import LabelSpace, is_labelled

_SAME_CODES = 8  # of 255: what the noise of a sensor changes
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

    Flicker is what changes without a reason: of the pixels whose truth is the same in both frames, those with another
    label. Without a truth, of those where no plane of a sensor that both frames have differs by more than 8 of 255.

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
        self._seen_before: _Seen = None, {}

    def empty(self) -> dict[str, SubsetScore]:
        """A zero score for every subset."""
        return {name: SubsetScore.of(self._space) for name in self._names}

    def score(
        self,
        results: dict[str, Segmentation | None],
        full: Segmentation,
        truth: np.ndarray | None,
        planes: Mapping[str, np.ndarray],
    ) -> dict[str, SubsetScore]:
        """Scores of this frame alone, to be merged where they belong.

        Args:
            results: per subset its segmentation, None when none of its sensors was there.
            full: of all sensors that were there. truth: (H, W) uint8 train ids at the size of the labels, or None.
            planes: of these sensors, (H, W, 3) uint8.
        """
        scores = self.empty()
        steady, self._seen_before = _steady(self._seen_before, (truth, planes)), (truth, planes)
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
            self._follow(name, result, score, steady)
        return scores

    def missed(self, pixels: np.ndarray | None) -> dict[str, SubsetScore]:
        """Scores of a moment without any labels: every subset misses all of it.

        Args:
            pixels: (K,) int64 pixels of each class in the truth, or None without a truth.
        """
        self._before.clear()
        self._seen_before = None, {}
        scores = self.empty()
        for score in scores.values():
            score.add_missed(pixels)
        return scores

    def _follow(self, name: str, result: Segmentation | None, score: SubsetScore, steady: np.ndarray | None) -> None:
        """Count what has changed since the frame before; steady: (H, W) bool, where nothing was to."""
        before = self._before.pop(name, None)
        score.changed = score.followed = score.flickering = score.steady = 0
        if result is None:
            return
        self._before[name] = result.labels
        if before is None or before.shape != result.labels.shape:
            return
        changed = before != result.labels
        score.changed, score.followed = int(np.count_nonzero(changed)), changed.size
        if steady is not None and steady.shape == changed.shape:
            score.flickering, score.steady = int(np.count_nonzero(changed & steady)), int(np.count_nonzero(steady))


_Seen = tuple[np.ndarray | None, Mapping[str, np.ndarray]]


def _steady(before: _Seen, now: _Seen) -> np.ndarray | None:
    """(H, W) bool, pixels that show the same in two frames (truth, planes); None where that cannot be said."""
    if before[0] is not None and now[0] is not None:
        is_same = before[0].shape == now[0].shape
        return (before[0] == now[0]) & is_labelled(now[0]) if is_same else None
    names = [name for name in now[1] if name in before[1] and before[1][name].shape == now[1][name].shape]
    if not names or (before[0] is None) != (now[0] is None):
        return None
    differences = [cv2.absdiff(before[1][name], now[1][name]).max(axis=2) for name in names]
    return np.asarray(np.max(differences, axis=0) <= _SAME_CODES)
