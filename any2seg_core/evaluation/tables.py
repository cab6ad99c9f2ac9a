"""Subset tables: numbers for JSON and text for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.subsets import Floors, subset_mean
from any2seg_core.vocabulary.labels import LabelSpace

_POLICIES = ("present", "all", "without_other")


def summarise(
    table: dict[str, ConfusionMatrix],
    space: LabelSpace,
    frames: int,
    floors: Floors | None = None,
    protocol: str = "drop",
) -> dict[str, Any]:
    """Per subset the three means, F1 and accuracy over present classes, per-class IoU; all in percent, JSON-ready."""
    summary: dict[str, Any] = {"unit": "percent", "protocol": protocol, "frames": frames}
    summary["subsets"] = {
        letters: {f"miou_{policy}": percent(matrix.miou(policy)) for policy in _POLICIES}
        | {
            "f1_present": percent(matrix.mean(matrix.f1(), "present")),
            "accuracy_present": percent(matrix.mean(matrix.accuracy(), "present")),
            "pixel_accuracy": percent(matrix.pixel_accuracy()),
        }
        for letters, matrix in table.items()
    }
    summary["subset_mean"] = {f"miou_{policy}": percent(subset_mean(table, policy)) for policy in _POLICIES}
    summary["class_iou"] = {
        letters: {
            name: percent(value)
            for name, value, pixels in zip(space.classes, matrix.iou(), matrix.support, strict=True)
            if pixels
        }
        for letters, matrix in table.items()
    }
    if floors is not None:
        summary["floors"] = {
            "constant": percent(floors.constant),
            "constant_class": space.classes[floors.constant_class],
            "pixel_prior": percent(floors.pixel_prior),
        }
    return summary


def render(summary: dict[str, Any]) -> str:
    """The subset table and the per-class IoU of the full set, of the best and of the worst single sensor as text."""
    lines = [f"{'sensors':>8} {'present':>8} {'all':>8} {'w/o Other':>10} {'F1':>7} {'acc':>7}   mIoU in percent"]
    for letters, row in summary["subsets"].items():
        lines.append(f"{letters:>8} {_means(row)} {_cell(row['f1_present'], 7)} {_cell(row['accuracy_present'], 7)}")
    lines.append(f"{'mean':>8} {_means(summary['subset_mean'])}")
    if "floors" in summary:
        floors = summary["floors"]
        lines.append(
            f"floors without any sensor: constant {floors['constant_class']} {_cell(floors['constant'])},"
            f" per-pixel prior {_cell(floors['pixel_prior'])}"
        )
    return "\n".join([*lines, "", *_class_lines(summary)])


def _class_lines(summary: dict[str, Any]) -> list[str]:
    columns = [letters for letters in summary["class_iou"] if len(letters) == 1]
    full = max(summary["class_iou"], key=len)
    columns = [full, *(letters for letters in columns if letters != full)]
    lines = [f"{'IoU':>14} " + " ".join(f"{letters:>7}" for letters in columns)]
    for name in summary["class_iou"][full]:
        cells = (_cell(summary["class_iou"][letters][name], 7) for letters in columns)
        lines.append(f"{name:>14} " + " ".join(cells))
    return lines


def _means(row: dict[str, float | None]) -> str:
    return f"{_cell(row['miou_present'], 8)} {_cell(row['miou_all'], 8)} {_cell(row['miou_without_other'], 10)}"


def _cell(value: float | None, width: int = 0) -> str:
    return f"{'-' if value is None else f'{value:.2f}':>{width}}"


def percent(fraction: float) -> float | None:
    """0..1 -> percent with two digits; None for NaN."""
    return None if np.isnan(fraction) else round(100.0 * float(fraction), 2)
