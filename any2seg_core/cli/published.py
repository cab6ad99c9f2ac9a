"""``any2seg published``: the tables of papers, each mean beside the one that its row gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.screen import say
from any2seg_core.evaluation.published import PrintedRow, PrintedTable, find_tables, published_tables

_LEAST_WIDTH = 60


def published(
    name: Annotated[
        str, typer.Argument(help="Table such as any2seg-3, or data set: deliver, muses, mcubes, ...; default: a list.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Show what papers print: mIoU, F1, accuracy, per class, with the means of the rows beside the printed ones.

    Example: any2seg published any2seg-3
    """
    tables = find_tables(name) if name else list(published_tables())
    width = max(_LEAST_WIDTH, shutil.get_terminal_size().columns)
    if as_json:
        say(json.dumps([table.document() for table in tables]))
    elif name:
        say("\n\n".join(table_text(table, width) for table in tables))
    else:
        rows = [(table.id, table.data, str(len(table.rows)), table.source) for table in tables]
        say("\n".join(_aligned([("table", "data", "rows", "source"), *rows], (0, 1, 3))))


def table_text(table: PrintedTable, width: int) -> str:
    """A table in as many blocks of columns as it takes to stay within a width in characters."""
    facts = [table.measure, f"protocol {table.protocol}" if table.protocol else "", table.note]
    lines = [f"{table.id}: {table.source}", ", ".join([table.about, *filter(None, facts)])]
    names = list(table.rows[0].labels)
    said = [tuple(row.labels.values()) for row in table.rows]
    columns = [(column, [_number(row.values.get(column)) for row in table.rows]) for column in table.columns]
    if any(row.mean is not None for row in table.rows):
        columns.append(("printed mean", [_number(row.mean) for row in table.rows]))
        columns.append(("recomputed", [_recomputed(row) for row in table.rows]))
    for block in _blocks([(head, max(map(len, (head, *cells)))) for head, cells in columns], names, said, width):
        chosen = [columns[number] for number in block]
        rows = [(*names, *(head for head, _ in chosen))]
        rows += [(*labels, *(cells[line] for _, cells in chosen)) for line, labels in enumerate(said)]
        lines += ["", *_aligned(rows, range(len(names)))]
    if table.wrong_means:
        lines += ["", f"* {table.wrong_means} of {len(table.rows)} rows: the printed mean is not that of the row"]
    return "\n".join(_folded(line, width) if number < 2 else line for number, line in enumerate(lines))


def _blocks(
    columns: Sequence[tuple[str, int]], names: Sequence[str], said: Sequence[Sequence[str]], width: int
) -> list[list[int]]:
    """Numbers of the columns, in blocks that fit beside the labels; a block has one column at least."""
    side = sum(2 + max(map(len, cells)) for cells in zip(names, *said, strict=True)) - 2
    blocks: list[list[int]] = []
    room = -1
    for number, (_, wide) in enumerate(columns):
        room -= 2 + wide
        if room < 0:
            blocks.append([])
            room = width - side - 2 - wide
        blocks[-1].append(number)
    return blocks


def _folded(line: str, width: int) -> str:
    import textwrap

    return textwrap.fill(line, width)


def _recomputed(row: PrintedRow) -> str:
    return _number(row.recomputed) + ("*" if row.is_mean_wrong else " " if row.recomputed is not None else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(wide) if number in left else cell.rjust(wide)
            for number, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
