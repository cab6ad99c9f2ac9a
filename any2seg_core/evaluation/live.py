"""Scores labels against truth while both arrive: memory does not grow with the length of the drive."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.data.recording_truth import on_grid
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore
from any2seg_core.evaluation.tables import summarise
from any2seg_core.sync.association import TRUTH_TOLERANCE_NS, nearest_truth
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

_WAITING = 100


def score_by_stamp(
    labels: np.ndarray, stamp_ns: int, truths: Sequence[tuple[int, np.ndarray]], space: LabelSpace
) -> SubsetScore:
    """Score of one label image against the truth nearest in stamp; without a truth where none is near.

    Args:
        labels: (H, W) uint8 train ids. truths: (stamp_ns, (H', W') uint8 train ids of the same view), by stamp.

    Raises:
        UserError: a truth of another view, or ids of another label space.
    """
    truth = nearest_truth(truths, stamp_ns)
    score = SubsetScore.of(space)
    score.add(labels, None if truth is None else on_grid(truth, labels.shape))
    return score


class LiveScorer:
    """Scores per subset of sensors that was fused.

    A label is judged against the truth nearest in stamp, at most TRUTH_TOLERANCE_NS away, once no nearer one can come.
    When time jumps back, as in a bag that loops, everything that waits is judged with what there is.

    Args:
        space: classes of both.
        suite: sensors that the labels can be made of.

    Attributes:
        labels: labels received. judged: those of them that found a truth. rejected: those of another size or space.
    """

    def __init__(self, space: LabelSpace, suite: SensorSuite = VEHICLE) -> None:
        self._space, self._suite = space, suite
        self._board = Scoreboard(space)
        self._truths: list[tuple[int, np.ndarray]] = []
        self._pending: deque[tuple[int, np.ndarray, str]] = deque(maxlen=_WAITING)
        self.labels = self.judged = self.rejected = 0

    def add_truth(self, stamp_ns: int, truth: np.ndarray) -> None:
        """(H, W) uint8 train ids, 255 = no truth; stamps ascend but for jumps back."""
        if self._truths and stamp_ns < self._truths[-1][0]:
            self.finish()
            self._truths = []
        self._truths = [*self._truths[1 - _WAITING :], (stamp_ns, truth)]
        while self._pending and self._pending[0][0] + TRUTH_TOLERANCE_NS <= stamp_ns:
            self._judge(*self._pending.popleft())

    def add_label(self, stamp_ns: int, labels: np.ndarray, used: Sequence[str]) -> None:
        """(H, W) uint8 train ids and the modalities that were fused for them."""
        self.labels += 1
        if len(self._pending) == _WAITING:
            self._judge(*self._pending.popleft())
        self._pending.append((stamp_ns, labels, self._suite.subset_letters(used)))

    def finish(self) -> None:
        """Judge what still waits for truth."""
        while self._pending:
            self._judge(*self._pending.popleft())

    def summary(self) -> dict[str, Any]:
        """As `evaluation.tables.summarise`, per subset that occurred; UserError when nothing was judged."""
        if not self._board.total:
            raise UserError(
                f"nothing to score: {self.labels} labels, {len(self._truths)} truth images waiting, {self.rejected} "
                f"of another size or label space; truth must be within {TRUTH_TOLERANCE_NS // 10**6} ms",
                "truth-missing",
            )
        ordered = dict(sorted(self._board.total.items(), key=lambda entry: (-len(entry[0]), entry[0])))
        counts = {"labels": self.labels, "judged": self.judged, "rejected": self.rejected}
        return summarise(ordered, self._space, self.judged, protocol="live") | counts

    def _judge(self, stamp_ns: int, labels: np.ndarray, letters: str) -> None:
        try:
            score = score_by_stamp(labels, stamp_ns, self._truths, self._space)
        except UserError:
            self.rejected += 1
            return
        if score.with_truth:
            self._board.add({letters: score})
            self.judged += 1
