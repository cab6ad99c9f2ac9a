"""What is saved where a slow sensor is encoded once for several sets?

    OMP_NUM_THREADS=1 python benchmarks/reuse.py [CHECKPOINT]

A camera at 30 Hz, depth, LiDAR and event camera at 10 Hz; from messages to labels, with and without what the sets
before have left, in turns. The event camera sends pictures, which are one for three sets, or events of which each set
has a window of its own. Labels must be equal in every pixel.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from any2seg_core.base.turns import ratio
from any2seg_core.bench import scene
from any2seg_core.messages.event_stream import Events
from any2seg_core.messages.images import array_to_image_fields
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sync import Sample, SampleSet, StreamConfig, SyncConfig

SETS, SLOW, PERIOD_NS, TURNS = 12, 3, 33_333_333, 5
WIDTH = HEIGHT = 256


def _stamped(message: SimpleNamespace, stamp_ns: int) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(**(vars(message) | {"header": SimpleNamespace(frame_id="", stamp=stamp)}))


def stream(has_event_pictures: bool) -> list[SampleSet]:
    """Sets of four messages; each message of a slow sensor is in three of them."""
    view, rng = scene.camera(WIDTH, HEIGHT), np.random.default_rng(0)
    sets: list[SampleSet] = []
    newest: dict[str, Any] = {}
    for number in range(SETS):
        stamp_ns = scene.STAMP_NS + number * PERIOD_NS
        fresh = scene.messages(view, 20_000, 20_000, rng)
        if has_event_pictures:
            dots = np.where(rng.random((HEIGHT, WIDTH, 1)) < 0.1, np.array([255, 0, 0], np.uint8), np.uint8(0))
            fresh["event"] = SimpleNamespace(**array_to_image_fields(dots, "rgb8"))
        else:  # spread over the next sets, so that each has some of them in its window
            taken = scene.events(20_000, view, rng)
            taken["t"] += number * PERIOD_NS + np.sort(rng.integers(0, SLOW * PERIOD_NS, len(taken)))
            fresh["event"] = Events(None, taken)
        for name in fresh if number % SLOW == 0 else ("rgb",):
            newest[name] = fresh[name] if isinstance(fresh[name], Events) else _stamped(fresh[name], stamp_ns)
        samples: dict[str, tuple[Sample, ...]] = {
            name: (Sample(stamp_ns, stamp_ns, message),) for name, message in newest.items()
        }
        sets.append(SampleSet(stamp_ns, "rgb", samples, {}, dict.fromkeys(samples, 0)))
    return sets


def labels_of(
    sets: list[SampleSet], frames: FrameBuilder, segmenter: SetSegmenter, keeps: bool
) -> tuple[list[np.ndarray], float]:
    """Labels of all sets, and the processor time that they took, seconds."""
    found: list[Any] = []
    start_s = time.process_time()
    for each in sets:
        if not keeps:
            frames.reset()
            segmenter.features.reset()
        messages: dict[str, list[Any]] = {}
        for name, samples in each.samples.items():
            messages[name] = [sample.payload for sample in samples]
        frame = frames.build(messages, each.stamp_ns)
        assert len(frame.planes) == len(messages), frame.errors
        found.append(segmenter.segment(each, frame, each.stamp_ns).segmentation.labels)
    return found, time.process_time() - start_s


def main() -> None:
    predictor = Predictor.load(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    names = predictor.contract.modalities
    segmenter = SetSegmenter(predictor, SyncConfig({name: StreamConfig() for name in names}, names))
    calibration = scene.calibration(scene.camera(WIDTH, HEIGHT))
    # Nobody freezes here; and for the health checks a message that comes again is no news either way.
    frames = FrameBuilder(calibration, options=InputOptions(health=HealthConfig(enabled=False)))
    for title, has_pictures in (("pictures of events", True), ("windows of events", False)):
        sets = stream(has_pictures)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(1 + TURNS):
            labels = {}
            for keeps in (True, False):
                labels[keeps], taken_s = labels_of(sets, frames, segmenter, keeps)
                if turn:
                    seconds[keeps].append(taken_s / SETS)
            assert all(map(np.array_equal, labels[True], labels[False])), "labels differ"
        with_s, without_s = seconds[True], seconds[False]
        times = f"{1e3 * statistics.median(with_s):.1f} instead of {1e3 * statistics.median(without_s):.1f} ms"
        print(f"{title:20} {ratio(with_s, without_s)} of the time without, {times} per set; labels equal")


if __name__ == "__main__":
    main()
