"""Sets of a recording made ready for the model: decoded and projected, which a thread can do ahead of inference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from any2seg_core.bags.reader import Recorded
from any2seg_core.bags.sets import BagSet
from any2seg_core.data.recording_truth import Truth
from any2seg_core.evaluation.recording.silence import ExpectedOutputMonitor, MissedOutput
from any2seg_core.evaluation.recording.truth_tally import ReadTruth
from any2seg_core.messages.transforms import WorldPose
from any2seg_core.runtime.frame import Frame
from any2seg_core.sync import SampleSet


@dataclass(frozen=True)
class PreparedSet:
    """One set, a moment that has none, or the end of the recording.

    Attributes:
        time_ns: log time. passed: messages that came since the set before, in order, where they are wanted.
        sample_set, frame: as the node has them; None at the end and where there was no set.
        is_skipped: `every` leaves it out, so that its frame is None: what it had is known, not whether it was usable.
        missed_ns: stamp at which a set was due and none came; None for all else.
        truth: of sets and missed moments, if known. pose: of the camera, see `BagSet`.
    """

    time_ns: int
    passed: tuple[Recorded, ...] = ()
    sample_set: SampleSet | None = None
    frame: Frame | None = None
    is_skipped: bool = False
    missed_ns: int | None = None
    truth: ReadTruth | None = None
    pose: WorldPose | None = None


class RecordingTap:
    """Messages on their way to the synchroniser, those of `kept` topics remembered until somebody takes them."""

    def __init__(self, messages: Iterable[Recorded], kept: Collection[str] = ()) -> None:
        self._messages, self._kept = messages, frozenset(kept)
        self._passed: list[Recorded] = []

    def __iter__(self) -> Iterator[Recorded]:
        for message in self._messages:
            if message.topic in self._kept:
                self._passed.append(message)
            yield message

    def take(self) -> tuple[Recorded, ...]:
        """What passed since the last call."""
        passed, self._passed = tuple(self._passed), []
        return passed


def prepared_sets(
    sets: Iterable[BagSet], passed: RecordingTap, watch: ExpectedOutputMonitor, every: int, num_classes: int
) -> Iterator[PreparedSet]:
    """Decode and project the sets of a stream; at the end one without a set, with the messages that came last.

    Args:
        passed: what the stream reads. watch: sees the messages before the stream.
        every: prepare each n-th set only, moments that have none being counted as sets. num_classes: K of the labels.
    """
    time_ns = 0
    for index, found in enumerate(watch.frames(sets)):
        time_ns = found.time_ns
        if index % every:
            skipped = None if isinstance(found, MissedOutput) else found.sample_set
            yield PreparedSet(time_ns, passed.take(), skipped, is_skipped=True)
        elif isinstance(found, MissedOutput):
            truth = _read(found.truth, num_classes, is_compared=False)
            yield PreparedSet(time_ns, passed.take(), missed_ns=found.stamp_ns, truth=truth)
        else:
            truth = _read(watch.truth_of(found), num_classes, is_compared=True)
            frame = found.frame()
            yield PreparedSet(time_ns, passed.take(), found.sample_set, frame, truth=truth, pose=found.pose)
    yield PreparedSet(time_ns, passed.take())


def _read(truth: Truth | None, num_classes: int, is_compared: bool) -> ReadTruth | None:
    if truth is None:
        return None
    labels = truth.labels(num_classes) if is_compared else None
    return ReadTruth(labels, truth.pixels(num_classes), truth.shape, truth.problem)
