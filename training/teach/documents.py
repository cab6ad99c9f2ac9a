"""What `any2seg teach` keeps in --out beside weights and planes: its plan, and a summary of what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json
from any2seg_core.evaluation.scores import SubsetScore, percent, rounded_document
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_training.teach.judge import Judge, Verdict
from any2seg_training.teach.settings import CHECKPOINT, PLAN, PLANES, REPORT, SUMMARY, TRAINING, TeachSettings
from any2seg_training.teach.trial import Estimate

_PAIRS = 8


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_plan(out: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The estimate of a run that began in this folder; None where none did.

    Raises:
        UserError: it began with other settings, the first that differs is named; or something stands where this program
            would write, and is not of it.
    """
    path = out / PLAN
    if not path.is_file():
        if foreign := [name for name in (CHECKPOINT, REPORT, SUMMARY, PLANES, TRAINING) if (out / name).exists()]:
            raise UserError(
                f"{out / foreign[0]}: is of no any2seg teach that began in this folder: choose another folder",
                "output-exists",
            )
        return None
    document = read_json(path)
    if not isinstance(document, dict) or not {"settings", "estimate"} <= document.keys():
        raise UserError(f"{path}: is no plan of any2seg teach: choose another folder", "file-content")
    before = document["settings"]
    for name in dict.fromkeys([*before, *settings]):
        if before.get(name) != settings.get(name):
            raise UserError(
                f"{path}: began with {name}={json.dumps(before.get(name))} (now {json.dumps(settings.get(name))}): go "
                "on with the same, or choose another folder",
                "resume-mismatch",
            )
    return dict(document["estimate"])


def read_summary(out: Path) -> dict[str, Any] | None:
    """The summary of a run that has ended, which its report says; None of any other."""
    return dict(read_json(out / SUMMARY)) if (out / REPORT).is_file() else None


def summary_of(settings: TeachSettings, judge: Judge, verdict: Verdict, estimate: Estimate) -> dict[str, Any]:
    """All figures as plain JSON types, in percent."""
    space, letters = judge.target.space, judge.letters
    single = [name for name in letters if len(name) == 1]
    full = letters[-1]
    truth = None
    if verdict.teacher_truth is not None:
        truth = {"teacher": _figures(verdict.teacher_truth)} | {n: _figures(s) for n, s in verdict.truth.items()}
    return rounded_document({
        "teachers": judge.lessons.teachers.names, "recordings": [path.name for path in settings.recordings],
        "sensors": {suite.letter: suite.name for suite in judge.target.suite.sensors if suite.letter in full},
        "classes": list(space.classes), "frames": verdict.frames, "held_out": len(judge.frames),
        "steps": estimate.steps, "untaught": percent(verdict.untaught),
        "agreement": {name: _figures(score) for name, score in verdict.agreement.items()},
        "agreement_of_classes": {name: _iou(verdict.agreement[name], space) for name in (*single, full)},
        "truth": truth,
        "calibrated_by": "labels" if judge.frames.labelled else "probabilities of the teachers",
        "calibration": {
            name: {"temperature": each.temperature, "ece": percent(each.ece), "plain_ece": percent(each.plain_ece)}
            for name, each in verdict.calibrated.items()
        },
        "faults": [
            {"sensor": row["sensor"], "fault": row["fault"],
             "agreement": None if row["agreement"] is None else percent(row["agreement"]),
             "teacher_agreement": None if row["teacher_agreement"] is None else percent(row["teacher_agreement"])}
            for row in verdict.faults
        ],
        "apart": [{"frame": judge.frames.name(index), "percent": percent(share)} for share, index in verdict.apart],
        "apart_classes": apart_classes(verdict.agreement[full], space),
    })  # fmt: skip


def apart_classes(score: SubsetScore, space: LabelSpace) -> list[dict[str, Any]]:
    """What the teachers and the student call the most pixels on which they differ, in percent of all."""
    counts = score.confusion.counts[:, : len(space)].copy()
    total = max(1, int(counts.sum()))
    np.fill_diagonal(counts, 0)
    largest = np.argsort(-counts, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(space)) for place in largest]
    return [
        {"teacher": space.classes[row], "student": space.classes[column],
         "percent": percent(counts[row, column] / total)}
        for row, column in pairs if counts[row, column]
    ]  # fmt: skip


def _figures(score: SubsetScore) -> dict[str, Any]:
    matrix = score.confusion
    return {"pixels": percent(matrix.pixel_accuracy()), "miou": percent(matrix.miou("present"))}


def _iou(score: SubsetScore, space: LabelSpace) -> dict[str, float | None]:
    """Of the classes that the teachers name."""
    iou, support = score.confusion.iou(), score.confusion.support
    return {name: percent(iou[number]) for number, name in enumerate(space.classes) if support[number]}
