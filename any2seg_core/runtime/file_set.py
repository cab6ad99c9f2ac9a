"""Arrays of sensor files as one set, which takes the road of live messages: `FrameBuilder`, then `SetSegmenter`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.messages.event_stream import Events
from any2seg_core.runtime.decoding import FileArray
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import input_options
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.health import HEALTH_REASONS
from any2seg_core.sync import Sample, SampleSet
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, IMAGE

if TYPE_CHECKING:
    from any2seg_core.runtime.predictor import Predictor, Segmentation


def segment_arrays(
    predictor: Predictor,
    samples: Mapping[str, np.ndarray],
    calibration: Calibration | None = None,
    parameters: Mapping[str, Any] | None = None,
    frames: FrameBuilder | None = None,
) -> tuple[Segmentation, Frame]:
    """Labels of one set of arrays, judged as the node judges messages.

    Args:
        samples: sensor -> array, as `Predictor` takes raw ones; the event window ends with the last event of all.
        calibration: None: only the camera image can be used.
        parameters: of the node, by name; those of inputs and health count.
        frames: builder made of the same, for many sets in a row: its look-up tables are kept, nothing else.

    Returns:
        Labels of the sensors that can be used, and the frame, which says of the others why they are left out: a sensor
        that is ill or shows nothing.

    Raises:
        UserError: no sensor is left, an array that does not fit calibration or checkpoint.
    """
    suite = predictor.contract.suite
    names = suite.canonical(samples)
    predictor.contract.require_own_encodings(name for name in names if suite.sensor(name).kind != IMAGE)
    events = [samples[name] for name in suite.of_kind(EVENTS) if name in samples and len(samples[name])]
    stamp_ns = max((int(each["t"].max()) for each in events), default=0)
    sample_set = _set_of(samples, suite, stamp_ns)
    window_ns = predictor.contract.event_window_ns
    given = parameters or {}
    payloads = {name: [sample.payload for sample in found] for name, found in sample_set.samples.items()}
    if frames is None:
        frames = FrameBuilder(calibration, window_ns, input_options(given, suite), suite)
    else:
        frames.reset()
    frame = frames.build(payloads, stamp_ns)
    for name, reason in frame.reasons.items():
        if reason not in HEALTH_REASONS:
            text = frame.errors[name].removesuffix(f" [{frame.codes[name]}]")
            raise UserError(text, frame.codes[name])
    if not frame.planes:
        raise UserError(f"no sensor shows anything: {'; '.join(reasons_of(frame))}", "sensor-empty")
    segmenter = SetSegmenter(predictor, sync_config(given, names, window_ns, suite))
    return segmenter.segment(sample_set, frame, stamp_ns).segmentation, frame


def reasons_of(frame: Frame) -> list[str]:
    """Why sensors of a frame are left out, one line each that begins with the sensor."""
    return [why if why.startswith(f"{name}: ") else f"{name}: {why}" for name, why in frame.errors.items()]


def _set_of(samples: Mapping[str, np.ndarray], suite: SensorSuite, stamp_ns: int) -> SampleSet:
    names, windowed = suite.canonical(samples), suite.of_kind(EVENTS)
    payloads = {
        name: Events(None, samples[name]) if name in windowed else FileArray(samples[name]) for name in names
    }
    return SampleSet(
        stamp_ns,
        reference=names[0],
        samples={name: (Sample(stamp_ns, stamp_ns, payload),) for name, payload in payloads.items()},
        missing={},
        age_ns=dict.fromkeys(names, 0),
    )
