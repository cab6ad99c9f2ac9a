"""The report of what a model was taught: agreement, truth, disagreement and pictures, told apart."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.evaluation.batches import spread
from any2seg_core.reports.document import Report, Section, Sheet, SheetRow, Table
from any2seg_core.reports.pictures import class_legend
from any2seg_core.vocabulary.labels import LabelSpace, is_labelled
from any2seg_training.teach.judge import SHOWN, Judge, Verdict

_INTRODUCTION = (
    "A model of all sensors was taught by a frozen teacher on frames without labels. Agreement with the teacher is not "
    "truth: where the teacher is wrong, a student that agrees is wrong too. Figures are of frames at the end of each "
    "recording, which nobody learned from."
)
_AGREEMENT = (
    "Labels of the student from the sensors named alone, against the most probable class of the teacher. Pixels: share "
    "that is alike. mIoU: mean over the classes that the teacher names. Pixels where its word does not count are left "
    "out: frames of which it is unsure, and sky where LiDAR or depth measured something ({untaught:.1f} %)."
)
_TRUTH = (
    "Against the labels of the recordings, which say what is right. The teacher's own figure is the first row. No "
    "label of these frames was learned from."
)
_FAULTS = (
    "One sensor is ill with full severity, or gone; the others are well. Share of pixels labelled as the teacher "
    "labels the picture without the fault: by the student from all its sensors, and by the teacher from the picture "
    "that has it."
)
_CALIBRATION = (
    "A temperature per set of sensors makes a confidence of 0.8 right in 80 of 100 pixels. It was found on every "
    "second frame held out; the errors (ECE) are of the others. It is in the checkpoint. By {by}: without labels a "
    "student is as sure as its teacher, and no more right."
)
_APART = (
    "Look at these first: the frames on which the student, from all sensors, is most sure of other labels than the "
    "teacher. One of them is wrong, and the teacher may be it. Bright red: pixels that differ; the box holds the "
    "largest region of them."
)
_ALONE = "Labels of each sensor alone, of the camera's teacher and of all sensors, on frames held out."
_FIGURES = ("sensors", "pixels %", "mIoU %")
_PLANES, _TEACHER, _ALL, _DIFFER = "sees", "teacher", "all sensors", "differ"
_MARK = np.array((255, 40, 60), np.uint8)


def write_report(path: Path, judge: Judge, verdict: Verdict, summary: dict[str, Any]) -> None:
    """One HTML file that holds everything it shows."""
    command = shlex.join(["any2seg", *sys.argv[1:]])
    facts = [
        ("teacher", ", ".join(summary["teachers"])), ("recordings", ", ".join(summary["recordings"])),
        ("sensors", ", ".join(f"{letter}: {name}" for letter, name in summary["sensors"].items())),
        ("frames held out", f"{summary['held_out']}, {summary['frames']} of them judged"),
        ("steps", str(summary["steps"])),
    ]  # fmt: skip
    said = f"{_INTRODUCTION} {_headline(judge, summary)}"
    report = Report("What was taught", said, list(_sections(judge, verdict, summary)), facts, command)
    with replacing(path) as partial:
        partial.write_text(report.html(), encoding="utf-8")


def _headline(judge: Judge, summary: dict[str, Any]) -> str:
    """The figures that one asks for first, in words."""
    agreement, full = summary["agreement"], judge.letters[-1]
    seen = {name for teacher in judge.lessons.teachers.teachers for name in teacher.sensors}
    own = "".join(letter for letter, name in summary["sensors"].items() if name in seen)
    blind = "".join(letter for letter in full if letter not in own)
    parts = [(name, what) for name, what in ((own, "from the teacher's own sensors"), (blind, "without them"),
             (full, "from all")) if name in agreement]  # fmt: skip
    told = ", ".join(f"{_text(agreement[name]['pixels'])} % {what} ({name})" for name, what in parts)
    return f"Pixels labelled as the teacher labels them: {told}."


def _sections(judge: Judge, verdict: Verdict, summary: dict[str, Any]) -> Iterator[Section]:
    agreement = [(name, *_cells(row)) for name, row in summary["agreement"].items()]
    note = _AGREEMENT.format(untaught=summary["untaught"] or 0.0)
    yield Section("Agreement with the teacher", (Table(_FIGURES, agreement), _class_table(summary)), note)
    yield _truth_section(summary)
    yield _apart_section(judge, verdict, summary)
    yield Section("Every sensor alone", (_alone_sheet(judge), class_legend(judge.target.space)), _ALONE)
    faults = [(row["sensor"], row["fault"], _text(row["agreement"]), _text(row["teacher_agreement"]))
              for row in summary["faults"]]  # fmt: skip
    heads = ("sensor", "fault", "student, %", "teacher, %")
    yield Section("With a fault planted", (Table(heads, faults, ("fault",)),), _FAULTS)
    errors = [(name, f"{row['temperature']:.2f}", _text(row["plain_ece"]), _text(row["ece"]))
              for name, row in summary["calibration"].items()]  # fmt: skip
    heads = ("sensors", "temperature", "ECE before, %", "after, %")
    yield Section("Calibration", (Table(heads, errors),), _CALIBRATION.format(by=summary["calibrated_by"]))


def _class_table(summary: dict[str, Any]) -> Table:
    classes = summary["agreement_of_classes"]
    names = next(iter(classes.values()))
    return Table(
        ("class, IoU %", *classes), [(name, *(_text(own.get(name)) for own in classes.values())) for name in names]
    )


def _truth_section(summary: dict[str, Any]) -> Section:
    if summary["truth"] is None:
        told = "The recordings have no labels, or they were not to be used: nothing here says how often one is right."
        return Section("Accuracy on labels", note=told)
    rows = [(name, *_cells(row)) for name, row in summary["truth"].items()]
    return Section("Accuracy on labels", (Table(_FIGURES, rows),), _TRUTH)


def _apart_section(judge: Judge, verdict: Verdict, summary: dict[str, Any]) -> Section:
    space, full = judge.target.space, judge.letters[-1]
    rows = []
    for share, index in verdict.apart:
        sample, labels, word = judge.labels_of(index)
        differs = is_labelled(word) & (labels[full] != word)
        region, told = _largest(differs, word, labels[full], space)
        picture = sample.planes.get(judge.target.suite.camera, next(iter(sample.planes.values())))
        note = f"{100 * share:.1f} % apart; {told}"
        shown = (picture, space.colourise(word), space.colourise(labels[full]), _marked(picture, differs, region))
        rows.append(SheetRow(judge.frames.name(index), note, shown))
    sheet = Sheet((_PLANES, _TEACHER, _ALL, _DIFFER), rows, (_TEACHER, _ALL))
    heads = ("teacher says", "student says", "pixels %")
    pairs = [(row["teacher"], row["student"], f"{row['percent']:.2f}") for row in summary["apart_classes"]]
    blocks = (sheet, Table(heads, pairs, ("student says",))) if pairs else (sheet,)
    return Section("Where student and teacher disagree most", blocks, _APART)


def _largest(
    differs: np.ndarray, word: np.ndarray, own: np.ndarray, space: LabelSpace
) -> tuple[tuple[int, int, int, int] | None, str]:
    """Left, top, width and height of the largest connected region of (H, W) bool, and what both call it."""
    _, numbers, statistics, _ = cv2.connectedComponentsWithStats(differs.astype(np.uint8), connectivity=4)
    if len(statistics) == 1:
        return None, "nothing differs"
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    inside = numbers == largest
    pairs = word[inside].astype(np.int64) * len(space) + own[inside]
    theirs, ours = (space.classes[number] for number in divmod(int(np.bincount(pairs).argmax()), len(space)))
    left, top, width, height, area = statistics[largest].tolist()
    return (left, top, width, height), f"largest region {100 * area / differs.size:.1f} %: {theirs}, or {ours}"


def _marked(picture: np.ndarray, differs: np.ndarray, region: tuple[int, int, int, int] | None) -> np.ndarray:
    marked = np.clip(picture, 0, 255).astype(np.uint8) // 2
    marked[differs] = _MARK
    if region is not None:
        left, top, width, height = region
        thick = max(2, len(marked) // 120)
        cv2.rectangle(marked, (left, top), (left + width, top + height), (255, 255, 255), thick)
    return marked


def _alone_sheet(judge: Judge) -> Sheet:
    space, suite = judge.target.space, judge.target.suite
    sensors = judge.target.model.modalities
    alone = [suite.subset_letters([name]) for name in sensors]
    titles = [suite.sensor(name).title for name in sensors]
    rows = []
    indices = judge.target.indices
    for number in spread(len(indices), SHOWN):
        sample, labels, word = judge.labels_of(indices[number])
        planes = tuple(_shown(sample.planes.get(name)) for name in sensors)
        pictures = [space.colourise(labels[each]) if name in sample.planes else None
                    for each, name in zip(alone, sensors, strict=True)]  # fmt: skip
        every = space.colourise(labels[judge.letters[-1]])
        row = (*planes, space.colourise(word), *pictures, every)
        rows.append(SheetRow(judge.frames.name(indices[number]), "", row))
    from_alone = [f"{title} alone" for title in titles]
    return Sheet((*titles, _TEACHER, *from_alone, _ALL), rows, (_TEACHER, *from_alone, _ALL))


def _shown(plane: np.ndarray | None) -> np.ndarray | None:
    return None if plane is None else np.clip(plane, 0, 255).astype(np.uint8)


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    return _text(row["pixels"]), _text(row["miou"])


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
