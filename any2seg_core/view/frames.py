"""What is known of a drive over time, frame by frame: of an evaluation in a store, or of a survey that goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from any2seg_core.bags.opened import OpenBag
from any2seg_core.bags.timing import clock_offset_ns
from any2seg_core.base.units import NS_PER_S
from any2seg_core.evaluation.recording.video import set_rate_hz
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.view.moments import segmented_set

_JUDGED = 150  # sets of a survey that are labelled, spread over the recording
_SILENT_PERIODS, _SILENT_S = 2.5, 0.5


@dataclass(frozen=True)
class DriveFrame:
    """One set of a drive, or a moment at which one was due and none came.

    Attributes:
        time_s: of its stamp, after the start of the recording.
        used: sensors that were fused. samples: those that it has messages of.
        confidence: mean over the pixels, 0..1, NaN where it was not labelled.
        reliability: sensor -> 0..1. is_judged: it was decoded, so that `used` is known.
        position: longitude and latitude in degrees if it `is_on_earth`, else x and y in metres; None where not known.
        missing: "sensor: reason".
    """

    time_s: float
    used: tuple[str, ...]
    samples: tuple[str, ...]
    confidence: float = math.nan
    reliability: Mapping[str, float] = field(default_factory=dict)
    is_judged: bool = True
    position: tuple[float, float] | None = None
    is_on_earth: bool = False
    missing: tuple[str, ...] = ()


def survey(opened: OpenBag, predictor: Predictor | None) -> Iterator[DriveFrame]:
    """One pass over an open recording: which sensors are there in every set, and labels of some of the sets."""
    bag, sensors = opened.bag, opened.modalities
    start_ns, end_ns = bag.start_ns or 0, bag.end_ns or 0
    window_ns = DEFAULT_WINDOW_NS if predictor is None else predictor.contract.event_window_ns
    segmenter = None if predictor is None else SetSegmenter(predictor, opened.sync_config(window_ns))
    rate_hz = set_rate_hz(opened, sensors, every=1)
    every = max(1, round(rate_hz * (end_ns - start_ns) / NS_PER_S / _JUDGED))
    longest_s = max(_SILENT_PERIODS / rate_hz, _SILENT_S)
    offset_ns, last_s = None, 0.0
    for number, found in enumerate(opened.sets(window_ns)):
        if offset_ns is None:
            offset_ns = clock_offset_ns(found.stamp_ns, start_ns, end_ns)
        time_s = max((found.stamp_ns + offset_ns - start_ns) / NS_PER_S, 0.0)
        if time_s - last_s > longest_s:
            yield DriveFrame(last_s + 1 / rate_hz, (), ())
        last_s = time_s
        samples = opened.suite.canonical(found.sample_set.samples)
        if segmenter is None or number % every:
            yield DriveFrame(time_s, samples, samples, is_judged=False)
            continue
        frame = found.frame()
        missing = tuple(f"{name}: {why}" for name, why in {**found.sample_set.missing, **frame.reasons}.items())
        segmented = segmented_set(segmenter, found, frame)
        if segmented is None:
            yield DriveFrame(time_s, (), samples, missing=missing)
            continue
        confidence = segmented.segmentation.confidence
        assert confidence is not None  # it was asked for
        yield DriveFrame(
            time_s, segmented.segmentation.used, samples, float(confidence.mean()),
            {name: each.score for name, each in segmented.reliability.items()}, missing=missing,
        )  # fmt: skip
