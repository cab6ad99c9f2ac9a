"""mIoU of frames that are drawn again: how much a figure would change with other frames of the same kind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from any2seg_core.evaluation.policies import Policy
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.vocabulary.labels import LabelSpace

MOST_BLOCKS = 512
"""Of `FrameBlocks`: what a long recording is held in."""


def mean_iou(counts: np.ndarray, policy: Policy, other: int | None = None) -> np.ndarray:
    """(..., K, 3) counts of right, true and predicted pixels -> (...) mIoU in percent; see `ConfusionMatrix.miou`."""
    right, truth, predicted = np.moveaxis(counts.astype(np.float64), -1, 0)  # (..., K) each
    union = truth + predicted - right
    iou = np.divide(right, union, out=np.zeros_like(union), where=union > 0)
    kept = truth > 0 if policy == "present" else np.ones(truth.shape, bool)
    if policy == "without_other" and other is not None:
        kept[..., other] = False
    number = kept.sum(axis=-1)
    total = np.where(kept, iou, 0.0).sum(axis=-1)
    return 100.0 * np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def drawn_blocks(blocks: int, resamples: int, seed: int) -> np.ndarray:
    """(R, blocks): how often each block is in each of R draws of as many blocks with replacement."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1.0 / blocks), resamples)


def drawn_miou(counts: np.ndarray, draws: np.ndarray, policy: Policy, other: int | None = None) -> np.ndarray:
    """mIoU in percent of each draw: (blocks, K, 3) counts, (R, blocks) draws -> (R,)."""
    return mean_iou(np.tensordot(draws, counts.astype(np.float64), axes=1), policy, other)


class FrameBlocks:
    """Counts of the frames of an evaluation, neighbours together where there are many, so that memory stays bounded.

    Neighbours of a recording are alike: drawn one by one they would make a figure look surer than it is.

    Attributes:
        size: frames in a block, but for the last one.
    """

    def __init__(self, space: LabelSpace) -> None:
        self._classes = len(space)
        self.size = 1
        self._in_last = 0
        self._counts: dict[str, list[np.ndarray]] = {}

    def add(self, scores: Mapping[str, SubsetScore]) -> None:
        """Count one frame, by subset letters; each frame has the same subsets. Frames without a truth are passed by."""
        if not all(score.with_truth for score in scores.values()):
            return
        begins = self._in_last % self.size == 0
        for letters, score in scores.items():
            counts = np.stack(score.confusion.class_counts(), axis=-1)  # (K, 3)
            blocks = self._counts.setdefault(letters, [])
            if begins:
                blocks.append(counts)
            else:
                blocks[-1] = blocks[-1] + counts
        self._in_last = 1 if begins else self._in_last + 1
        if self._in_last == self.size and any(len(blocks) == MOST_BLOCKS for blocks in self._counts.values()):
            self.size *= 2
            self._in_last = self.size
            self._counts = {
                letters: [a + b for a, b in zip(blocks[::2], blocks[1::2], strict=True)]
                for letters, blocks in self._counts.items()
            }

    def counts(self) -> dict[str, np.ndarray]:
        """Subset letters -> (blocks, K, 3) int64: right, in the truth, predicted; nothing without a truth."""
        return {letters: np.stack(blocks) for letters, blocks in self._counts.items()}
