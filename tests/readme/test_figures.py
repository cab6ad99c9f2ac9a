"""Figures of speed stand in docs/performance.md; what the README repeats of them is what stands there."""

from __future__ import annotations

import re

from commands import ROOT


def test_value_figures_of_speed_in_the_readme_are_those_of_the_performance_page():
    paragraphs = (ROOT / "README.md").read_text().split("\n\n")
    (told,) = (each for each in paragraphs if "figure of speed" in each)
    figures = re.findall(r"\d+\.\d+", told)
    measured = (ROOT / "docs" / "performance.md").read_text()
    assert len(figures) >= 2
    assert [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", measured)] == []


def test_value_rows_of_tables_have_as_many_cells_as_their_headings():
    """A cell too few moves the figures below another heading."""
    tables = re.findall(r"(?m)(?:^\|.*\n)+", (ROOT / "docs" / "performance.md").read_text())
    assert len(tables) >= 5
    for table in tables:
        heading, *rows = (line.count("|") for line in table.splitlines())
        assert set(rows) == {heading}, table
