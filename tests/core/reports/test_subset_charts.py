"""Charts per subset: of many subsets in rows, and which of them a page shows."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations

from any2seg_core.reports.subset_charts import interval_bars, shown_subsets, subset_bars

FIVE = ["".join(each) for size in range(1, 6) for each in combinations("CSTLR", size)]
TEN = ["".join(each) for size in range(1, 11) for each in combinations("ABCDEFGHIJ", size)]


def test_value_all_subsets_of_five_sensors_are_shown_and_21_of_ten():
    """Ten alone, ten of nine, and all."""
    assert shown_subsets(FIVE) == FIVE
    assert len(shown_subsets(TEN)) == 21
    assert shown_subsets(FIVE, 15) == ["C", "S", "T", "L", "R", *FIVE[25:]]
    assert shown_subsets(["C"]) == ["C"]


def test_shape_31_subsets_take_two_rows_of_bars_that_do_not_overlap():
    values = {letters: float(len(letters)) for letters in FIVE}
    root = ElementTree.fromstring(subset_bars(values))
    bars = [rect for rect in root.iter("rect") if rect.get("class") == "outage"]
    assert len(bars) == 31
    tops = {round(float(text.get("y"))) for text in root.iter("text") if text.text in FIVE}
    assert len(tops) == 2
    lower = [float(bar.get("y")) + float(bar.get("height")) for bar in bars]
    assert len({round(end) for end in lower}) == 2
    height = float(root.get("viewBox").split()[3])
    assert max(lower) < height
    bases = sorted({round(end) for end in lower})
    second = [float(bar.get("y")) for bar, end in zip(bars, lower, strict=True) if round(end) == bases[1]]
    assert len(second) == 15
    assert min(second) > bases[0]


def test_shape_intervals_of_many_subsets_take_rows_too():
    root = ElementTree.fromstring(interval_bars(dict.fromkeys(FIVE, (-1.0, 0.5, 2.0))))
    heights = {round(float(circle.get("cy"))) for circle in root.iter("circle")}
    assert len(heights) == 2
    assert len(list(root.iter("circle"))) == 31
