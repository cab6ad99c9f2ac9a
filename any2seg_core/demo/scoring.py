"""What a monitor recorded -> scores per phase. Labels are judged by stamp, delivery by the steady clock.

Definitions:
    frames in: messages published by the reference sensor of the phase, the first living one in canonical order.
    coverage: labels out per frame in, in percent. Below 50 the machine was too busy, and mIoU, which judges the labels
        that there are, is not shown: the missed frames may be the hard ones.
    mIoU: int64 confusion over all labels of the phase, each against the truth image nearest in stamp and at most
        TRUTH_TOLERANCE_NS away; mean over the classes that occur in the truth of that phase.
    latency: when the label was received minus when the replay published the message whose stamp the label carries;
        waiting for other sensors, projection, inference and transport are all in it.
    longest gap: longest time without a label that ended in the phase, the step into the phase included; the start
        and the end of the replay count as labels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from any2seg_core.base.units import NS_PER_S
from any2seg_core.demo.schedule import Phase, phase_at
from any2seg_core.evaluation.live import score_by_stamp
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE

_LEAST_COVERAGE = 50.0  # percent


@dataclass(frozen=True)
class Published:
    """One sensor message that the replay sent; `published_ns` and `received_ns` are CLOCK_MONOTONIC."""

    sensor: str
    stamp_ns: int
    published_ns: int


@dataclass(frozen=True)
class LabelRecord:
    """One label image as received, with what the node said about it."""

    stamp_ns: int
    received_ns: int
    labels: np.ndarray
    used: tuple[str, ...] = ()
    reference: str = ""
    stamps_ns: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inference_ms: float = float("nan")


@dataclass
class DemoRecording:
    """Everything the monitor saw.

    Attributes:
        start_ns: stamp at the start of the recording; phases count from it.
        labels: in order of arrival. truths: (stamp_ns, (H, W) uint8 train ids). published: log of the replay.
    """

    start_ns: int
    labels: list[LabelRecord]
    truths: list[tuple[int, np.ndarray]]
    published: list[Published]


@dataclass(frozen=True)
class TimelinePoint:
    """One label: seconds from the start, mIoU of this frame in percent over the classes present in its truth (NaN
    without truth), latency (NaN if unknown)."""

    time_s: float
    miou_present: float
    latency_ms: float
    used: tuple[str, ...]


@dataclass(frozen=True)
class PhaseScore:
    """Scores of one phase, mIoU in percent; NaN where there is nothing to judge. `used` counts subsets, as letters."""

    phase: Phase
    frames_in: int
    labels_out: int
    miou_present: float
    classes: int
    latency_p50_ms: float
    latency_p95_ms: float
    longest_gap_ms: float
    used: dict[str, int]

    @property
    def rate_hz(self) -> float:
        """Labels per second."""
        return self.labels_out / (self.phase.end_s - self.phase.start_s)

    @property
    def coverage(self) -> float:
        """Labels per frame that came in, in percent; NaN where none came in."""
        return 100.0 * self.labels_out / self.frames_in if self.frames_in else float("nan")

    @property
    def is_starved(self) -> bool:
        """Whether the machine was too busy for a figure that says something: few of the frames have a label."""
        return self.labels_out > 0 and self.coverage < _LEAST_COVERAGE


@dataclass(frozen=True)
class DemoScores:
    """Scores per phase, and one point per label."""

    phases: list[PhaseScore]
    timeline: list[TimelinePoint]

    @property
    def starved(self) -> list[PhaseScore]:
        """Phases in which the machine was too busy."""
        return [score for score in self.phases if score.is_starved]

    def failures(self) -> list[str]:
        """Names of the phases without any label."""
        return [score.phase.name for score in self.phases if score.labels_out == 0]


def load_published(path: Path) -> list[Published]:
    """Read the log of the replay: one JSON object per line."""
    return [Published(**json.loads(line)) for line in path.read_text().splitlines()]


def score_demo(recording: DemoRecording, phases: Sequence[Phase], space: LabelSpace) -> DemoScores:
    """Judge a recording; see the module's text for every definition."""
    truths = sorted(recording.truths, key=lambda truth: truth[0])
    board = Scoreboard(space)
    sent = {(p.sensor, p.stamp_ns): p.published_ns for p in recording.published}
    timeline: list[TimelinePoint] = []
    points: dict[Phase, list[TimelinePoint]] = {phase: [] for phase in phases}
    for record in recording.labels:
        time_s = (record.stamp_ns - recording.start_ns) / NS_PER_S
        phase = phase_at(phases, time_s)
        frame = score_by_stamp(record.labels, record.stamp_ns, truths, space)
        published_ns = sent.get((record.reference, record.stamp_ns))
        latency_ms = float("nan") if published_ns is None else (record.received_ns - published_ns) / 1e6
        point = TimelinePoint(time_s, 100.0 * frame.confusion.miou("present"), latency_ms, record.used)
        timeline.append(point)
        if phase is not None:
            board.add({VEHICLE.subset_letters(record.used): frame}, (phase,))
            points[phase].append(point)
    gaps = _longest_gaps_ms(recording, phases)
    scores = [
        _phase_score(phase, recording, points[phase], board.over_subsets(phase), gaps[phase]) for phase in phases
    ]
    return DemoScores(scores, timeline)


def _phase_score(
    phase: Phase,
    recording: DemoRecording,
    points: Sequence[TimelinePoint],
    score: SubsetScore,
    longest_gap_ms: float,
) -> PhaseScore:
    times_s = [(p.stamp_ns - recording.start_ns) / NS_PER_S for p in recording.published if p.sensor == phase.alive[0]]
    latencies = np.array([point.latency_ms for point in points if not np.isnan(point.latency_ms)])
    return PhaseScore(
        phase=phase,
        frames_in=sum(phase.start_s <= time_s < phase.end_s for time_s in times_s),
        labels_out=len(points),
        miou_present=100.0 * score.confusion.miou("present"),
        classes=int((score.confusion.support > 0).sum()),
        latency_p50_ms=_percentile(latencies, 50),
        latency_p95_ms=_percentile(latencies, 95),
        longest_gap_ms=longest_gap_ms,
        used=dict(Counter(VEHICLE.subset_letters(point.used) for point in points).most_common()),
    )


def _longest_gaps_ms(recording: DemoRecording, phases: Sequence[Phase]) -> dict[Phase, float]:
    """Per phase the longest time between deliveries; each interval counts where it ended, a silent phase wholly."""
    gaps = {phase: float("nan") for phase in phases}
    if not recording.published:
        return gaps
    first = min(recording.published, key=lambda p: p.published_ns)
    last = max(recording.published, key=lambda p: p.published_ns)
    marks = [(first.published_ns, first.stamp_ns)]
    marks += [(record.received_ns, record.stamp_ns) for record in recording.labels]
    marks.append((max(last.published_ns, marks[-1][0]), last.stamp_ns))
    for (begin_ns, begin_stamp_ns), (end_ns, end_stamp_ns) in pairwise(marks):
        begin_s = (begin_stamp_ns - recording.start_ns) / NS_PER_S
        end_s = (end_stamp_ns - recording.start_ns) / NS_PER_S
        for phase in phases:
            ends_here = phase.start_s <= end_s < phase.end_s
            spans = begin_s < phase.start_s and end_s >= phase.end_s
            if ends_here or spans:
                gaps[phase] = float(np.fmax(gaps[phase], (end_ns - begin_ns) / 1e6))
    return gaps


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent)) if values.size else float("nan")
