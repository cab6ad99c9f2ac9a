"""Reliability of the sensors over a recording: per set for its line, and as a whole for the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from any2seg_core.evaluation.scores import rounded
from any2seg_core.runtime.reliability import Reliability


class ReliabilityTally:
    """Adds up the scores of one recording."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._lowest: dict[str, tuple[float, str, float]] = {}

    def take(self, time_s: float, found: Mapping[str, Reliability]) -> dict[str, Any]:
        """Scores after a set, as plain JSON types: sensor -> score and parts.

        Args:
            time_s: from the start of the recording. found: the scores.
        """
        for name, each in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + each.score
            self._counts[name] = self._counts.get(name, 0) + 1
            if name not in self._lowest or each.score < self._lowest[name][0]:
                self._lowest[name] = (each.score, min(each.parts, key=each.parts.__getitem__), time_s)
        return {
            name: {"score": rounded(each.score), "parts": {part: rounded(share) for part, share in each.parts.items()}}
            for name, each in found.items()
        }

    def document(self) -> dict[str, Any]:
        """Per sensor that was seen: mean and lowest score, when it was lowest and which part made it so."""
        return {
            name: {
                "mean": rounded(self._sums[name] / self._counts[name]),
                "min": rounded(score),
                "min_at_s": rounded(time_s),
                "min_part": part,
                "frames": self._counts[name],
            }
            for name, (score, part, time_s) in self._lowest.items()
        }
