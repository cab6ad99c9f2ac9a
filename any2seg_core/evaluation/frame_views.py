"""Frames that a report shows: a handful, whatever the length of a recording or data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FrameView:
    """All that can be seen of one frame.

    Attributes:
        title: which frame. note: what is special about it.
        planes: per sensor (H', W', 3) uint8. labels: (H, W) uint8 train ids; truth: the same, or None.
    """

    title: str
    note: str
    planes: dict[str, np.ndarray]
    labels: np.ndarray
    truth: np.ndarray | None
