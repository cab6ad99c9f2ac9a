"""One judged moment of a recording, and its line of frames.jsonl."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from any2seg_core.evaluation.recording.prepared import PreparedSet
from any2seg_core.evaluation.scores import SubsetScore, rounded
from any2seg_core.runtime.predictor import Segmentation
from any2seg_core.runtime.reliability import Observation
from any2seg_core.runtime.set_segmenter import SegmentedSet
from any2seg_core.vocabulary.modalities import SensorSuite


@dataclass(frozen=True)
class JudgedFrame:
    """A set with its labels, or a moment without any.

    Attributes:
        prepared: the set. time_s: its log time from the start of the recording.
        phase: number of the interval between faults. has_truth: whether it was compared with one.
        scores: letters of a subset -> counts of this frame alone. results: the same of labels, None where there are
            none.
        reliability, novelty: per sensor, as plain JSON types.
        observed: what the set says of each sensor, see `ReliabilityMonitor.update`; None: no set came.
        segmented: of all sensors, and of each subset; None of a moment without labels.
    """

    prepared: PreparedSet
    time_s: float
    phase: int
    has_truth: bool
    scores: Mapping[str, SubsetScore]
    results: Mapping[str, Segmentation | None]
    reliability: dict[str, Any]
    observed: Mapping[str, Observation | None] | None
    novelty: dict[str, float | None] = field(default_factory=dict)
    segmented: SegmentedSet | None = None

    @property
    def stamp_ns(self) -> int:
        """Stamp of the set, or at which one was due."""
        prepared = self.prepared
        stamp_ns = prepared.missed_ns if prepared.frame is None else prepared.frame.stamp_ns
        assert stamp_ns is not None  # what has neither is not judged
        return stamp_ns


def frame_line(judged: JudgedFrame, suite: SensorSuite) -> dict[str, Any]:
    """The line of a frame, as plain JSON types."""
    sample_set, frame = judged.prepared.sample_set, judged.prepared.frame
    samples, ages_ns = ({}, {}) if sample_set is None else (sample_set.samples, sample_set.age_ns)
    line = {
        "stamp_ns": judged.stamp_ns,
        "time_s": rounded(judged.time_s, 6),
        "phase": judged.phase,
        "reference": None if sample_set is None else sample_set.reference,
        "used": "" if frame is None else suite.subset_letters(frame.planes),
        "missing": {} if sample_set is None or frame is None else {**sample_set.missing, **frame.errors},
        "stamps_ns": {name: [each.stamp_ns for each in samples[name]] for name in suite.canonical(samples)},
        "ages_ms": {name: rounded(age_ns / 1e6) for name, age_ns in ages_ns.items()},
        "truth": judged.has_truth,
        "subsets": _subset_entries(judged, suite),
    }
    if judged.segmented is None:
        return line | {"reliability": judged.reliability}
    invalid_share = rounded(judged.segmented.segmentation.invalid_share, 6)
    return line | {"invalid_share": invalid_share, "reliability": judged.reliability, "novelty": judged.novelty}


def _subset_entries(judged: JudgedFrame, suite: SensorSuite) -> dict[str, Any]:
    subsets = {}
    for name, result in judged.results.items():
        entry = judged.scores[name].frame_document()
        if judged.has_truth:
            entry["counts"] = judged.scores[name].class_counts()
        entry["used"] = "" if result is None else suite.subset_letters(result.used)
        entry["labels_crc32"] = None if result is None else zlib.crc32(np.ascontiguousarray(result.labels))
        subsets[name] = entry
    return subsets
