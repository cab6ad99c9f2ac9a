"""What became of every message: fused, still on its way, or dropped for a reason. The pipeline's half of the account.

The synchroniser counts what it drops itself; of a message that it put into a set it only knows that. Whether the model
saw the set is known here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from any2seg_core.sync import Sample, SampleSet

FUSED, WAITING = "fused", "waiting"
SET_DROPS: Mapping[str, str] = MappingProxyType({
    "overrun": "its set was replaced by a newer one before the model was free",
    "too_old": "its set, or the label made of it, was older than the limit",
    "idle": "nobody wanted to see the label of its set",
    "failed": "the model failed on its set",
    "disabled": "the node or the sensor was switched off",
})  # fmt: skip
"""Reasons by which messages are dropped around the model, beside those of the synchroniser and those of the content."""


@dataclass(frozen=True)
class Verdict:
    """What became of one set.

    Attributes:
        dropped: key of SET_DROPS when nothing of it was fused; empty: all that is not in `unusable` was.
        unusable: stream -> key of the reason for which the content of its messages could not be used.
        usable: streams whose content was looked at and could be used.
    """

    dropped: str = ""
    unusable: Mapping[str, str] = field(default_factory=dict)
    usable: tuple[str, ...] = ()


class Tracked:
    """A payload on its way, and what became of it so far."""

    __slots__ = ("fate", "payload")

    def __init__(self, payload: Any) -> None:
        self.payload = payload
        self.fate = ""


class Accounts:
    """Counts messages by stream and fate; a message counts once, in however many sets it is.

    Once fused it stays so; of several reasons to drop it the newest counts. Not thread-safe.

    Attributes:
        refused: stream -> messages that never reached the synchroniser.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self._fates: dict[str, Counter[str]] = defaultdict(Counter)

    def fates(self, stream: str) -> Counter[str]:
        """Messages by fate: FUSED, WAITING (in a set that is not decided) or the reason."""
        return +self._fates[stream]

    def refuse(self, stream: str, reason: str) -> None:
        """A message that was dropped before it reached the synchroniser."""
        self.refused[stream] += 1
        self._fates[stream][reason] += 1

    def emitted(self, sample_set: SampleSet) -> None:
        """A set came out of the synchroniser; its payloads are Tracked."""
        for stream, sample in samples_of(sample_set):
            if not sample.payload.fate:
                self._move(stream, sample.payload, WAITING)

    def decided(self, sample_set: SampleSet, verdict: Verdict) -> None:
        """The set was fused or dropped."""
        for stream, sample in samples_of(sample_set):
            if sample.payload.fate != FUSED:
                self._move(stream, sample.payload, verdict.unusable.get(stream) or verdict.dropped or FUSED)

    def _move(self, stream: str, tracked: Tracked, fate: str) -> None:
        if tracked.fate:
            self._fates[stream][tracked.fate] -= 1
        tracked.fate = fate
        self._fates[stream][fate] += 1


def samples_of(sample_set: SampleSet) -> Iterator[tuple[str, Sample]]:
    """Every sample of a set with its stream."""
    for stream, found in sample_set.samples.items():
        for sample in found:
            yield stream, sample


def untracked(sample_set: SampleSet) -> SampleSet:
    """The set with the payloads that its messages came with."""

    def bare(sample: Sample) -> Sample:
        return replace(sample, payload=sample.payload.payload)

    samples = {stream: tuple(map(bare, found)) for stream, found in sample_set.samples.items()}
    return replace(sample_set, samples=samples)
