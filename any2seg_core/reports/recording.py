"""An evaluation as numbers, terminal tables and one HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from any2seg_core.base.atomic import replacing
from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.evaluation.recording.evaluation import Evaluation
from any2seg_core.evaluation.recording.worst import FrameView
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.evaluation.tables import summarise
from any2seg_core.reports import page as report
from any2seg_core.reports.plots import Bar, bars_svg, confusion_svg
from any2seg_core.reports.timeline import Lane, Line, Panel, Span, Timeline
from any2seg_core.sensors.health import HEALTH_REASONS
from any2seg_core.vocabulary.labels import LabelSpace, label_space
from any2seg_core.vocabulary.modalities import canonical, modality

_LANE_COLOURS = {"rgb": "#0072b2", "depth": "#e69f00", "event": "#cc79a7", "lidar": "#009e73"}  # Okabe and Ito
_POINTS = 600
_NO_SCORE = {"score": float("nan")}
_MISSED = (255, 0, 90)
_TRUTH_COLUMNS = (
    ("miou_present", "mIoU present"), ("miou_all", "all"), ("miou_without_other", "w/o Other"), ("f1_present", "F1"),
    ("pixel_accuracy", "pixel acc."), ("ece", "ECE"),
)  # fmt: skip
_PLAIN_COLUMNS = (("coverage", "coverage"), ("agreement", "agreement"), ("flicker", "flicker"),
                  ("confidence", "confidence"))  # fmt: skip
_SHORT = {"miou_present": "mIoU", "miou_without_other": "w/o O.", "pixel_accuracy": "acc.", "coverage": "cover",
          "agreement": "agree", "confidence": "conf."}  # fmt: skip
"""Headings of the terminal, where they differ: 100 columns."""
_PHASE_KEYS = ("miou_present", "pixel_accuracy", "coverage", "flicker", "confidence")
"""What a phase shows on the terminal, so that its name and time fit beside it; files and report have the rest."""
_DEFINITIONS = {
    "mIoU": "int64 confusion over all judged frames; means over the classes present in the truth, over all classes "
    "(absent ones count 0, the papers' convention), and over all without Other",
    "drop protocol": "sensors outside a subset are left out of the fusion, never filled with zeros; a frame in which "
    "none of a subset's sensors is there counts as missed everywhere, and so does a moment at which a set was due and "
    "none came",
    "coverage": "share of frames in which at least one sensor of the subset was there; moments at which a set was due "
    "and none came are frames too",
    "agreement": "share of pixels labelled as all sensors that were there label them",
    "flicker": "share of pixels whose label differs from the judged frame before (with --every N that is N sets back); "
    "motion of the vehicle is in it",
    "ECE": "expected calibration error, 15 bins, over every second row and column",
}
_RELIABILITY = (
    "The smallest of its parts, each measured against the sensor's own past: presence (in how many sets of the last "
    "second it was fused), data (share of its plane), agreement (of its label alone with the fused one), repetition, "
    "lateness, clock."
)
_OF_TRUTH = ("mIoU", "ECE")


_MEANINGS = {
    "never_seen": "not one message yet",
    "dead": "silent for too long",
    "stale": "messages, but none near enough to the set",
    "timeout": "waited for in vain",
    "disabled": "switched off",
    **MESSAGE_REASONS,
    **HEALTH_REASONS,
}


def summary_document(result: Evaluation) -> dict[str, Any]:
    """All numbers as plain JSON types."""
    space = label_space(result.conditions["label_space"])
    total = result.total()
    frames = list(total.values())[-1].frames
    document = {"conditions": result.conditions} | summarise(total, space, frames)
    document["phases"] = [
        {"name": phase.name, "start_s": phase.start_s, "end_s": phase.end_s, "faults": list(phase.faults),
         "subsets": {name: score.document() for name, score in scores.items()}}
        for phase, scores in zip(result.phases, result.scores, strict=True)
    ]  # fmt: skip
    document["injected"], document["unreadable"] = result.injected, result.unreadable
    document["silent_s"] = {
        name: [[round(start, 3), round(end, 3)] for start, end in result.silent[name]] for name in sorted(result.silent)
    }
    document["absent"] = {name: dict(result.absent[name].most_common()) for name in canonical(result.absent)}
    document["unusable_sets"] = dict(result.unusable.most_common())
    document["silent_frames"] = result.silent_frames
    document["invalid_frames"] = result.invalid_frames
    document["reliability"] = result.reliability
    document["warnings"] = result.warnings
    return document


Columns = tuple[tuple[str, str], ...]
"""(key of a subset's figures, heading)."""


def _columns(has_truth: bool) -> Columns:
    return (*_TRUTH_COLUMNS, *_PLAIN_COLUMNS) if has_truth else _PLAIN_COLUMNS


def _phase_columns(has_truth: bool) -> Columns:
    """Of all sensors that are there: agreement is 100 by definition."""
    return tuple(column for column in _columns(has_truth) if column[0] != "agreement")


def _cells(document: dict[str, Any], columns: Columns) -> list[str]:
    values = [document.get(key) for key, _ in columns]
    return ["-" if value is None else f"{value:.1f}" for value in values]


def subset_rows(document: dict[str, Any], has_truth: bool) -> list[list[str]]:
    """Rows of the table per subset, mean and standard deviation of the subsets last where there is a truth."""
    rows = [[name, *_cells(entry, _columns(has_truth))] for name, entry in document["subsets"].items()]
    if has_truth and len(rows) > 1:
        for name, key in (("mean", "subset_mean"), ("std", "subset_std")):
            values = [document[key].get(column) for column, _ in _columns(has_truth)]
            rows.append([name, *("" if value is None else f"{value:.1f}" for value in values)])
    return rows


def phase_rows(document: dict[str, Any], columns: Columns) -> list[list[str]]:
    """Rows of the table per phase, for all sensors."""
    rows = []
    for phase in document["phases"]:
        full = list(phase["subsets"].values())[-1]
        window = f"{phase['start_s']:g} to {phase['end_s']:.4g}"
        rows.append([phase["name"], window, str(full["frames"]), *_cells(full, columns)])
    return rows


def absent_rows(document: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of what was not fused and why; what has no labels at all last."""
    rows = []
    for name, reasons in document["absent"].items():
        said = [
            f"{why} {count}" + (f" ({_MEANINGS[why]})" if why in _MEANINGS else "") for why, count in reasons.items()
        ]
        rows.append([modality(name).title, ", ".join(said)])
    for why, count in document["unusable_sets"].items():
        rows.append(["whole set", f"{why} {count}: no labels, missed by every subset"])
    if silent := document["silent_frames"]:
        rows.append(["all sensors", f"no set when one was due {silent}: no labels, missed by every subset"])
    return rows


def injected_rows(document: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of faults: what was asked for and how many messages it hit."""
    rows = []
    for fault, hits in document["injected"].items():
        said = _per_sensor(hits) or "none"
        if unreadable := _per_sensor(document["unreadable"][fault]):
            said += f"; unreadable and left as they were: {unreadable}"
        rows.append([fault, said])
    noise = document["conditions"]["noise"]
    if noise is not None:
        rows.append([f"noise {noise} on the model's input", "every frame: camera, depth, LiDAR"])
    return rows


def _per_sensor(counts: dict[str, int]) -> str:
    return ", ".join(f"{modality(name).title} {counts[name]}" for name in canonical(counts) if counts[name])


def reliability_rows(document: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of reliability: per sensor its mean, its lowest score, when that was and which part it was."""
    return [
        [modality(name).title, f"{entry['mean']:.2f}", f"{entry['min']:.2f}", f"{entry['min_at_s']:.1f}",
         entry["min_part"]]
        for name, entry in document["reliability"].items()
    ]  # fmt: skip


def terminal_tables(result: Evaluation, document: dict[str, Any]) -> list[Table]:
    """What the command prints; every table fits 100 columns."""
    has_truth = result.has_truth
    title = "percent, drop protocol: R camera, D depth, E events, L LiDAR"
    tables = [_table(title, ["sensors"], subset_rows(document, has_truth), _columns(has_truth))]
    if len(result.phases) > 1:
        columns = tuple(column for column in _phase_columns(has_truth) if column[0] in _PHASE_KEYS)
        heads, rows = ["phase", "seconds", "frames"], phase_rows(document, columns)
        tables.append(_table("per phase, all sensors that are there", heads, rows, columns))
    for heads, rows in (
        (("not fused", "why, frames"), absent_rows(document)), (("injected", "messages hit"), injected_rows(document)),
    ):  # fmt: skip
        if rows:
            tables.append(_plain_table(heads, rows))
    return tables


def _plain_table(heads: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(*heads, width=100)
    for row in rows:
        table.add_row(*row)
    return table


def _table(title: str, heads: list[str], rows: list[list[str]], columns: Columns) -> Table:
    table = Table(title=title, width=100)
    for head in heads:
        table.add_column(head)
    for key, head in columns:
        table.add_column(_SHORT.get(key, head), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


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
    lanes = [
        Lane(modality(sensor).title, _LANE_COLOURS[sensor],
             tuple(Span(start, end) for start, end in result.silent.get(sensor, ())))
        for sensor in canonical(result.conditions["streams"])
    ]  # fmt: skip
    per_phase = [list(scores.values())[-1].document() for scores in result.scores]
    wanted = [("confidence", "conf.", "% per frame"), ("flicker", "flicker", "% of pixels")]
    if result.has_truth:
        wanted.insert(0, ("miou_present", "mIoU", "% per frame"))
    panels = []
    for key, title, unit in wanted:
        values = [(time_s, _number(entry.get(key)), said) for time_s, entry, said in points]
        dots = [(time_s, value, f"{value:.1f} %: {said}") for time_s, value, said in values]
        panels.append(Panel(title, unit, dots, [_number(entry.get(key)) for entry in per_phase]))
    lines = [Line(modality(sensor).title, _LANE_COLOURS[sensor], scores) for sensor, scores in reliability.items()]
    panels.append(Panel("reliab.", "% per sensor", (), lines=lines))
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


def _class_bars(full: SubsetScore, space: LabelSpace) -> str:
    iou, support = full.confusion.iou(), full.confusion.support
    order = [k for k in np.argsort(-support, kind="stable") if support[k]]
    share = support / max(int(support.sum()), 1)
    return bars_svg(
        [Bar(space.classes[k], space.colours[k], 100 * float(np.nan_to_num(iou[k])),
             f"{space.classes[k]}: {support[k]} pixels, {100 * share[k]:.2f} % of the truth") for k in order]
    )  # fmt: skip


def _worst_sheet(worst: list[FrameView], space: LabelSpace, sensors: tuple[str, ...], has_truth: bool) -> str:
    columns = [modality(name).title for name in sensors] + ["prediction"] + (["truth", "wrong"] if has_truth else [])
    rows = []
    for view in worst:
        pictures = [view.planes.get(name) for name in sensors] + [space.colourise(view.labels)]
        if has_truth and view.truth is not None and view.wrong is not None:
            marked = space.colourise(view.truth) // 3
            marked[view.wrong] = _MISSED
            pictures += [space.colourise(view.truth), marked]
        elif has_truth:
            pictures += [None, None]
        rows.append(report.SheetRow(f"{view.time_s:.1f} s", view.note, tuple(pictures)))
    lossless = [False] * len(sensors) + [True] * (len(columns) - len(sensors))
    return report.contact_sheet(columns, rows, lossless)


def _conditions_table(conditions: dict[str, Any]) -> str:
    bag, checkpoint = conditions["bag"], conditions["checkpoint"]
    rows = [
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
    ]
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table class="facts">{body}</table></div>'


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


def evaluation_html(result: Evaluation, document: dict[str, Any], frames: Path, command: str) -> str:
    """The report as one document; `frames` is the JSON lines file of the same evaluation."""
    space = label_space(result.conditions["label_space"])
    sensors = canonical(result.conditions["streams"])
    has_truth, total = result.has_truth, list(result.total().values())[-1]
    numbers = [("sensors", "left"), *((title, "right") for _, title in _columns(has_truth))]
    meant = {name: text for name, text in _DEFINITIONS.items() if has_truth or name not in _OF_TRUTH}
    explained = "".join(f'<p class="muted"><b>{escape(k)}</b>: {escape(v)}.</p>' for k, v in meant.items())
    sections = [
        ("What was injected", _injected_html(document)),
        ("Over time", f'<div class="scroll">{_timeline(result, frames)}</div>'
         '<p class="muted">Dots: frames, labelled from all sensors that were there. Red: the phase as a whole. '
         "Hatched: not fused. Lines: reliability of each sensor, in its colour.</p>"),
        ("Per sensor subset", report.number_table(numbers, subset_rows(document, has_truth)) + explained),
    ]  # fmt: skip
    heads = [("sensor", "left"), *((head, "right") for head in ("mean", "lowest", "at, s")), ("because of", "left")]
    table = report.number_table(heads, reliability_rows(document))
    sections.append(("Reliability per sensor, 0 to 1", f'{table}<p class="muted">{_RELIABILITY}</p>'))
    if rows := absent_rows(document):
        table = report.number_table((("sensor", "left"), ("why, frames", "left")), rows)
        sections.append(("Not fused", table))
    if len(result.phases) > 1:
        heads = [("phase", "left"), ("seconds", "left"), ("frames", "right")]
        heads += [(title, "right") for _, title in _phase_columns(has_truth)]
        phases = report.number_table(heads, phase_rows(document, _phase_columns(has_truth)))
        sections.append(("Per phase, all sensors that are there", phases))
    if has_truth:
        counts = total.confusion.counts
        sections += [
            ("Per class, IoU in percent", f'<div class="scroll">{_class_bars(total, space)}</div>'),
            ("Confusion", f'<div class="scroll">{confusion_svg(space.classes, counts, "no label")}</div>'
             '<p class="muted">Rows: truth. Columns: what the model says, in percent of the row.</p>'),
        ]  # fmt: skip
    legend = report.swatches(list(zip(space.classes, space.colours, strict=True)))
    if result.worst:
        said = "lowest mIoU" if has_truth else "lowest confidence"
        sections.append((f"Worst frames: {said}", _worst_sheet(result.worst, space, sensors, has_truth) + legend))
    if result.warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in result.warnings)
        sections.append(("Warnings of the recording", f"<ul>{items}</ul>"))
    sections.append(("Conditions", f"<p><code>{escape(command)}</code></p>{_conditions_table(result.conditions)}"))
    unlabelled = total.frames - total.labelled
    parts = [f"{total.with_truth} with a truth"] * has_truth + [f"{unlabelled} without labels"] * bool(unlabelled)
    judged = f"{total.frames} frames" + (f" ({', '.join(parts)})" if parts else "")
    introduction = (
        f"{result.end_s:.1f} s of recording, {judged} judged in virtual time: the same sets, projection "
        "and preprocessing as in the live node; every subset of the sensors from one encoding."
    )
    if not has_truth:
        introduction += " Without a truth the figures say how the model behaves, not whether it is right."
    return report.page(f"Any2Seg on {result.conditions['bag']['name']}", introduction, sections)


def _injected_html(document: dict[str, Any]) -> str:
    rows = injected_rows(document)
    if not rows:
        return "<p>Nothing: the recording as it is.</p>"
    seed = document["conditions"]["seed"]
    table = report.number_table((("fault", "left"), ("messages hit", "left")), rows)
    return f'{table}<p class="muted">Drawn with seed {seed}. Each fault can be given to --fault again.</p>'


def write_evaluation(result: Evaluation, out: Path, command: str) -> dict[str, Any]:
    """Write out/summary.json and out/report.html beside out/frames.jsonl; returns the summary."""
    document = summary_document(result)
    html = evaluation_html(result, document, out / "frames.jsonl", command)
    for name, text in (("summary.json", json.dumps(document, indent=1) + "\n"), ("report.html", html)):
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return document
