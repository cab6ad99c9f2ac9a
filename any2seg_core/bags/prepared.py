"""Sets of a recording made ready for the model: decoded and projected, which a thread can do ahead of inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from any2seg_core.bags.reader import Recorded
from any2seg_core.bags.sets import BagSet, SetStream
from any2seg_core.bags.truth import truth_labels
from any2seg_core.errors import MessageError
from any2seg_core.frames import Frame
from any2seg_core.modalities import MODALITIES
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.sync import SampleSet
from any2seg_core.topics import TopicMap


@dataclass(frozen=True)
class PreparedSet:
    """One set, or the end of the recording.

    Attributes:
        time_ns: the bag's time. passed: messages that came since the set before, in order, where they are wanted.
        sample_set, frame: as the node has them; None at the end and for sets that are skipped.
        rig, size, frame_id: geometry, (H, W) and frame of the labels. truth: (H, W) uint8 train ids.
    """

    time_ns: int
    passed: tuple[Recorded, ...] = ()
    sample_set: SampleSet | None = None
    frame: Frame | None = None
    rig: SensorRig | None = None
    size: tuple[int, int] | None = None
    frame_id: str = ""
    truth: np.ndarray | None = None


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


def prepared_sets(stream: SetStream, passed: Passed, topics: TopicMap, every: int) -> Iterator[PreparedSet]:
    """Decode and project the sets of a stream; at the end one without a set, with the messages that came last.

    Args:
        passed: what the stream reads. every: prepare each n-th set only.
    """
    for index, bag_set in enumerate(stream):
        if index % every:
            yield PreparedSet(bag_set.time_ns, passed.take())
        else:
            yield _prepare(bag_set, passed.take(), topics)
    yield PreparedSet(stream.time_ns or 0, passed.take())


def _prepare(bag_set: BagSet, passed: tuple[Recorded, ...], topics: TopicMap) -> PreparedSet:
    frame, rig = bag_set.frame(), bag_set.frames.rig
    camera = rig.camera() if rig is not None else None
    size = (camera.height, camera.width) if camera is not None else None
    truth = None if bag_set.truth is None else truth_labels(bag_set.truth, topics.truth)
    frame_id = camera.frame_id if camera is not None else ""
    if MODALITIES[0] in bag_set.sample_set.samples:
        frame_id = _frame_id(bag_set.payloads[MODALITIES[0]][0], frame_id)
    return PreparedSet(bag_set.time_ns, passed, bag_set.sample_set, frame, rig, size, frame_id, truth)


def _frame_id(message: Any, otherwise: str) -> str:
    try:
        return str(message.header.frame_id)
    except MessageError:
        return otherwise
