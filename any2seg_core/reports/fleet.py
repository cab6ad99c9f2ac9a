"""Answers about a fleet: as a table that fits the terminal, and the worst moments as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table as TerminalTable

from any2seg_core.base.atomic import replacing
from any2seg_core.reports.document import Report, Section, Sheet, SheetRow, Table

MOST_ROWS = 200
"""That a table on the terminal shows."""
_BETWEEN = 2  # characters between columns
_KEPT_WHOLE, _FOLDED = 12, 8  # characters: of columns that are not folded, and least of others
_HEADINGS = ("", "vehicle", "date", "weather", "recording", "at", "sensors", "confidence", "agreement", "missing")
_LEFT = ("", "vehicle", "date", "weather", "recording", "sensors", "missing")
_SIDE_BY_SIDE = 4
_BLANK = np.full((3, 4, 3), 255, np.uint8)
_NOTE = (
    "Confidence: mean over the picture. Agreement: share of the pixels whose label by a subset of the sensors is that "
    "by all of them, mean over the evaluated subsets. Neighbours are left out."
)


def answer_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> TerminalTable:
    """Rows as people read them, the first `MOST_ROWS`; numbers to the right.

    Args:
        width: characters. Columns that do not fit into them stand below each other, a block per row.
    """
    table = _side_by_side(columns, rows)
    least = sum(column.min_width or 0 for column in table.columns) + _BETWEEN * (len(columns) - 1) + 2
    if least <= width or not rows:
        return table
    blocks = TerminalTable(box=None, show_header=False, pad_edge=False)
    blocks.add_column(overflow="fold", min_width=min(max(map(len, columns)), width // 2))
    blocks.add_column(overflow="fold")
    for row in rows[:MOST_ROWS]:
        for name, value in zip(columns, row, strict=True):
            blocks.add_row(name, shown(value))
        blocks.add_row("", "")
    return blocks


def _side_by_side(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> TerminalTable:
    table = TerminalTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=True)
    for index, name in enumerate(columns):
        is_number = any(isinstance(row[index], int | float) for row in rows)
        longest = max([len(name), *(len(shown(row[index])) for row in rows[:MOST_ROWS])])
        least = longest if longest <= _KEPT_WHOLE else _FOLDED
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", min_width=least)
    for row in rows[:MOST_ROWS]:
        table.add_row(*map(shown, row))
    return table


def shown(value: Any) -> str:
    """A value in a table: numbers short, lists and mappings without brackets, nothing as "-"."""
    if value is None or value == []:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return str(value)


def write_worst(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[tuple[str, int], np.ndarray],
    evaluation: str,
    problems: Sequence[str],
    command: str = "",
) -> Path:
    """Write ``report.html`` of the worst moments; UserError where that cannot be.

    Args:
        rows: of `questions.worst`. pictures: (url, stamp) -> (H, W, 3) uint8 RGB of the camera.
    """
    cells = [
        (str(number), shown(row["vehicle"]), shown(row["date"]), _weather(row), row["url"], f"{row['at_s']:.1f} s",
         row["used"], shown(row["confidence"]), shown(row["agreement"]), shown(row["missing"]))
        for number, row in enumerate(rows, start=1)
    ]  # fmt: skip
    sections = [
        Section("Moments", (Table(_HEADINGS, cells, _LEFT),), _NOTE),
        Section("What the camera saw", (_sheet(rows, pictures),), "In the order of the table."),
    ]
    facts = [("evaluation", evaluation), ("moments", str(len(rows)))]
    report = Report("Worst moments of a fleet", "The worst first.", sections, facts, command, problems)
    path = folder / "report.html"
    with replacing(path) as partial:
        partial.write_text(report.html(), encoding="utf-8")
    return path


def _sheet(rows: Sequence[Mapping[str, Any]], pictures: Mapping[tuple[str, int], np.ndarray]) -> Sheet:
    """Some pictures side by side, with their numbers in the table."""
    sheet_rows = []
    for start in range(0, len(rows), _SIDE_BY_SIDE):
        part = rows[start : start + _SIDE_BY_SIDE]
        told = [f"{start + at}: {row['vehicle'] or row['url']}, {row['at_s']:.1f} s" for at, row in enumerate(part, 1)]
        shown_pictures = [pictures.get((row["url"], row["stamp_ns"])) for row in part]
        shown_pictures += [_BLANK] * (_SIDE_BY_SIDE - len(part))
        sheet_rows.append(SheetRow(f"{start + 1} to {start + len(part)}", "; ".join(told), tuple(shown_pictures)))
    return Sheet([""] * _SIDE_BY_SIDE, sheet_rows)


def _weather(row: Mapping[str, Any]) -> str:
    return ", ".join(row[name] for name in ("weather", "time_of_day") if row[name]) or "-"
