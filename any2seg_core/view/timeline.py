"""The timeline of a drive: when each sensor was fused, how sure the labels are, how far sensors can be relied on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from any2seg_core.evaluation.recording.absence import AbsenceLog
from any2seg_core.reports.timeline import Lane, Line, Panel, Span, Timeline, sensor_colours
from any2seg_core.view.drives import Drive, KnownFrames
from any2seg_core.view.frames import DriveFrame
from any2seg_core.vocabulary.modalities import SensorSuite

WIDTHS = {"wide": 980, "narrow": 420}
"""Names of the two drawings of a page, and how wide each is in pixels."""
_POINT_PX = 2.5  # room that a point takes


class TimelineView(NamedTuple):
    """One drawing, and between which shares of its width the time axis lies, 0..1."""

    name: str
    svg: str
    left: float
    right: float


def timeline_views(known: KnownFrames, drive: Drive) -> list[TimelineView]:
    """The same timeline for wide and for narrow screens; what is not known yet is shaded."""
    frames, suite = known.frames, drive.suite
    end_s = max([drive.length_s, *(frame.time_s for frame in frames[-1:])])
    reached_s = end_s if known.reached_s is None else known.reached_s
    spans = [Span(0.0, reached_s)]
    if known.reached_s is not None:
        spans.append(Span(reached_s, end_s, "being read", "outage"))
    silent = _silent(frames, drive.sensors, reached_s)
    views = []
    for name, width in WIDTHS.items():
        judged = _thinned([frame for frame in frames if frame.is_judged], int(width / _POINT_PX))
        panels = _panels(judged, suite, drive.sensors)
        lanes = _lanes(silent, suite, drive.sensors, reached_s if frames else 0.0)
        timeline = Timeline(spans, lanes, panels, "seconds from the start", width, name)
        views.append(TimelineView(name, timeline.svg(), *timeline.axis_shares))
    return views


def _silent(
    frames: Sequence[DriveFrame], sensors: Sequence[str], end_s: float
) -> dict[str, list[tuple[float, float]]]:
    """Sensor -> spans in which it was not fused; none of what was not read yet."""
    log = AbsenceLog(sensors)
    for frame in frames:
        if frame.is_judged:
            log.evaluated(frame.time_s, frame.samples, frame.used)
        else:
            log.skipped(frame.time_s, frame.samples)
    return log.finish(end_s if frames else 0.0)


def _lanes(
    silent: dict[str, list[tuple[float, float]]], suite: SensorSuite, sensors: Sequence[str], end_s: float
) -> list[Lane]:
    colours = sensor_colours(suite)
    return [
        Lane(suite.sensor(sensor).title, colours[sensor],
             tuple(Span(start, end) for start, end in silent.get(sensor, ())), end_s)
        for sensor in suite.canonical(sensors)
    ]  # fmt: skip


def _panels(judged: Sequence[DriveFrame], suite: SensorSuite, sensors: Sequence[str]) -> list[Panel]:
    """Confidence and reliability; none where nothing was labelled."""
    if all(math.isnan(frame.confidence) for frame in judged):
        return []
    colours = sensor_colours(suite)
    points = [
        (frame.time_s, 100 * frame.confidence,
         f"{100 * frame.confidence:.1f} %: {frame.time_s:.2f} s, {suite.subset_letters(frame.used)}")
        for frame in judged
    ]  # fmt: skip
    lines = [
        Line(suite.sensor(sensor).title, colours[sensor],
             [(frame.time_s, 100 * frame.reliability.get(sensor, math.nan)) for frame in judged])
        for sensor in suite.canonical(sensors)
    ]  # fmt: skip
    return [Panel("confidence", "% per frame", points), Panel("reliability", "% per sensor", (), lines=lines)]


def _thinned(frames: Sequence[DriveFrame], most: int) -> list[DriveFrame]:
    """At most so many frames, of each stretch the one of the lowest confidence: what is bad must not be lost."""
    size = max(1, -(-len(frames) // most))
    if size == 1:
        return list(frames)

    def badness(frame: DriveFrame) -> float:
        return -1.0 if math.isnan(frame.confidence) else frame.confidence

    return [min(frames[begin : begin + size], key=badness) for begin in range(0, len(frames), size)]
