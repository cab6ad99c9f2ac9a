"""How far an evaluation of several passes is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.settings import Progress


class Stages:
    """Counts frames over all passes, for one progress bar."""

    def __init__(self, frames: int, passes: int, progress: Progress):
        self._done, self._total, self._progress = 0, frames * passes, progress

    def over(self, stage: str, batches: Iterator[EvaluationBatch]) -> Iterator[EvaluationBatch]:
        """The same batches; each is counted when the next one is asked for."""
        self._progress(stage, self._done, self._total)
        for batch in batches:
            yield batch
            self._done += len(batch.indices)
            self._progress(stage, self._done, self._total)

    def each(self, stage: str, indices: Iterable[int]) -> Iterator[int]:
        """The same numbers of frames, counted alike."""
        self._progress(stage, self._done, self._total)
        for index in indices:
            yield index
            self._done += 1
            self._progress(stage, self._done, self._total)
