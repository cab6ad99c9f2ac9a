"""FeatureMemory: sensors whose plane is the one of the set before are not encoded again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from any2seg_core.base.fixed_arrays import is_fixed


class FeatureMemory:
    """Features of the newest plane of each sensor, for the sets of one stream and one predictor.

    They are used again only for the very same array, which nobody can write to (`fixed`, as the planes of FrameBuilder
    are): nothing is guessed from stamps, so a frozen sensor, a jump in time or another calibration need no rule here.
    Bounded: one entry for each sensor, of the size of the model's features.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[np.ndarray, Any]] = {}
        self._encoded: Counter[str] = Counter()
        self._reused: Counter[str] = Counter()

    def features(
        self, planes: Mapping[str, np.ndarray], encode: Callable[[dict[str, np.ndarray]], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Features of each plane, in their order.

        Args:
            planes: sensor -> plane (H, W, 3). encode: some of them -> the features of each.
        """
        with self._lock:
            kept = {name: self._kept[name][1] for name, plane in planes.items() if self._has(name, plane)}
        new = encode({name: plane for name, plane in planes.items() if name not in kept})
        with self._lock:
            for name, features in new.items():
                self._kept.pop(name, None)
                if is_fixed(planes[name]):
                    self._kept[name] = planes[name], features
            self._encoded.update(new.keys())
            self._reused.update(kept.keys())
        return {name: kept[name] if name in kept else new[name] for name in planes}

    def _has(self, name: str, plane: np.ndarray) -> bool:
        return name in self._kept and self._kept[name][0] is plane and is_fixed(plane)

    def counts(self) -> dict[str, dict[str, int]]:
        """Sensor -> how often it was `encoded`, and how often its features were there already, `reused`."""
        with self._lock:
            names = [*self._encoded, *(name for name in self._reused if name not in self._encoded)]
            return {name: {"encoded": self._encoded[name], "reused": self._reused[name]} for name in names}

    def reset(self) -> None:
        """Free what is kept; counts go on."""
        with self._lock:
            self._kept.clear()
