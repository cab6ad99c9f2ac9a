"""LogitFilter: the logits of a set, averaged with those of the sets before it wherever these show the same place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from any2seg_core.base.units import NS_PER_S
from any2seg_core.runtime.camera_motion import View, picture_motion

POSED_CONSTANT_S = 0.3
"""In which what is remembered loses all but 1/e of its weight, where the poses of the camera are known."""
UNPOSED_CONSTANT_S = 0.1
"""The same where they are not."""
LONGEST_GAP_S = 0.5
"""After a longer one the past is forgotten."""


@dataclass(frozen=True)
class _Past:
    """Mean logits (h, w, K) float32, the confidence in them (h, w) float32, when they are of and what was seen then."""

    logits: np.ndarray
    confidence: np.ndarray
    stamp_ns: int
    view: View


class LogitFilter:
    """A recursive filter on the logits of one output.

    The new logits count with their confidence c, the softmax of the winning class, and the mean of those before with
    its own confidence c' times exp(-gap / constant):

        gain = c / (c + c' exp(-gap / constant)),  mean = gain * new + (1 - gain) * mean before

    The mean before is moved as the picture has moved, and counts only where the distance that is measured there shows
    the same place; see `picture_motion`. All is forgotten after a gap, a jump back in time, another size, logits that
    are not finite, and a set in which nothing measures distance: nobody knows then whether the picture has moved.
    """

    def __init__(self) -> None:
        self._past: _Past | None = None

    def filtered(self, logits: np.ndarray, stamp_ns: int, view: View | None, temperature: float = 1.0) -> np.ndarray:
        """The mean that counts now, and that the next set continues.

        Args:
            logits: (K, h, w) float32 of this set. stamp_ns: of this set.
            view: what it knows of the scene, on cells (h, w); None where nothing measures distance.
            temperature: what logits are divided by before their softmax is a confidence; of other sensors another.

        Returns:
            (K, h, w) float32; the logits themselves where there is nothing to continue.
        """
        past, self._past = self._past, None
        if view is None or not np.isfinite(logits).all():
            return logits
        new = np.ascontiguousarray(logits.transpose(1, 2, 0)) / np.float32(temperature)  # (h, w, K)
        confidence = _confidence(new)
        gap_ns = 0 if past is None else stamp_ns - past.stamp_ns
        is_continued = past is not None and past.logits.shape == new.shape and 0 <= gap_ns <= LONGEST_GAP_S * NS_PER_S
        if past is not None and is_continued:
            constant_s = UNPOSED_CONSTANT_S if view.to_earlier(past.view) is None else POSED_CONSTANT_S
            kept = np.float32(math.exp(-gap_ns / NS_PER_S / constant_s))
            motion = picture_motion(view, past.view)
            weight = kept * motion.moved(past.confidence[..., None])[..., 0] * motion.is_same
            gain = confidence / (confidence + weight)  # (h, w), 0..1
            before = motion.moved(past.logits)
            new = before + gain[..., None] * (new - before)
            confidence = _confidence(new)
        self._past = _Past(new, confidence, stamp_ns, view)
        return new.transpose(2, 0, 1) * np.float32(temperature) if is_continued else logits


def _confidence(logits: np.ndarray) -> np.ndarray:
    """(h, w, K) -> (h, w), softmax of the winning class."""
    below = logits - logits.max(axis=2, keepdims=True)
    return 1.0 / np.exp(below).sum(axis=2)
