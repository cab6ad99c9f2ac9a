"""An evaluation of a recording as numbers and as one HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from any2seg_core.base.atomic import replacing
from any2seg_core.evaluation.monotonicity import monotonicity
from any2seg_core.evaluation.recording.evaluation import Evaluation
from any2seg_core.evaluation.recording.outages import WINDOWS
from any2seg_core.evaluation.scores import rounded_document
from any2seg_core.evaluation.tables import summarise
from any2seg_core.reports.document import Figure, Report, Section, Table, Terms
from any2seg_core.reports.monotonicity import MONOTONICITY_NOTE, monotonicity_rows
from any2seg_core.reports.pictures import (
    ALL_LABELS,
    CONFUSION_NOTE,
    PREDICTION,
    class_figures,
    class_legend,
    frame_sheet,
)
from any2seg_core.reports.recording_tables import (
    absent_rows,
    columns_of,
    injected_rows,
    novelty_rows,
    phase_columns,
    phase_rows,
    reliability_rows,
    subset_rows,
    suite_of,
    window_columns,
    window_rows,
)
from any2seg_core.reports.timeline import Lane, Line, Panel, Span, Timeline, sensor_colours
from any2seg_core.vocabulary.labels import stored_label_space

_POINTS = 600
_NO_SCORE = {"score": float("nan")}
_DEFINITIONS = {
    "mIoU": "int64 confusion over all judged frames; means over the classes present in the truth, over all classes "
    "(absent ones count 0, the papers' convention), and over all without Other",
    "drop protocol": "sensors outside a subset are left out of the fusion, never filled with zeros; a frame in which "
    "none of a subset's sensors is there counts as missed everywhere, and so does a moment at which a set was due and "
    "none came",
    "coverage": "share of frames in which at least one sensor of the subset was there; moments at which a set was due "
    "and none came are frames too",
    "agreement": "share of pixels labelled as all sensors that were there label them",
    "changed": "share of pixels whose label differs from the judged frame before (with --every N that is N sets back); "
    "motion of the vehicle is in it",
    "flicker": "the same of pixels where nothing has changed: their truth is the same in both frames; without a truth, "
    "no plane of a sensor that both frames have differs there by more than 8 of 255",
    "ECE": "expected calibration error, 15 bins, over every second row and column",
}
_RELIABILITY = (
    "The smallest of its parts, each measured against the sensor's own past: presence (in how many sets of the last "
    "second it was fused), data (share of its plane), agreement (of its label alone with the fused one), repetition, "
    "lateness, clock."
)
_WINDOWS = (
    "In a window in which a sensor is silent (--drop), in the first second after one, where other sensors are fused "
    "than in the frame before, and all others."
)
_NOVELTY = (
    "How far the sensor's features are from those of frames like in training, as a share of the distance beyond which "
    "1 % of such frames lie: above 1 it is unlike training."
)
_NO_NOVELTY = "Not known: the checkpoint holds no statistics of its features; `any2seg calibrate` makes them."
_OF_TRUTH = ("mIoU", "ECE")
_FAULTS = ("fault", "messages hit")


def summary_document(result: Evaluation) -> dict[str, Any]:
    """All numbers as plain JSON types."""
    space = stored_label_space(result.conditions["label_space"])
    total = result.total()
    frames = list(total.values())[-1].frames
    document = {"conditions": result.conditions} | summarise(total, space, frames)
    if "subset_mean" in document:  # a truth was found
        miou = {letters: 100.0 * score.confusion.miou() for letters, score in total.items()}
        document["monotonicity"] = rounded_document(monotonicity(miou, result.blocks.counts(), "present"))
    document["phases"] = [
        {"name": phase.name, "start_s": phase.start_s, "end_s": phase.end_s, "faults": list(phase.faults),
         "subsets": {name: score.document() for name, score in scores.items()}}
        for phase, scores in zip(result.phases, result.scores, strict=True)
    ]  # fmt: skip
    document["windows"] = {
        window: {name: score.document() for name, score in result.board.groups[window].items()}
        for window in WINDOWS if window in result.board.groups
    }  # fmt: skip
    document["injected"], document["unreadable"] = result.injected, result.unreadable
    document["silent_s"] = {
        name: [[round(start, 3), round(end, 3)] for start, end in result.silent[name]] for name in sorted(result.silent)
    }
    absent = suite_of(document).canonical(result.absent)
    document["absent"] = {name: dict(result.absent[name].most_common()) for name in absent}
    document["unusable_sets"] = dict(result.unusable.most_common())
    document["silent_frames"] = result.silent_frames
    document["invalid_frames"] = result.invalid_frames
    document["reliability"] = result.reliability
    document["novelty"] = {name: result.novelty[name] for name in suite_of(document).canonical(result.novelty)}
    document["encodings"] = result.encodings
    document["warnings"] = result.warnings
    return document


def _timeline(result: Evaluation, frames: Path) -> str:
    name = list(result.scores[0])[-1]
    points: list[tuple[float, dict[str, Any], str]] = []
    reliability: dict[str, list[tuple[float, float]]] = {sensor: [] for sensor in result.reliability}
    for line in _thinned(frames):
        for sensor, scores in reliability.items():
            scores.append((line["time_s"], 100 * line["reliability"].get(sensor, _NO_SCORE)["score"]))
        points.append((line["time_s"], line["subsets"][name], f"{line['time_s']:.2f} s, {line['used']}"))
    end_s = max([result.end_s, *(time_s for time_s, _, _ in points)])  # the last set is complete after its messages
    ends_s = [*(phase.end_s for phase in result.phases[:-1]), end_s]
    spans = [
        Span(phase.start_s, stop_s, phase.name, "outage" if phase.faults else "")
        for phase, stop_s in zip(result.phases, ends_s, strict=True)
    ]
    suite = suite_of({"conditions": result.conditions})
    colours = sensor_colours(suite)
    lanes = [
        Lane(suite.sensor(sensor).title, colours[sensor],
             tuple(Span(start, end) for start, end in result.silent.get(sensor, ())))
        for sensor in suite.canonical(result.conditions["streams"])
    ]  # fmt: skip
    per_phase = [list(scores.values())[-1].document() for scores in result.scores]
    wanted = [("confidence", "confidence", "% per frame"), ("flicker", "flicker", "% of pixels")]
    if result.has_truth:
        wanted.insert(0, ("miou_present", "mIoU", "% per frame"))
    panels = []
    for key, title, unit in wanted:
        values = [(time_s, _number(entry.get(key)), said) for time_s, entry, said in points]
        dots = [(time_s, value, f"{value:.1f} %: {said}") for time_s, value, said in values]
        panels.append(Panel(title, unit, dots, [_number(entry.get(key)) for entry in per_phase]))
    lines = [Line(suite.sensor(sensor).title, colours[sensor], scores) for sensor, scores in reliability.items()]
    panels.append(Panel("reliability", "% per sensor", (), lines=lines))
    return Timeline(spans, lanes, panels).svg()


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _thinned(frames: Path) -> Iterator[dict[str, Any]]:
    """At most about `_POINTS` lines of frames.jsonl, evenly spread; the file is never held as a whole."""
    with frames.open(encoding="utf-8") as file:
        count = sum(1 for _ in file) - 1
    with frames.open(encoding="utf-8") as file:
        for line in islice(file, 1, None, max(1, -(-count // _POINTS))):
            yield json.loads(line)


def _facts(conditions: dict[str, Any], encodings: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    bag, checkpoint = conditions["bag"], conditions["checkpoint"]
    counts = [f"{name} {count['encoded']}, reused {count['reused']}" for name, count in encodings.items()]
    return [
        ("recording", f"{bag['name']}, {sum(bag['topics'].values())} messages"),
        ("checkpoint", f"{checkpoint['name']}, sha256 {checkpoint['sha256']}"),
        ("versions", ", ".join(f"{name} {value}" for name, value in conditions["versions"].items())),
        ("sensors", ", ".join(f"{name}: {topic}" for name, topic in conditions["streams"].items())),
        ("calibration", str(conditions["calibration"])),
        ("geometry", ", ".join(f"{part}: {where}" for part, where in conditions["extrinsics"].items())),
        ("truth", str(conditions["truth"] or "none")),
        ("synchroniser", _synchroniser(conditions["synchroniser"])),
        ("every", str(conditions["every"])),
        ("seed of faults and noise", str(conditions["seed"])),
        ("device", conditions["device"]),
        ("encoded", "; ".join(counts) or "all sensors of every frame"),
        ("engine", ", ".join(conditions["engine"].values())),
    ]


def _synchroniser(settings: dict[str, Any]) -> str:
    """What differs between recordings, in milliseconds; summary.json has all of it."""
    per_stream = [
        f"{name}: offset {stream['offset_ns'] / 1e6:g}, noise window {stream['noise_window_ns'] / 1e6:g}, oldest "
        f"{stream['max_age_ns'] / 1e6:g} ms"
        for name, stream in settings["streams"].items()
    ]
    waits = f"waits {settings['timeout_ns'] / 1e6:g} ms, without reference "
    waits += f"{settings['timeout_without_reference_ns'] / 1e6:g} ms"
    return "; ".join([*per_stream, waits, f"reference: {', '.join(settings['reference_priority'])}"])


def recording_report(result: Evaluation, document: dict[str, Any], frames: Path, command: str) -> Report:
    """The whole report; `frames` is the JSON lines file of the same evaluation."""
    total = list(result.total().values())[-1]
    unlabelled = total.frames - total.labelled
    parts = [f"{total.with_truth} with a truth"] * result.has_truth
    parts += [f"{unlabelled} without labels"] * bool(unlabelled)
    evaluated = f"{total.frames} frames" + (f" ({', '.join(parts)})" if parts else "")
    introduction = (
        f"{result.end_s:.1f} s of recording, {evaluated} evaluated in virtual time: the same sets, projection "
        "and preprocessing as in the live node; every subset of the sensors from one encoding."
    )
    if not result.has_truth:
        introduction += " Without a truth the figures say how the model behaves, not whether it is right."
    sections = [*_table_sections(result, document, frames), *_picture_sections(result, document)]
    title = f"Any2Seg on {result.conditions['bag']['name']}"
    return Report(title, introduction, sections, _facts(result.conditions, result.encodings), command, result.warnings)


def _table_sections(result: Evaluation, document: dict[str, Any], frames: Path) -> Iterator[Section]:
    has_truth = result.has_truth
    if injected := injected_rows(document):
        note = f"Drawn with seed {document['conditions']['seed']}. Each fault can be given to --fault again."
        yield Section("What was injected", (Table(_FAULTS, injected, _FAULTS),), note)
    else:
        yield Section("What was injected", note="Nothing: the recording as it is.")
    note = (
        "Dots: frames, labelled from all sensors that were there. Red: the phase as a whole. Hatched: not fused. "
        "Lines: reliability of each sensor, in its colour."
    )
    yield Section("Over time", (Figure(_timeline(result, frames), "scores, sensors and reliability over time"),), note)
    meant = [(name, text) for name, text in _DEFINITIONS.items() if has_truth or name not in _OF_TRUTH]
    heads = ("sensors", *(title for _, title in columns_of(has_truth)))
    yield Section("Per sensor subset", (Table(heads, subset_rows(document, has_truth)), Terms(meant)))
    if rows := monotonicity_rows(document.get("monotonicity")):
        note = "From mIoU over the classes present. " + MONOTONICITY_NOTE
        yield Section("Adding a sensor", (Table(("figure", "value"), rows),), note)
    heads = ("sensor", "mean", "lowest", "at, s", "because of")
    table = Table(heads, reliability_rows(document), ("because of",))
    yield Section("Reliability per sensor, 0 to 1", (table,), _RELIABILITY)
    heads = ("sensor", "frames", "unlike training, %", "mean", "highest", "at, s")
    tables = (Table(heads, novelty_rows(document)),) if document["novelty"] else ()
    yield Section("Unlike training, per sensor", tables, _NOVELTY if tables else _NO_NOVELTY)
    if absent := absent_rows(document):
        yield Section("Not fused", (Table(("sensor", "why, frames"), absent, ("why, frames",)),))
    if len(result.phases) > 1:
        columns = phase_columns(has_truth)
        heads = ("phase", "seconds", "frames", *(title for _, title in columns))
        table = Table(heads, phase_rows(document, columns), ("seconds",))
        yield Section("Per phase, all sensors that are there", (table,))
    if windows := window_rows(document, window_columns(has_truth)):
        heads = ("frames that are", "frames", *(title for _, title in window_columns(has_truth)))
        yield Section("Outages, all sensors that are there", (Table(heads, windows),), _WINDOWS)


def _picture_sections(result: Evaluation, document: dict[str, Any]) -> Iterator[Section]:
    space = stored_label_space(result.conditions["label_space"])
    if result.has_truth:
        counts = list(result.total().values())[-1].confusion.counts
        bars, confusion = class_figures(space, counts)
        full = document["confusion"]["sensors"]
        rows = [
            (name, *(f"{document[f'class_{measure}'][full][name] or 0.0:.1f}" for measure in ("iou", "f1", "accuracy")))
            for name in document["class_iou"][full]
        ]
        note = f"Of {full}, in percent, classes present in the truth; accuracy is the recall."
        yield Section("Per class", (bars, Table(("class", "IoU", "F1", "accuracy"), rows)), note)
        yield Section("Confusion", (confusion,), CONFUSION_NOTE)
    if result.worst:
        suite = suite_of(document)
        sensors = suite.canonical(result.conditions["streams"])
        labels = ALL_LABELS if result.has_truth else (PREDICTION,)
        said = "lowest mIoU" if result.has_truth else "lowest confidence"
        blocks = (frame_sheet(result.worst, sensors, suite, space, labels), class_legend(space))
        yield Section(f"Worst frames: {said}", blocks)


def write_evaluation(result: Evaluation, out: Path, command: str) -> dict[str, Any]:
    """Write out/summary.json and out/report.html beside out/frames.jsonl; returns the summary."""
    document = summary_document(result)
    html = recording_report(result, document, out / "frames.jsonl", command).html()
    for name, text in (("summary.json", json.dumps(document, indent=1) + "\n"), ("report.html", html)):
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return document
