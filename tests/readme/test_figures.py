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
