"""Figures of a recording as rows of texts, and the tables of them that the terminal shows."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.evaluation.recording.evaluation import Evaluation
from any2seg_core.sensors.health import HEALTH_REASONS
from any2seg_core.vocabulary.modalities import SensorSuite

_TRUTH_COLUMNS = (
    ("miou_present", "mIoU present"), ("miou_all", "all"), ("miou_without_other", "w/o Other"), ("f1_present", "F1"),
    ("pixel_accuracy", "pixel acc."), ("ece", "ECE"),
)  # fmt: skip
_PLAIN_COLUMNS = (("coverage", "coverage"), ("agreement", "agreement"), ("changed", "changed"),
                  ("flicker", "flicker"), ("confidence", "confidence"))  # fmt: skip
_SHORT = {"miou_present": "mIoU", "miou_without_other": "w/o O.", "pixel_accuracy": "acc.", "coverage": "cover",
          "agreement": "agree", "changed": "chgd.", "confidence": "conf."}  # fmt: skip
"""Headings of the terminal, where they differ: 100 columns."""
_PHASE_KEYS = ("miou_present", "pixel_accuracy", "coverage", "flicker", "confidence")
"""What a phase shows on the terminal, so that its name and time fit beside it; files and report have the rest."""
_WINDOW_KEYS = ("miou_present", "coverage", "changed", "flicker")
_MEANINGS = {
    "never_seen": "not one message yet",
    "dead": "silent for too long",
    "stale": "messages, but none near enough to the set",
    "timeout": "waited for in vain",
    "disabled": "switched off",
    **MESSAGE_REASONS,
    **HEALTH_REASONS,
}


Columns = tuple[tuple[str, str], ...]
"""(key of a subset's figures, heading)."""


def suite_of(document: dict[str, Any]) -> SensorSuite:
    """The sensors that an evaluation is of."""
    return SensorSuite.of_document(document["conditions"]["suite"])


def columns_of(has_truth: bool) -> Columns:
    return (*_TRUTH_COLUMNS, *_PLAIN_COLUMNS) if has_truth else _PLAIN_COLUMNS


def phase_columns(has_truth: bool) -> Columns:
    """Of all sensors that are there: agreement is 100 by definition."""
    return tuple(column for column in columns_of(has_truth) if column[0] != "agreement")


def _cells(document: dict[str, Any], columns: Columns) -> list[str]:
    values = [document.get(key) for key, _ in columns]
    return ["-" if value is None else f"{value:.1f}" for value in values]


def subset_rows(document: dict[str, Any], has_truth: bool) -> list[list[str]]:
    """Rows of the table per subset, mean and standard deviation of the subsets last where there is a truth."""
    rows = [[name, *_cells(entry, columns_of(has_truth))] for name, entry in document["subsets"].items()]
    if has_truth and len(rows) > 1:
        for name, key in (("mean", "subset_mean"), ("std", "subset_std")):
            values = [document[key].get(column) for column, _ in columns_of(has_truth)]
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


def window_columns(has_truth: bool) -> Columns:
    """Of the frames of an outage, and of those after it."""
    return tuple(column for column in columns_of(has_truth) if column[0] in _WINDOW_KEYS)


def window_rows(document: dict[str, Any], columns: Columns) -> list[list[str]]:
    """Rows of the table of outages, for all sensors."""
    rows = []
    for window, subsets in document["windows"].items():
        full = list(subsets.values())[-1]
        rows.append([window, str(full["frames"]), *_cells(full, columns)])
    return rows


def absent_rows(document: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of what was not fused and why; what has no labels at all last."""
    rows, suite = [], suite_of(document)
    for name, reasons in document["absent"].items():
        said = [
            f"{why} {count}" + (f" ({_MEANINGS[why]})" if why in _MEANINGS else "") for why, count in reasons.items()
        ]
        rows.append([suite.sensor(name).title, ", ".join(said)])
    for why, count in document["unusable_sets"].items():
        rows.append(["whole set", f"{why} {count}: no labels, missed by every subset"])
    if silent := document["silent_frames"]:
        rows.append(["all sensors", f"no set when one was due {silent}: no labels, missed by every subset"])
    return rows


def injected_rows(document: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of faults: what was asked for and how many messages it hit."""
    rows, suite = [], suite_of(document)
    for fault, hits in document["injected"].items():
        said = _per_sensor(hits, suite) or "none"
        if unreadable := _per_sensor(document["unreadable"][fault], suite):
            said += f"; unreadable and left as they were: {unreadable}"
        rows.append([fault, said])
    noise = document["conditions"]["noise"]
    if noise is not None:
        titles = [suite.sensor(name).title for name in suite.canonical(document["conditions"]["streams"])]
        rows.append([f"noise {noise} on the model's input", f"every frame: {', '.join(titles)}"])
    return rows


def _per_sensor(counts: dict[str, int], suite: SensorSuite) -> str:
    return ", ".join(f"{suite.sensor(name).title} {counts[name]}" for name in suite.canonical(counts) if counts[name])


def reliability_rows(document: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of reliability: per sensor its mean, its lowest score, when that was and which part it was."""
    suite = suite_of(document)
    return [
        [suite.sensor(name).title, f"{entry['mean']:.2f}", f"{entry['min']:.2f}", f"{entry['min_at_s']:.1f}",
         entry["min_part"]]
        for name, entry in document["reliability"].items()
    ]  # fmt: skip


def novelty_rows(document: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of what is unlike training: per sensor how often, how much on average and at most, and when."""
    suite = suite_of(document)
    return [
        [suite.sensor(name).title, str(entry["frames"]), f"{entry['unlike_training']:.1f}", f"{entry['mean']:.2f}",
         f"{entry['max']:.2f}", f"{entry['max_at_s']:.1f}"]
        for name, entry in document["novelty"].items()
    ]  # fmt: skip


def terminal_tables(result: Evaluation, document: dict[str, Any]) -> list[Table]:
    """What the command prints; every table fits 100 columns."""
    has_truth = result.has_truth
    sensors = ", ".join(f"{sensor.letter} {sensor.title}" for sensor in suite_of(document).sensors)
    title = f"percent, drop protocol: {sensors}"
    tables = [_table(title, ["sensors"], subset_rows(document, has_truth), columns_of(has_truth))]
    if len(result.phases) > 1:
        columns = tuple(column for column in phase_columns(has_truth) if column[0] in _PHASE_KEYS)
        phases = phase_rows(document, columns)
        tables.append(_table("per phase, all sensors that are there", ["phase", "seconds", "frames"], phases, columns))
    columns = window_columns(has_truth)
    if rows := window_rows(document, columns):
        tables.append(_table("outages, all sensors that are there", ["frames that are", "frames"], rows, columns))
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
