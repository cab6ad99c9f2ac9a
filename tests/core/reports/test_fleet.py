"""Answers about a fleet on a terminal."""

import io

import pytest

from any2seg_core.base.screen import Screen
from any2seg_core.reports.fleet import answer_table

COLUMNS = ("vehicle", "kind", "drives", "seconds", "weather", "longest_in", "at_s", "missing", "tags")
ROWS = [
    ("car-1", "other_clock", 12, 5.75, "rain", "/data/fleet/it's [a]/car-1/000", 1.25, ["lidar: dead"], ["a", "b"]),
    ("car-2", "dead", 7, 100.5, None, "/data/fleet/car-2/000", None, [], []),
]


def printed(columns, rows, width):
    screen = Screen(width=width, file=io.StringIO())
    screen.print(answer_table(columns, rows, screen.width))
    return screen.file.getvalue()


@pytest.mark.parametrize("count", [1, 5, len(COLUMNS)])
@pytest.mark.parametrize("width", [30, 80, 81, 120, 200])
def test_value_a_table_of_any_width_shows_every_column(width, count):
    text = printed(COLUMNS[:count], [row[:count] for row in ROWS], width)
    assert max(map(len, text.splitlines())) <= width
    values = ("car-1", "other_clock", "12", "5.750", "rain", "car-1/000", "1.250", "dead", "a, b")
    for name, value in zip(COLUMNS[:count], values[:count], strict=True):
        assert name in text and value in text


def test_value_what_does_not_fit_side_by_side_is_a_block_per_row():
    lines = [line.split(maxsplit=1) for line in printed(COLUMNS, ROWS, 80).splitlines() if line.strip()]
    assert [words[0] for words in lines] == [*COLUMNS, *COLUMNS]
    assert lines[5][1].strip() == "/data/fleet/it's [a]/car-1/000"
    assert lines[7][1].strip() == "lidar: dead"
    assert printed(COLUMNS, ROWS, 200).count("vehicle") == 1


def test_value_no_rows_show_their_columns():
    assert "vehicle" in printed(COLUMNS[:2], [], 20)
