"""`any2seg fleet query` and the ready questions: a store in, tables, JSON, CSV and files out."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import track
from any2seg_core.base.screen import Screen, say

StoreArgument = Annotated[Path, typer.Argument(help="Folder of the fleet's store.")]
EvaluationOption = Annotated[str, typer.Option(help="Name of the evaluation; default: the only one.")]
_NOT_IN_TABLE = ("stamp_ns", "time_of_day")  # of the worst moments: at_s and weather tell people enough
_WIDTH = 120  # of a table that goes into a file
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")]


def query(
    store: StoreArgument,
    sql: Annotated[str, typer.Argument(help="One SELECT over recordings, topics, frames; '-' reads it from stdin.")],
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Ask a store in SQL (DuckDB's); nothing is written, and nothing outside of the store is read.

    Example: any2seg fleet query runs/store "SELECT vehicle, count(*) AS drives FROM recordings GROUP BY vehicle"
    """
    from any2seg_core.fleet.queries import ask
    from any2seg_core.fleet.store import FleetStore

    answer = ask(FleetStore.open(store), sys.stdin.read() if sql == "-" else sql)
    _show(answer.columns, answer.rows, answer.records(), as_json, as_csv)


def worst(
    store: StoreArgument,
    evaluation: EvaluationOption = "",
    by: Annotated[str, typer.Option(help="confidence, or agreement of the sensors.")] = "confidence",
    count: Annotated[int, typer.Option(min=1, help="Moments.")] = 20,
    apart: Annotated[float, typer.Option(help="Seconds between two moments of one recording.")] = 2.0,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, with what the camera saw.")] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show the moments with the lowest confidence or agreement.

    Example: any2seg fleet worst runs/store --count 10 --out runs/worst
    """
    from any2seg_core.fleet.questions import worst as find_worst
    from any2seg_core.fleet.store import FleetStore

    opened = FleetStore.open(store)
    answer = find_worst(opened, evaluation, by, count, apart)  # type: ignore[arg-type]  # any text, which it checks
    short = [index for index, name in enumerate(answer.columns) if name not in _NOT_IN_TABLE]
    rows = [[row[index] for index in short] for row in answer.rows]
    _show([answer.columns[index] for index in short], rows, answer.records(), as_json, as_csv)
    if out is not None:
        _write_worst(opened, evaluation, answer.records(), out)


def _write_worst(store: Any, evaluation: str, rows: list[dict[str, Any]], out: Path) -> None:
    from any2seg_core.fleet.queries import chosen_evaluation
    from any2seg_core.fleet.remote import shown_url
    from any2seg_core.fleet.thumbnails import camera_pictures
    from any2seg_core.reports.fleet import write_worst

    moments: dict[str, dict[int, float]] = {}
    for row in rows:
        moments.setdefault(row["url"], {})[row["stamp_ns"]] = row["at_s"]
    pictures: dict[tuple[str, int], Any] = {}
    problems: list[str] = []
    for url, wanted in track(moments.items(), "pictures", len(moments)):
        found, problem = camera_pictures(store, url, wanted)
        pictures |= {(shown_url(url), stamp_ns): picture for stamp_ns, picture in found.items()}
        problems += [problem] if problem else []
    rows = [{**row, "url": shown_url(row["url"])} for row in rows]  # a page is passed on
    name = chosen_evaluation(store, evaluation)
    path = write_worst(out, rows, pictures, name, problems, shlex.join(["any2seg", *sys.argv[1:]]))
    say(f"wrote {path}", err=True)


def failures(
    store: StoreArgument,
    evaluation: EvaluationOption = "",
    least: Annotated[float, typer.Option(help="Seconds: shorter outages do not count.")] = 1.0,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show which sensor failed on which vehicle, how, and for how long; of the index alone where nothing is evaluated.

    Example: any2seg fleet failures runs/store
    """
    from any2seg_core.fleet.questions import failures as find_failures
    from any2seg_core.fleet.store import FleetStore

    answer = find_failures(FleetStore.open(store), evaluation, least)
    _show(answer.columns, answer.rows, answer.records(), as_json, as_csv)


def compare(
    store: StoreArgument,
    first: Annotated[str, typer.Argument(help="Name of evaluation A.")],
    second: Annotated[str, typer.Argument(help="Name of evaluation B, of the same recordings.")],
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Compare two checkpoints over all drives, and by weather and time of day (paired bootstrap over recordings).

    Example: any2seg fleet compare runs/store drive_b0 drive_b0_new
    """
    from any2seg_core.fleet.comparison import Difference, compare_evaluations
    from any2seg_core.fleet.store import FleetStore

    found = compare_evaluations(FleetStore.open(store), first, second)
    _show(Difference._fields, found, [each._asdict() for each in found], as_json, as_csv)


def drift(
    store: StoreArgument, evaluation: EvaluationOption = "", as_json: JsonOption = False, as_csv: CsvOption = False
) -> None:
    """Show the mean reliability of each sensor by week, over all vehicles and of each.

    Example: any2seg fleet drift runs/store
    """
    from any2seg_core.fleet.questions import drift as find_drift
    from any2seg_core.fleet.store import FleetStore

    answer = find_drift(FleetStore.open(store), evaluation)
    _show(answer.columns, answer.rows, answer.records(), as_json, as_csv)


def select(
    store: StoreArgument,
    budget: Annotated[int, typer.Option(min=1, help="Frames.")] = 500,
    evaluation: EvaluationOption = "",
    out: Annotated[Path, typer.Option(help="CSV to write: url, stamp_ns, why, ...")] = Path("moments.csv"),
    as_json: JsonOption = False,
) -> None:
    """Choose frames to label or to teach from: unsure, near failures of sensors, unlike each other.

    The file is what any2seg bag extract takes as --moments.

    Example: any2seg fleet select runs/store --budget 500 --out moments.csv
    """
    from any2seg_core.data.moments import write_moments
    from any2seg_core.fleet.queries import plain_value
    from any2seg_core.fleet.selection import COLUMNS
    from any2seg_core.fleet.selection import select as select_frames
    from any2seg_core.fleet.store import FleetStore

    rows = select_frames(FleetStore.open(store), budget, evaluation)
    write_moments(out, COLUMNS, rows)
    if as_json:
        say(json.dumps([{name: plain_value(value) for name, value in row.items()} for row in rows], indent=1))
        return
    say(f"{out}: {len(rows)} frames of {len({row['url'] for row in rows})} recordings")


def _show(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], records: Sequence[Mapping[str, Any]], as_json: bool,
    as_csv: bool,
) -> None:  # fmt: skip
    from any2seg_core.reports.fleet import MOST_ROWS, answer_table

    if as_json and as_csv:
        raise UserError("--json and --csv are given; choose one", "value-conflict")
    if as_json:
        say(json.dumps(records, indent=1))
        return
    if as_csv:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(records[0] if records else columns)
        for record in records:
            writer.writerow([json.dumps(each) if isinstance(each, list | dict) else each for each in record.values()])
        say(text.getvalue().rstrip("\n"))
        return
    screen = Screen() if sys.stdout.isatty() else Screen(width=_WIDTH)
    screen.print(answer_table(columns, rows, screen.width))
    if len(rows) > MOST_ROWS:
        say(f"the first {MOST_ROWS} of {len(rows)} rows; --csv or --json gives all, LIMIT fewer", err=True)
