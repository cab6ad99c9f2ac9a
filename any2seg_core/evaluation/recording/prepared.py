"""Sets of a recording made ready for the model: decoded and projected, which a thread can do ahead of inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from any2seg_core.bags.reader import Recorded
from any2seg_core.bags.sets import BagSet
from any2seg_core.base.errors import MessageError
from any2seg_core.data.recording_truth import Truth
from any2seg_core.evaluation.recording.silence import MissedFrame, SilenceWatch
from any2seg_core.evaluation.recording.truth_tally import ReadTruth
from any2seg_core.runtime.frame_builder import Frame
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.sync import SampleSet
from any2seg_core.vocabulary.modalities import RGB


@dataclass(frozen=True)
class PreparedSet:
    """One set, a moment that has none, or the end of the recording.

    Attributes:
        time_ns: the bag's time. passed: messages that came since the set before, in order, where they are wanted.
        sample_set, frame: as the node has them; None at the end, for what is skipped, and where there was no set.
        missed_ns: stamp at which a set was due and none came; None for all else.
        rig, size, frame_id: geometry, (H, W) and frame of the labels. truth: of sets and missed moments, if known.
    """

    time_ns: int
    passed: tuple[Recorded, ...] = ()
    sample_set: SampleSet | None = None
    frame: Frame | None = None
    missed_ns: int | None = None
    rig: SensorRig | None = None
    size: tuple[int, int] | None = None
    frame_id: str = ""
    truth: ReadTruth | None = None


class Passed:
    """Messages on their way to the synchroniser, remembered until somebody takes them if `is_kept`."""

    def __init__(self, messages: Iterable[Recorded], is_kept: bool) -> None:
        self._messages, self._is_kept = messages, is_kept
        self._passed: list[Recorded] = []

    def __iter__(self) -> Iterator[Recorded]:
        for message in self._messages:
            if self._is_kept:
                self._passed.append(message)
            yield message

    def take(self) -> tuple[Recorded, ...]:
        """What passed since the last call."""
        passed, self._passed = tuple(self._passed), []
        return passed


def prepared_sets(
    sets: Iterable[BagSet], passed: Passed, watch: SilenceWatch, every: int, num_classes: int
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
            yield PreparedSet(time_ns, passed.take())
        elif isinstance(found, MissedFrame):
            truth = _read(found.truth, num_classes, is_compared=False)
            yield PreparedSet(time_ns, passed.take(), missed_ns=found.stamp_ns, truth=truth)
        else:
            truth = _read(watch.truth_of(found), num_classes, is_compared=True)
            yield _prepare(found, passed.take(), truth)
    yield PreparedSet(time_ns, passed.take())


def _read(truth: Truth | None, num_classes: int, is_compared: bool) -> ReadTruth | None:
    if truth is None:
        return None
    labels = truth.labels(num_classes) if is_compared else None
    return ReadTruth(labels, truth.pixels(num_classes), truth.shape, truth.problem)


def _prepare(bag_set: BagSet, passed: tuple[Recorded, ...], truth: ReadTruth | None) -> PreparedSet:
    frame, rig = bag_set.frame(), bag_set.frames.rig
    camera = rig.camera() if rig is not None else None
    size = (camera.height, camera.width) if camera is not None else None
    frame_id = bag_set.frames.camera_frame if camera is not None else ""
    if RGB in bag_set.sample_set.samples:
        frame_id = _frame_id(bag_set.payloads[RGB][0], frame_id)
    return PreparedSet(bag_set.time_ns, passed, bag_set.sample_set, frame, None, rig, size, frame_id, truth)


def _frame_id(message: Any, otherwise: str) -> str:
    try:
        return str(message.header.frame_id)
    except MessageError:
        return otherwise
