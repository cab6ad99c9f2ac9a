"""A measurement as tables for the terminal, as Markdown, one HTML page and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table as TerminalTable

from any2seg_core.base.atomic import new_folder
from any2seg_core.bench.document import BenchDocument, Part, Row, Share
from any2seg_core.reports.curves import curves, standalone
from any2seg_core.reports.document import Block, Figure, Report, Section, Table

_OVER_DECADES = ("events", "lidar")
_HEADINGS = ("case", "median", "least", "unit", "spread", "share of others")
_COMPARED = ("before", "new / before")
_INTRODUCTION = (
    "Processor time of all threads (by the clock where a GPU computes), each row in turns with what it is compared "
    "with. Spread: how much longer the median turn took than the shortest. A share below 1 is faster than the other; "
    "it is taken within each turn, with its least and largest."
)


def _share(share: Share) -> str:
    return f"{share.median:.2f} ({share.least:.2f} to {share.largest:.2f})"


def _cells(part: Part, row: Row, older: BenchDocument | None) -> list[str]:
    shares = "; ".join(f"{_share(share)} of {name}" for name, share in row.shares.items())
    spread = f"{100 * row.spread:.0f} %" if row.clock else ""
    cells = [row.case, f"{row.median:.4g}", f"{row.least:.4g}", row.unit, spread, shares]
    if older is not None:
        before = older.row(part.name, row.case)
        is_alike = before is not None and before.unit == row.unit
        cells += [f"{before.least:.4g}", f"{row.least / before.least:.2f}"] if before and is_alike else ["", ""]
    return cells


def terminal_tables(document: BenchDocument, older: BenchDocument | None = None) -> list[TerminalTable]:
    """One per part that has rows."""
    tables = []
    for part in document.parts:
        if not part.rows:
            continue
        table = TerminalTable(title=part.title, title_justify="left")
        headings = [*_HEADINGS, *(_COMPARED if older else ())]
        rows = [_cells(part, row, older) for row in part.rows]
        used = [place for place in range(len(headings)) if any(row[place] for row in rows)]
        for place in used:
            is_text = headings[place] in ("case", "unit", "share of others")
            table.add_column(headings[place], justify="left" if is_text else "right")
        for row in rows:
            table.add_row(*(row[place] for place in used))
        tables.append(table)
    return tables


def notes(document: BenchDocument) -> list[str]:
    """What was not measured, and what casts doubt on the rest."""
    return [*(f"{part.name}: {note}" for part in document.parts for note in part.notes), *document.notes]


def plots(document: BenchDocument) -> dict[str, str]:
    """Part -> inline <svg>, of those that grow with something."""
    found = {}
    for part in document.parts:
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in part.rows:
            if row.x is not None:
                lines.setdefault(row.line, []).append((row.x, row.least))
        if any(len(line) > 1 for line in lines.values()):
            is_log = part.name in _OVER_DECADES
            ticks = [] if is_log else sorted({x for line in lines.values() for x, _ in line})
            found[part.name] = curves(lines, part.x_title, f"{part.title}, ms (least)", is_log, ticks)
    return found


def _facts(document: BenchDocument) -> list[tuple[str, str]]:
    machine, conditions = document.machine, document.conditions
    height, width = conditions.input_size
    return [
        ("processor", f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:g} GB"),
        ("instruction sets", " ".join(machine.instruction_sets) or "unknown"),
        *([("accelerator", machine.accelerator)] if machine.accelerator else []),
        ("model", f"{conditions.model}, {height}x{width}, {conditions.precision}, engine {conditions.engine}"),
        ("threads", f"{conditions.threads} on {conditions.device}"),
        ("load", f"{conditions.load_before:.1f} before, {conditions.load_after:.1f} after"),
        ("date", document.date),
        *([("commit", document.commit)] if document.commit else []),
        ("versions", ", ".join(f"{name} {version}" for name, version in document.versions.items())),
    ]


def bench_report(document: BenchDocument, older: BenchDocument | None = None) -> Report:
    """The whole document."""
    drawn = plots(document)
    sections = []
    for part in document.parts:
        headings: Sequence[str] = (*_HEADINGS, *(_COMPARED if older else ()))
        rows = [_cells(part, row, older) for row in part.rows]
        blocks: list[Block] = []
        if part.name in drawn:
            blocks.append(Figure(drawn[part.name], part.title, f"{part.name}.svg"))
        if rows:
            blocks.append(Table(headings, rows, ("case", "unit", "share of others")))
        sections.append(Section(part.title, blocks))
    return Report("Time and memory", _INTRODUCTION, sections, _facts(document), document.command, notes(document))


def write_bench(folder: Path, document: BenchDocument, older: BenchDocument | None = None) -> list[Path]:
    """Write bench.json, bench.md, bench.html and a plot per part that grows; UserError where the folder is there."""
    report = bench_report(document, older)
    texts = {
        "bench.json": document.model_dump_json(indent=1) + "\n",
        "bench.md": report.markdown(),
        "bench.html": report.html(),
        **{f"{name}.svg": standalone(svg) for name, svg in plots(document).items()},
    }
    with new_folder(folder) as partial:
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
