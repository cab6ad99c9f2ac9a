"""Bars and confusion as SVG: well-formed, and they hold the numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

from any2seg_core.reports.plots import Bar, bars_svg, confusion_svg, drawn_classes
from any2seg_core.reports.timeline import Panel, Span, Timeline


def test_value_bars_are_as_long_as_their_values():
    bars = [Bar("Road", (1, 2, 3), 50.0), Bar("<Sky>", (4, 5, 6), 100.0, "all"), Bar("Bus", (7, 8, 9), float("nan"))]
    root = ElementTree.fromstring(bars_svg(bars))
    widths = [float(r.get("width")) for r in root.iter("rect") if (r.get("fill") or "").startswith("rgb")]
    assert widths[1] == 2 * widths[0]
    assert widths[2] == 0.0
    texts = [text.text for text in root.iter("text")]
    assert "50.0" in texts
    assert "no pixel" in texts
    assert "<Sky>" in texts


def test_value_confusion_shows_percent_of_the_truth_and_leaves_absent_classes_out():
    counts = np.zeros((3, 4), np.int64)
    counts[0] = [60, 0, 30, 10]  # a tenth without any label
    counts[2] = [0, 0, 5, 0]
    root = ElementTree.fromstring(confusion_svg(["a", "b", "c"], counts, "none"))
    texts = [text.text for text in root.iter("text")]
    assert texts.count("a") == 2  # as row and as column
    assert "b" not in texts
    assert {"60", "30", "10", "100", "none"} <= set(texts)
    assert "a taken for c: 30.0 % of 100 pixels" in [title.text for title in root.iter("title")]


def test_value_notes_of_narrow_phases_are_cut_to_their_width_and_whole_on_hover():
    """1 s of 10 is 87 pixels: 14 characters of 6.2 pixels, in two lines."""
    long = "blur rgb + freeze event + skew depth"
    spans = [Span(0.0, 1.0, long), Span(1.0, 1.1, "drop rgb"), Span(1.1, 10.0, "drop rgb + skew depth")]
    svg = Timeline(spans, [], [Panel("mIoU", "%", [])]).svg()
    lines = re.findall(r'class="note middle">([^<]*)<', svg)
    assert lines == ["blur rgb +", "freeze event\u2026", "\u2026", "drop rgb + skew depth"]
    assert f"<title>{long}</title>" in svg


def test_value_confusion_of_150_classes_shows_the_30_with_the_most_wrong_pixels():
    """Class k misses k pixels to class 0, which is right itself; what is not drawn is one column."""
    counts = np.diag(np.full(150, 1000))
    counts = np.concatenate([counts, np.zeros((150, 1), np.int64)], axis=1)
    counts[:, 0] += np.arange(150)
    names = [f"class number {k}" for k in range(150)]
    assert drawn_classes(counts).tolist() == [0, *range(121, 150)]
    root = ElementTree.fromstring(confusion_svg(names, counts, "none"))
    titles = [text.text for text in root.iter("text") if text.get("transform")]
    assert titles == [names[0], *names[121:], "other classes"]
    said = [title.text for title in root.iter("title")]
    assert len(said) == 30 * 31
    assert f"class number 149 taken for class number 0: {14900 / 1149:.1f} % of 1149 pixels" in said
    counts[140, 5:15] += 100
    assert "class number 140 taken for other classes: 46.7 % of 2140 pixels" in [
        title.text for title in ElementTree.fromstring(confusion_svg(names, counts, "none")).iter("title")
    ]


def test_value_long_names_have_room_and_the_longest_are_cut():
    short = ElementTree.fromstring(bars_svg([Bar("Sky", (1, 2, 3), 50.0)]))
    bars = [Bar("autonomous delivery robot", (1, 2, 3), 50.0), Bar("x" * 99, (4, 5, 6), 1.0)]
    long = ElementTree.fromstring(bars_svg(bars))
    edges = [float(next(root.iter("rect")).get("x")) for root in (short, long)]
    assert edges == [110.0, 240.0]
    cut = [text.text for text in long.iter("text")][2]
    assert cut.endswith("\u2026")
    assert len(cut) * 6.2 < 240
