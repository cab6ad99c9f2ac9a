"""The tables, pages and plots of a measurement (any2seg_core/reports/bench.py)."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

from raised import user_error

from any2seg_core.base.screen import Screen
from any2seg_core.bench.document import BenchDocument
from any2seg_core.reports.bench import bench_report, notes, plots, terminal_tables, write_bench


def printed(document, older=None):
    screen = Screen(file=io.StringIO(), width=110)
    for table in terminal_tables(document, older):
        screen.print(table)
    return screen.file.getvalue()


def halved(document):
    """An older run that took twice as long, without the case RD."""
    sensors, bag = document.parts
    row = sensors.rows[0].model_copy(update={"least": 3.0, "median": 4.0})
    return document.model_copy(update={"parts": (sensors.model_copy(update={"rows": (row,)}), bag)})


def test_value_a_terminal_shows_every_row_within_its_width(document):
    text = printed(document)
    assert "0.50 (0.40 to 0.60) of RD" in text and "33 %" in text and "500" in text
    assert max(map(len, text.splitlines())) <= 110 and "before" not in text


def test_value_an_older_run_stands_beside(document):
    lines = printed(document, halved(document)).splitlines()
    row, other = (line for line in lines if line.startswith(("│ R ", "│ RD")))
    assert [cell.strip() for cell in row.split("│")][-3:-1] == ["3", "0.50"]
    assert [cell.strip() for cell in other.split("│")][-3:-1] == ["", ""]


def test_value_files_hold_all_of_it(document, tmp_path):
    written = write_bench(tmp_path / "out", document, halved(document))
    assert {path.name for path in written} == {"bench.json", "bench.md", "bench.html", "sensors.svg"}
    assert BenchDocument.model_validate_json((tmp_path / "out" / "bench.json").read_text()) == document
    text = (tmp_path / "out" / "bench.md").read_text()
    assert "![by sensors](sensors.svg)" in text and "Example 1, 2 cores" in text and "no | recording" in text
    assert "<svg" in (tmp_path / "out" / "bench.html").read_text()
    ET.parse(tmp_path / "out" / "sensors.svg")


def test_exception_a_folder_that_is_there_is_not_touched(document, tmp_path):
    with user_error("output-exists", tmp_path):
        write_bench(tmp_path, document)
    assert list(tmp_path.iterdir()) == []


def test_value_notes_name_their_part_and_doubts_come_last(document):
    assert notes(document) == ["bag: no | recording", "a doubt"]
    assert bench_report(document).problems == notes(document)


def test_value_only_what_grows_is_plotted(document):
    assert list(plots(document)) == ["sensors"]
