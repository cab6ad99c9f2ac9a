"""Frames as rows of pictures: what each sensor saw, the truth, the labels, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from any2seg_core.evaluation.frame_views import FrameView
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.tables import NO_LABEL
from any2seg_core.reports.document import Figure, Legend, Sheet, SheetRow
from any2seg_core.reports.plots import Bar, bars_svg, confusion_svg
from any2seg_core.vocabulary.labels import LabelSpace, is_labelled
from any2seg_core.vocabulary.modalities import SensorSuite

TRUTH, PREDICTION, WRONG = ALL_LABELS = ("truth", "prediction", "wrong")
CONFUSION_NOTE = (
    "Rows: truth. Columns: what the model says, in percent of the row. Of more than 30 classes: the 30 with the most "
    "wrong pixels."
)
_MISSED = (255, 0, 90)


def frame_sheet(
    views: Sequence[FrameView],
    sensors: Sequence[str],
    suite: SensorSuite,
    space: LabelSpace,
    labels: Sequence[str] = ALL_LABELS,
) -> Sheet:
    """One row per frame: planes of these sensors of a suite, then the label pictures named.

    WRONG is the truth, dark, with what was missed.
    """
    rows = []
    for view in views:
        pictures = {
            PREDICTION: space.colourise(view.labels),
            TRUTH: None if view.truth is None else space.colourise(view.truth),
            WRONG: None if view.truth is None else _marked(view.labels, view.truth, space),
        }
        shown = (*(view.planes.get(name) for name in sensors), *(pictures[name] for name in labels))
        rows.append(SheetRow(view.title, view.note, shown))
    return Sheet([*(suite.sensor(name).title for name in sensors), *labels], rows, labels)


def _marked(labels: np.ndarray, truth: np.ndarray, space: LabelSpace) -> np.ndarray:
    marked = space.colourise(truth) // 3
    marked[is_labelled(truth) & (truth != labels)] = _MISSED
    return marked


def class_legend(space: LabelSpace) -> Legend:
    """All classes in their colours."""
    return Legend(list(zip(space.classes, space.colours, strict=True)))


def class_figures(space: LabelSpace, counts: np.ndarray) -> tuple[Figure, Figure]:
    """Bars of the IoU of every class in the truth, the most frequent first, and the confusion.

    Args:
        counts: (K, K + 1) int64, see `ConfusionMatrix`.
    """
    matrix = ConfusionMatrix.of(space)
    matrix.counts = counts
    iou, support = matrix.iou(), matrix.support
    bars = [
        Bar(space.classes[k], space.colours[k], 100.0 * float(np.nan_to_num(iou[k])),
            f"{space.classes[k]}: {support[k]} pixels, {100.0 * support[k] / support.sum():.2f} % of the truth")
        for k in np.argsort(-support, kind="stable") if support[k]
    ]  # fmt: skip
    return (
        Figure(bars_svg(bars), "IoU of every class in percent"),
        Figure(confusion_svg(space.classes, counts, NO_LABEL), "confusion of the classes"),
    )
