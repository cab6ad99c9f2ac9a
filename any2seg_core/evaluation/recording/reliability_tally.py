"""Reliability of the sensors over a recording: per set for its line, and as a whole for the summary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from any2seg_core.evaluation.recording.scores import rounded
from any2seg_core.runtime.frame_builder import Frame
from any2seg_core.runtime.reliability import Observation, ReliabilityMonitor, observations
from any2seg_core.sync import SampleSet, SyncConfig


class ReliabilityTally:
    """Follows one recording with the monitor that the node has.

    Args:
        config: of the synchroniser.
    """

    def __init__(self, config: SyncConfig) -> None:
        self._monitor = ReliabilityMonitor.of(config)
        self._known: set[str] = set()
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._lowest: dict[str, tuple[float, str, float]] = {}

    def turn(self, used: Iterable[str]) -> str | None:
        """The sensor whose turn it is to be compared, see `ReliabilityMonitor.turn`."""
        return self._monitor.turn(used)

    def take(
        self,
        time_ns: int,
        time_s: float,
        sample_set: SampleSet | None,
        frame: Frame | None,
        compared: str | None = None,
        agreement: float | None = None,
    ) -> dict[str, Any]:
        """Scores after a set, as plain JSON types: sensor -> score and parts.

        Args:
            time_ns: the bag's time. time_s: the same from the start of the recording.
            sample_set, frame: None for a moment at which a set was due and none came.
        """
        if sample_set is None or frame is None:
            seen = {name: Observation(False) for name in self._known}
        else:
            seen = observations(sample_set, frame, compared, agreement)
        found = self._monitor.update(time_ns, seen)
        self._known = set(found)
        for name, each in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + each.score
            self._counts[name] = self._counts.get(name, 0) + 1
            if name not in self._lowest or each.score < self._lowest[name][0]:
                self._lowest[name] = (each.score, min(each.parts, key=each.parts.get), time_s)
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
