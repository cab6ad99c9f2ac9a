"""Scores and pictures of a demonstration -> metrics.json and report.html."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from any2seg_core.bags.lookup import read_sets
from any2seg_core.base.atomic import replacing
from any2seg_core.base.units import NS_PER_S
from any2seg_core.base.versions import versions
from any2seg_core.demo.schedule import DAY, Phase
from any2seg_core.demo.scoring import DemoRecording, DemoScores, LabelRecord
from any2seg_core.demo.view import COLUMNS, figure, score_row, too_busy
from any2seg_core.evaluation.frame_views import FrameView
from any2seg_core.reports.document import Figure, Report, Section, Table, Terms
from any2seg_core.reports.pictures import PREDICTION, TRUTH, class_legend, frame_sheet
from any2seg_core.reports.timeline import Lane, Panel, Span, Timeline, nice_top, sensor_colours
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.calibration import load_calibration
from any2seg_core.sync.association import nearest_truth
from any2seg_core.vocabulary.labels import LabelSpace, stored_label_space
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_core.vocabulary.topics import carla_bridge

RESULTS = ("metrics.json", "report.html")
"""Files that a demonstration leaves for its reader."""


def metrics_document(scores: DemoScores, metadata: dict[str, Any], command: str) -> dict[str, Any]:
    """All numbers as plain JSON types; a value that does not exist is null."""
    phases = []
    for score in scores.phases:
        entry = asdict(score) | {name: getattr(score, name) for name in ("rate_hz", "coverage", "is_starved")}
        phases.append(entry.pop("phase") | entry)
    document = {
        "command": command,
        "unit": "percent",
        "versions": versions(),
        "checkpoint": {"model": metadata["model"], "provenance": metadata["provenance"]},
        "definitions": {
            "frames_in": "messages of the phase's reference sensor that the replay published",
            "coverage": "labels per frame in, percent; below 50 the machine was too busy, and mIoU is not shown",
            "miou_present": "percent; int64 confusion over the phase, mean over the classes present in its truth, "
            "which lies within 60 ms",
            "latency": "label received minus publication of the message whose stamp the label carries",
            "longest_gap": "longest time between two labels that ended in the phase, the step into it included",
        },
        "phases": phases,
        "timeline": [asdict(point) for point in scores.timeline],
    }
    return _without_nan(document)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def representative(recording: DemoRecording, phase: Phase) -> LabelRecord | None:
    """The label to show for a phase: near its middle, and made of all sensors that live if there is such a one."""
    middle_ns = recording.start_ns + (phase.start_s + phase.end_s) / 2 * NS_PER_S
    half_ns = (phase.end_s - phase.start_s) / 2 * NS_PER_S
    inside = [record for record in recording.labels if abs(record.stamp_ns - middle_ns) < half_ns]
    return min(
        inside,
        key=lambda record: (set(record.used) != set(phase.alive), abs(record.stamp_ns - middle_ns)),
        default=None,
    )


def shown_frames(
    recording: DemoRecording, phases: Sequence[Phase], bag: Path, event_window_ns: int
) -> list[FrameView]:
    """Per phase: the node's very input, read from the recording through the same code, the truth and the prediction."""
    shown = {phase: record for phase in phases if (record := representative(recording, phase)) is not None}
    messages = read_sets(bag, carla_bridge(), {record.stamp_ns: record.stamps_ns for record in shown.values()})
    frames = FrameBuilder(load_calibration(bag / "calibration.yaml"), event_window_ns)
    truths = sorted(recording.truths, key=lambda truth: truth[0])
    views = []
    for phase, record in shown.items():
        planes = frames.build(messages[record.stamp_ns], record.stamp_ns).planes
        truth = nearest_truth(truths, record.stamp_ns)
        used = ", ".join(VEHICLE.sensor(name).title for name in record.used)
        seconds = (record.stamp_ns - recording.start_ns) / NS_PER_S
        note = f"{seconds:.1f} s; fused {used}"
        views.append(FrameView(phase.name, note, planes, record.labels, truth))
    return views


