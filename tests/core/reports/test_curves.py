from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from any2seg_core.reports.curves import curves, standalone

SVG = "{http://www.w3.org/2000/svg}"


def circles(svg):
    tree = ET.fromstring(standalone(svg))
    return [(float(each.get("cx")), float(each.get("cy"))) for each in tree.iter(f"{SVG}circle")]


def test_value_points_lie_where_their_values_are():
    """From 0 at the left and below: half of the largest value is in the middle."""
    (x1, y1), (x2, y2), (x3, y3) = circles(curves({"a": [(1, 5), (2, 10), (4, 2.5)]}, "n", "ms", x_ticks=[1, 2, 4]))
    assert x3 - x2 == pytest.approx(2 * (x2 - x1), abs=0.2)
    assert (y1 - y2) == pytest.approx((y3 - y1) * 2, abs=0.2)


def test_value_decades_have_one_width():
    (x1, y1), (x2, y2), (x3, y3) = circles(curves({"a": [(10, 1), (100, 10), (1000, 100)]}, "n", "ms", is_log=True))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and y1 - y2 == pytest.approx(y2 - y3, abs=0.2)


def test_value_a_file_is_xml_with_its_names_escaped_and_large_numbers_short():
    drawn = curves({"a < b": [(30_000, 1), (1_000_000, 2)]}, "events & more", "ms", x_ticks=[30_000, 1_000_000])
    texts = [each.text for each in ET.fromstring(standalone(drawn)).iter(f"{SVG}text")]
    assert {"a < b", "events & more", "30 k", "1 M"} <= set(texts)


def test_value_one_point_is_a_picture_too():
    assert len(circles(curves({"a": [(10, 3)]}, "n", "ms", is_log=True))) == 1
