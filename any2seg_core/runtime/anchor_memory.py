"""Memory of a video stream: the fused features of the previous set are the anchor of the next, f_ma^{t-1} of MFF."""

from __future__ import annotations

from torch import Tensor

from any2seg_core.base.finite import all_finite
from any2seg_core.base.units import NS_PER_S
from any2seg_core.models import Encoded


class AnchorMemory:
    """Keeps f_ma of the last set of one stream, detached, and forgets it where it would mislead.

    Only of levels at which every sensor has features of its own: with early MFF the others follow from these.

    Args:
        max_gap_s: after a longer gap the past is forgotten.
    """

    def __init__(self, max_gap_s: float = 0.5) -> None:
        self.max_gap_ns = round(max_gap_s * NS_PER_S)
        self._fused: list[Tensor] | None = None
        self._stamp_ns = 0

    def anchor(self, encoded: Encoded, stamp_ns: int) -> list[Tensor] | None:
        """What to fuse this set with; None after a jump back in time, a gap, or a change of size or device."""
        if self._fused is None:
            return None
        fits = all(
            (old.shape[0], *old.shape[1:]) == (new.shape[0], *new.shape[2:]) and old.device == new.device
            for old, new in zip(self._fused, encoded.levels, strict=True)
        )
        if not fits or not 0 <= stamp_ns - self._stamp_ns <= self.max_gap_ns:
            self.reset()
        return self._fused

    def keep(self, fused: list[Tensor], stamp_ns: int) -> None:
        """Remember the result of this set; forget all where it is not finite, so that the next set is sound again."""
        is_sound = all(all_finite(level) for level in fused)
        self._fused = [level.detach() for level in fused] if is_sound else None
        self._stamp_ns = stamp_ns

    def reset(self) -> None:
        """Forget the past: the next set is fused as if it were the first."""
        self._fused = None
