"""One frame in memory: planes and labels on one grid, and what teachers have said of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Word(NamedTuple):
    """What a teacher has said of a frame beforehand.

    Attributes:
        values: (K, h, w) float32, probabilities of any size; or (H, W) uint8 train ids on the grid of the frame, 255
            for none.
        classes: K. weight: of the teacher among others.
    """

    values: np.ndarray
    classes: int
    weight: float = 1.0


class Sample(NamedTuple):
    """One frame in memory.

    Attributes:
        planes: per modality that this frame has, canonical order, (H, W, 3) uint8, or float32 on the same scale (255 =
            full) where the files are finer than 8 bits; rgb in RGB order. Never empty. In a recording sensors fail: its
            frames may have fewer modalities than the data set.
        labels: (H, W) uint8 train ids, 255 ignored; 254 unlabelled, where no label was looked for or kept.
        frame: where it came from; has a ``name`` that is unique within the split.
        said: what teachers have said of it beforehand, beside its labels.
    """

    planes: dict[str, np.ndarray]
    labels: np.ndarray
    frame: Any
    said: tuple[Word, ...] = ()
