"""How unlike training the sensors of a recording are: per frame for its line, and as a whole for the summary."""

from __future__ import annotations

from collections.abc import Mapping

from any2seg_core.evaluation.scores import percent, rounded


class NoveltyTally:
    """Counts the frames of one recording in which a sensor is unlike training."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._frames: dict[str, int] = {}
        self._flagged: dict[str, int] = {}
        self._highest: dict[str, tuple[float, float]] = {}

    def take(self, time_s: float, found: Mapping[str, float]) -> dict[str, float | None]:
        """`Segmentation.novelty` of a frame, as plain JSON types; time_s: from the start of the recording."""
        for name, score in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + score
            self._frames[name] = self._frames.get(name, 0) + 1
            self._flagged[name] = self._flagged.get(name, 0) + (score > 1.0)
            self._highest[name] = max(self._highest.get(name, (-1.0, 0.0)), (score, time_s))
        return {name: rounded(score) for name, score in found.items()}

    def document(self) -> dict[str, dict[str, float | None]]:
        """Per sensor: frames, the share of them that is unlike training, mean and highest score, and when that was."""
        return {
            name: {
                "frames": count,
                "unlike_training": percent(self._flagged[name] / count),
                "mean": rounded(self._sums[name] / count),
                "max": rounded(self._highest[name][0]),
                "max_at_s": rounded(self._highest[name][1]),
            }
            for name, count in self._frames.items()
        }