def timeline_svg(scores: DemoScores) -> str:
    """mIoU and latency of every label over time, with what was silent."""
    phases = [score.phase for score in scores.phases]
    spans = [
        Span(p.start_s, p.end_s, p.name, "night" if p.weather != DAY else "outage" if p.dead else "") for p in phases
    ]
    dead = {name: tuple(Span(p.start_s, p.end_s) for p in phases if name in p.dead) for name in VEHICLE.members}
    colours = sensor_colours(VEHICLE)
    lanes = [Lane(sensor.title, colours[sensor.name], dead[sensor.name]) for sensor in VEHICLE.sensors]
    hovers = [f"{point.time_s:.2f} s, {', '.join(point.used)}" for point in scores.timeline]
    pairs = list(zip(scores.timeline, hovers, strict=True))
    quality = Panel(
        "mIoU", "% per label",
        [(p.time_s, p.miou_present, f"{figure(p.miou_present, '.1f')} %: {h}") for p, h in pairs],
        [float("nan") if score.is_starved else score.miou_present for score in scores.phases],
    )  # fmt: skip
    latency = Panel(
        "latency", "ms per label", [(p.time_s, p.latency_ms, f"{figure(p.latency_ms)} ms: {h}") for p, h in pairs],
        [score.latency_p50_ms for score in scores.phases],
        nice_top([p.latency_ms for p in scores.timeline]),
    )  # fmt: skip
    return Timeline(spans, lanes, [quality, latency]).svg()


def demo_report(
    scores: DemoScores, views: Sequence[FrameView], document: dict[str, Any], space: LabelSpace
) -> Report:
    """The report as one document; `views` are the frames to show, `document` is that of `metrics_document`."""
    definitions = [(name.replace("_", " "), text) for name, text in document["definitions"].items()]
    table = Table([head for head, _ in COLUMNS], [score_row(score) for score in scores.phases],
                  [head for head, side in COLUMNS if side == "left"])  # fmt: skip
    sheet = frame_sheet(views, VEHICLE.members, VEHICLE, space, (TRUTH, PREDICTION))
    sections = [
        Section("Per phase", (table, Terms(definitions))),
        Section(
            "Over time",
            (Figure(timeline_svg(scores), "mIoU and latency of every label over time"),),
            "Each dot is one label. A red line is the mIoU of a phase, or its median latency; without one the machine "
            "was too busy. Where a sensor's bar is hatched, the sensor was taken away.",
        ),
        Section("What the model saw", (sheet, class_legend(space))),
    ]
    introduction = (
        "A drive through a town of the simulated world that the model has never seen, replayed over ROS 2 into the "
        "segmentation node. Sensors were taken away and given back while it ran."
    )
    problems = [f"no label in phase {name}" for name in scores.failures()]
    problems += [f"phase {score.phase.name}: {too_busy(score)}" for score in scores.starved]
    facts = [("checkpoint", ", ".join(f"{key} {value}" for key, value in document["checkpoint"]["model"].items()))]
    facts.append(("versions", ", ".join(f"{name} {value}" for name, value in document["versions"].items())))
    title = "Any2Seg: labels from whichever sensors are alive"
    return Report(title, introduction, sections, facts, document["command"], problems)


def write_outcome(
    out: Path, recording: DemoRecording, scores: DemoScores, bag: Path, metadata: dict[str, Any], arguments: list[str]
) -> None:
    """Write out/metrics.json and out/report.html, each whole or not at all.

    Args:
        recording, scores: from the monitor and `score_demo`. bag: recording with its calibration.yaml.
        metadata: of the checkpoint. arguments: command line, for the reader who wants to repeat it.
    """
    space = stored_label_space(metadata["contract"]["label_space"])
    document = metrics_document(scores, metadata, shlex.join(arguments))
    phases = [score.phase for score in scores.phases]
    views = shown_frames(recording, phases, bag, metadata["contract"]["event_window_ns"])
    html = demo_report(scores, views, document, space).html()
    for name, text in zip(RESULTS, (json.dumps(document, indent=1), html), strict=True):
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
