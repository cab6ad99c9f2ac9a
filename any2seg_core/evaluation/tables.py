"""Subset tables: numbers for JSON and text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from any2seg_core.evaluation.policies import POLICIES
from any2seg_core.evaluation.scores import SubsetScore, percent, rounded
from any2seg_core.vocabulary.labels import LabelSpace

if TYPE_CHECKING:
    from any2seg_core.evaluation.subsets import PriorBaselines

NO_LABEL = "no label"
"""Last column of a confusion: pixels with a truth that were left unlabelled."""
_MEASURES = ("miou", "f1", "accuracy")


def summarise(
    scores: Mapping[str, SubsetScore],
    space: LabelSpace,
    frames: int,
    baselines: PriorBaselines | None = None,
    protocol: str = "drop",
) -> dict[str, Any]:
    """What every evaluation says, JSON-ready and in percent.

    Args:
        scores: by subset letters. frames: how many were evaluated. protocol: of absent sensors, or "live".

    Returns:
        ``subsets``: per subset `SubsetScore.document`. With a truth also ``subset_mean`` and ``subset_std`` over the
        subsets (standard deviation of all of them, N in the denominator) of mIoU, F1 and accuracy under each policy;
        ``class_iou``, ``class_f1`` and ``class_accuracy`` per subset over the classes in the truth; ``confusion`` of
        the largest subset: K rows of the truth with K + 1 columns of what was predicted, in pixels.
    """
    summary: dict[str, Any] = {"unit": "percent", "protocol": protocol, "frames": frames}
    summary["subsets"] = {letters: score.document() for letters, score in scores.items()}
    if any(score.with_truth for score in scores.values()):
        keys = [f"{measure}_{policy}" for measure in _MEASURES for policy in POLICIES]
        columns = {key: _known(row.get(key) for row in summary["subsets"].values()) for key in keys}
        for what, value_of in (("mean", np.mean), ("std", np.std)):
            values = {key: rounded(float(value_of(known))) if known else None for key, known in columns.items()}
            summary[f"subset_{what}"] = values
        classes = {letters: score.class_document(space) for letters, score in scores.items()}
        for measure in ("iou", "f1", "accuracy"):
            summary[f"class_{measure}"] = {letters: entry[measure] for letters, entry in classes.items()}
        full = max(scores, key=len)
        summary["confusion"] = {
            "sensors": full,
            "classes": [*space.classes, NO_LABEL],
            "counts": scores[full].confusion.counts.tolist(),
        }
    if baselines is not None:
        summary["prior_baselines"] = {
            "constant": percent(baselines.constant),
            "constant_class": space.classes[baselines.constant_class],
            "pixel_prior": percent(baselines.pixel_prior),
        }
    return summary


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def render(summary: dict[str, Any]) -> str:
    """The subset table and the per-class IoU of the full set, of the best and of the worst single sensor as text."""
    width = max([8, *map(len, summary["subsets"])])
    heads = f"{'sensors':>{width}} {'present':>8} {'all':>8} {'w/o Other':>10} {'F1':>7} {'acc':>7}"
    lines = [f"{heads}   percent; F1, acc: present"]
    for letters, row in summary["subsets"].items():
        measures = f"{_cell(row['f1_present'], 7)} {_cell(row['accuracy_present'], 7)}"
        lines.append(f"{letters:>{width}} {_means(row)} {measures}")
    for name, key in (("mean", "subset_mean"), ("std", "subset_std")):
        if key in summary:  # results of older checkpoints have no deviation
            lines.append(f"{name:>{width}} {_means(summary[key])}")
    baselines = summary.get("prior_baselines") or summary.get("floors")  # what older checkpoints call them
    if baselines is not None:
        lines.append(
            f"baselines without any sensor: constant {baselines['constant_class']} {_cell(baselines['constant'])},"
            f" per-pixel prior {_cell(baselines['pixel_prior'])}"
        )
    return "\n".join([*lines, "", *_class_lines(summary)])


def _class_lines(summary: dict[str, Any]) -> list[str]:
    columns = [letters for letters in summary["class_iou"] if len(letters) == 1]
    full = max(summary["class_iou"], key=len)
    columns = [full, *(letters for letters in columns if letters != full)]
    width = max([14, *map(len, summary["class_iou"][full])])
    lines = [f"{'IoU':>{width}} " + " ".join(f"{letters:>{_wide(letters)}}" for letters in columns)]
    for name in summary["class_iou"][full]:
        cells = (_cell(summary["class_iou"][letters][name], _wide(letters)) for letters in columns)
        lines.append(f"{name:>{width}} " + " ".join(cells))
    return lines


def _wide(letters: str) -> int:
    return max(7, len(letters))


def _means(row: dict[str, float | None]) -> str:
    return f"{_cell(row['miou_present'], 8)} {_cell(row['miou_all'], 8)} {_cell(row['miou_without_other'], 10)}"


def _cell(value: float | None, width: int = 0) -> str:
    return f"{'-' if value is None else f'{value:.2f}':>{width}}"


def mapping_lines(mapping: dict[str, Any] | None) -> list[str]:
    """What `Comparison.document` says, for people; nothing without a mapping."""
    if not mapping:
        return []
    share = mapping["left_out_percent"]
    out = "no pixel was labelled" if share is None else f"{share:.1f} % of the labelled pixels are of others"
    lines = [f"compared by {mapping['name']}: {mapping['compared']} classes; {out}"]
    sides = (("truth", "truth that does not count"), ("labels", "labels that count as missed"))
    lines += [f"{said}: {', '.join(names)}" for side, said in sides if (names := mapping["left_out"][side])]
    return lines
