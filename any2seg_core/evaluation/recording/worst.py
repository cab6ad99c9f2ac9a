"""The frames of a recording that are worth a look: a handful, whatever its length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from any2seg_core.evaluation.frame_views import FrameView
from any2seg_core.runtime.predictor import Segmentation

_KEPT = 6
_APART_S = 1.0


class _Kept(NamedTuple):
    """badness: 1 - mIoU with truth, 1 - mean confidence without."""

    time_s: float
    badness: float
    view: FrameView


class WorstFrames:
    """Keeps the worst frames, at least a second apart; memory is that of `_KEPT` frames."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    def offer(
        self, time_s: float, result: Segmentation, planes: dict[str, np.ndarray], truth: np.ndarray | None, miou: float
    ) -> None:
        """Look at a frame; (H, W) uint8 truth of the size of its labels and mIoU 0..1 against it, or None and NaN."""
        assert result.confidence is not None  # every set of a recording is segmented with it
        confidence = float(result.confidence.mean(dtype=np.float64))
        badness, note = 1.0 - confidence, f"mean confidence {100 * confidence:.0f} %"
        if truth is not None:
            badness, note = 1.0 - miou, f"mIoU {100 * miou:.0f} %, {note}"
        if np.isnan(badness):
            return
        near = next((kept for kept in self._kept if abs(kept.time_s - time_s) < _APART_S), None)
        if near is not None and near.badness >= badness:
            return
        if near is None and len(self._kept) == _KEPT and self._kept[-1].badness >= badness:
            return
        self._kept = [kept for kept in self._kept if kept is not near]
        view = FrameView(f"{time_s:.1f} s", note, planes, result.labels, truth)
        self._kept.append(_Kept(time_s, badness, view))
        self._kept.sort(key=lambda kept: -kept.badness)
        del self._kept[_KEPT:]

    def frames(self) -> list[FrameView]:
        """The worst first."""
        return [kept.view for kept in self._kept]
