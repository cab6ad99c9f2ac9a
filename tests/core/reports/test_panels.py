"""Panels of lines: every point at its place, one legend where lines are shared."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from any2seg_core.reports.panels import Panel, line_panels


def circles(svg: str) -> list[tuple[float, float, str]]:
    """x, y and what is said of each point."""
    found = re.findall(r'<circle cx="([0-9.]+)" cy="([0-9.]+)"[^>]*><title>([^<]*)</title>', svg)
    return [(float(x), float(y), said) for x, y, said in found]


def test_value_points_lie_on_the_axes():
    """Two places in 844 pixels; 0 at the bottom and 60 at the top of 200 pixels."""
    svg = line_panels([Panel("a", ["R", "D"], {"ours": {"R": 30.0, "D": 60.0}})], plot_px=200)
    ElementTree.fromstring(svg)
    (x1, y1, said1), (x2, y2, said2) = circles(svg)
    assert (said1, said2) == ("ours, R: 30.0", "ours, D: 60.0")
    assert x2 - x1 == 844 / 2
    assert round(y1 - y2, 1) == 100.0
    assert ">60</text>" in svg and ">80</text>" not in svg


def test_value_a_missing_place_interrupts_a_line():
    line = {"1": 10.0, "2": 20.0, "4": 30.0}
    svg = line_panels([Panel("a", ["1", "2", "3", "4"], {"x": line})])
    (path,) = re.findall(r'<path d="([^"]+)"', svg)
    assert (path.count("M"), path.count("L")) == (2, 1)
    assert len(circles(svg)) == 3


def test_value_one_legend_for_panels_with_the_same_lines():
    panel = Panel("a", ["1"], {"first <b>": {"1": 1.0}, "second": {"1": 101.0}})
    svg = line_panels([panel, panel, panel], columns=2)
    ElementTree.fromstring(svg)
    assert svg.count(">second</text>") == 1
    assert svg.count("first &lt;b&gt;</text>") == 1
    assert ">120</text>" not in svg  # a little above the axis is no reason for a longer one
    apart = line_panels([panel, Panel("b", ["1"], {"third": {"1": 1.0}})])
    colours = re.findall(r'<path [^>]*stroke="(#[0-9a-fA-F]+)"', apart)
    assert len(set(colours)) == 3  # lines of another panel are no others' colours


def test_property_many_names_wrap():
    names = {f"a method with a rather long name {number}": {"1": 1.0} for number in range(9)}
    places = re.findall(r'<rect x="(\d+)" y="(\d+)" width="16"', line_panels([Panel("a", ["1"], names)]))
    assert len({y for _, y in places}) > 1
    assert all(int(x) + 22 + 6.9 * 33 < 900 for x, _ in places)
