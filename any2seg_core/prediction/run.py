"""Frames -> labels -> files: reading, inference and writing each in a thread of its own, so that none waits long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from any2seg_core.bags.opened import OpenBag
from any2seg_core.bags.sets import BagSet
from any2seg_core.base.errors import UserError
from any2seg_core.base.prefetch import Prefetched
from any2seg_core.base.units import NS_PER_S
from any2seg_core.base.video import BrokenVideoError
from any2seg_core.prediction.frame import PredictedFrame, PredictionTally
from any2seg_core.prediction.outputs import PredictionFolder
from any2seg_core.prediction.sources import FileFrames
from any2seg_core.runtime.file_set import reasons_of, segment_arrays
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import input_options
from any2seg_core.runtime.predictor import Predictor, Segmentation
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sensors.calibration import Calibration

_AHEAD = 3  # frames that wait between two threads


def predicted_files(
    predictor: Predictor, frames: FileFrames, calibration: Calibration | None, parameters: Mapping[str, Any]
) -> Iterator[PredictedFrame]:
    """Labels of the frames of files, each by itself.

    A frame that shows nothing has no labels, nor has one whose files cannot be used; UserError where this is the first.
    """
    contract = predictor.contract
    options = input_options(parameters, contract.suite)
    builder = FrameBuilder(calibration, contract.event_window_ns, options, contract.suite)
    with Prefetched(frames, _AHEAD) as items:
        for index, item in enumerate(items):
            lines = tuple(f"{name}: {error}" for name, error in item.problems.items())
            if index == 0 and item.problems:
                raise next(iter(item.problems.values()))
            result: Segmentation | None = None
            planes: dict[str, np.ndarray] = {}
            if item.samples:
                try:
                    result, frame = segment_arrays(predictor, item.samples, calibration, parameters, builder)
                except UserError as error:
                    if index == 0 and error.code != "sensor-empty":
                        raise
                    lines = (*lines, str(error))
                else:
                    planes, lines = frame.planes, (*lines, *reasons_of(frame))
            yield PredictedFrame(item.name, item.name, result, planes, lines, len(item.problems))


def predicted_sets(predictor: Predictor, opened: OpenBag, every: int) -> Iterator[PredictedFrame]:
    """Labels of the sets of a recording, as the node would publish them."""
    contract, start_ns = predictor.contract, opened.bag.start_ns or 0
    segmenter = SetSegmenter(predictor, opened.sync_config(contract.event_window_ns))
    with Prefetched(_prepared(opened, contract.event_window_ns, every), _AHEAD) as items:
        for bag_set, frame in items:
            result = None
            if frame.planes:
                pose = bag_set.pose
                result = segmenter.segment(bag_set.sample_set, frame, bag_set.time_ns, pose=pose).segmentation
            caption = f"{(bag_set.time_ns - start_ns) / NS_PER_S:.2f} s"
            yield PredictedFrame(str(frame.stamp_ns), caption, result, frame.planes, tuple(reasons_of(frame)))


def rate_of_bag(opened: OpenBag, every: int) -> float | None:
    """Sets per second that are asked for, by the messages of the sensor that has most pictures; None if unknown."""
    start_ns, end_ns = opened.bag.start_ns, opened.bag.end_ns
    if start_ns is None or end_ns is None or end_ns <= start_ns:
        return None
    count = opened.bag.topics[opened.choice.map.streams[opened.modalities[0]]].count
    return max(0.1, count / every / ((end_ns - start_ns) / NS_PER_S))


def _prepared(opened: OpenBag, event_window_ns: int, every: int) -> Iterator[tuple[BagSet, Frame]]:
    for index, bag_set in enumerate(opened.sets(event_window_ns)):
        if index % every:
            bag_set.notice()
        else:
            yield bag_set, bag_set.frame()


def write_predictions(
    predicted: Iterator[PredictedFrame],
    folder: PredictionFolder,
    classes: int,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[PredictionTally, BrokenVideoError | None]:
    """Write what comes, frame by frame; files that are there stay whatever happens later.

    Returns:
        What came of all frames, and where the source broke off, if it did.

    Raises:
        UserError: a first frame that cannot be used, an output that cannot be written, not one frame with labels.
    """
    tally, broken = PredictionTally(), None
    waiting: list[PredictedFrame] = []  # nothing is written before the first frame with labels
    with Prefetched(predicted, _AHEAD) as results, ExitStack() as opened:
        try:
            for found in results:
                tally.add(found, classes)
                waiting.append(found)
                if tally.labelled == 1 and found.segmentation is not None:
                    opened.enter_context(folder)
                if tally.labelled:
                    for each in waiting:
                        folder.write(each)
                    waiting.clear()
                progress(tally.frames)
        except BrokenVideoError as error:
            broken = error
        if not tally.labelled:
            raise broken or UserError(f"no frame has labels: {'; '.join(tally.reasons) or 'no frame'}", "sensor-empty")
    return tally, broken
