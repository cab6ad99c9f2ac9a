"""Truths as they were read: one that cannot be used costs its own frame, and is counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.data.recording_truth import on_grid

_MOST_UNREADABLE = 10  # unusable truths and not one usable: the rest will not be better


@dataclass(frozen=True)
class ReadTruth:
    """Truth of one moment: (H, W) uint8 train ids, or their counts alone, or why it cannot be read.

    Attributes:
        labels: None where `problem` says why, or where nobody will compare them pixel by pixel.
        pixels: (K,) int64 pixels of each class. shape: (H, W).
    """

    labels: np.ndarray | None = None
    pixels: np.ndarray | None = None
    shape: tuple[int, int] | None = None
    problem: str = ""


def _on_grid(read: ReadTruth, shape: tuple[int, int]) -> ReadTruth:
    """The same truth for labels of `shape` (H, W): pixels count as large as those of the labels."""
    if read.shape == shape or read.shape is None or read.pixels is None:
        return read
    if read.labels is None:
        on_grid(np.broadcast_to(np.uint8(0), read.shape), shape)
        share = shape[0] * shape[1] / (read.shape[0] * read.shape[1])
        return replace(read, pixels=np.rint(read.pixels * share).astype(np.int64), shape=shape)
    labels = on_grid(read.labels, shape)
    return ReadTruth(labels, np.bincount(labels.ravel(), minlength=256)[: len(read.pixels)], shape)


class TruthTally:
    """Truths that can be used; those that cannot are counted.

    Args:
        name: topic or folder.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._good = self._bad = 0
        self._first = ""
        self._shape: tuple[int, int] | None = None

    def take(self, read: ReadTruth | None, shape: tuple[int, int] | None, time_s: float) -> ReadTruth | None:
        """The truth of a frame, None when it cannot be used.

        Args:
            shape: (H, W) of the frame's labels; None: it has none, those before it say how large truth must be.

        Raises:
            UserError: not one of many could be used.
        """
        self._shape = shape or self._shape
        if read is None:
            return None
        problem = read.problem
        if not problem:
            try:
                found = read if self._shape is None else _on_grid(read, self._shape)
            except UserError as error:
                problem = f"{error}; give truth of the camera's own view"
        if not problem:
            self._good += 1
            return found
        self._bad += 1
        self._first = self._first or f"at {time_s:.2f} s: {problem}"
        if self._bad == _MOST_UNREADABLE:
            self.require()
        return None

    def require(self) -> None:
        """UserError when there was truth, and none of it could be used."""
        if self._bad and not self._good:
            raise UserError(f"truth {self._name}: not one can be used, the first {self._first}", "truth-unusable")

    def warnings(self) -> list[str]:
        """One line where some could not be used."""
        if not self._bad:
            return []
        return [f"truth {self._name}: {self._bad} frames are judged without it, the first {self._first}"]
