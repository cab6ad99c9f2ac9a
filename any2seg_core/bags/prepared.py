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
from any2seg_core.frames import Frame, FrameBuilder
from any2seg_core.modalities import MODALITIES
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.sync import SampleSet, SyncConfig
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


def prepared_sets(
    messages: Iterable[Recorded],
    topics: TopicMap,
    sync: SyncConfig,
    frames: FrameBuilder,
    every: int,
    keep_passed: bool,
) -> Iterator[PreparedSet]:
    """Synchronise, decode and project.

    Args:
        messages: as they arrive. every: prepare each n-th set only. keep_passed: hand the messages on beside the sets.
    """
    passed: list[Recorded] = []

    def tapped() -> Iterator[Recorded]:
        for message in messages:
            if keep_passed:
                passed.append(message)
            yield message

    stream = SetStream(tapped(), topics, sync, frames)
    for index, bag_set in enumerate(stream):
        came = tuple(passed)
        passed.clear()
        if index % every:
            yield PreparedSet(bag_set.time_ns, came)
        else:
            yield _prepare(bag_set, came, topics)
    yield PreparedSet(stream.time_ns or 0, tuple(passed))


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
