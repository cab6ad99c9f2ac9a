from __future__ import annotations

import io
import re

import numpy as np
from rich.console import Console
from test_scoring import PHASES, record, recording

from any2seg_core.demo.scoring import score_demo
from any2seg_core.demo.view import WIDTH, DemoView, score_table
from any2seg_core.vocabulary.labels import DELIVER


def test_value_without_a_terminal_each_phase_is_one_plain_line():
    out = io.StringIO()
    with DemoView(Console(file=out, width=WIDTH), PHASES) as view:
        for time_s in (None, 0.0, 0.5, 1.1, 1.9, 4.5):
            view.update(time_s, ("lidar",), 9.5, float("nan"), 7)
    lines = out.getvalue().splitlines()
    assert [re.search(r"s  (.+?):", line).group(1) for line in lines] == ["all", "no camera", "only LiDAR"]
    assert all("9.5 labels/s" in line and "\x1b" not in line for line in lines)


def test_value_terminal_view_names_fused_and_missing_sensors():
    out = io.StringIO()
    with DemoView(Console(file=out, width=WIDTH, force_terminal=True), PHASES) as view:
        view.update(1.5, ("depth", "event"), 9.5, 120.0, 7)
    text = out.getvalue()
    assert "✗ camera" in text
    assert "● depth" in text
    assert "○ LiDAR" in text
    assert "120 ms" in text


def test_value_table_fits_a_hundred_columns_and_holds_the_numbers():
    wrong = np.zeros((2, 3), np.uint8)
    labels = [record(at, 50) for at in range(0, 900, 100)]
    labels += [record(at, 50, wrong) for at in range(1000, 1500, 100)]
    labels += [record(2100, 50)]
    scores = score_demo(recording(labels), PHASES, DELIVER)
    out = io.StringIO()
    Console(file=out, width=WIDTH).print(score_table(scores))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert any("100.0 (2)" in line for line in lines)
    assert any("0.0 (2)" in line for line in lines)
    text = " ".join(" ".join(line.split("│")[7].strip() for line in lines if line.count("│") > 7).split())
    assert "machine too busy: 1 labels of 10" in text
    assert all(line[-1] in "┃│┓┩┘" for line in lines[1:])  # nothing is cut off
    cells = [[cell.strip() for cell in line.split("│")] for line in lines]
    assert any(row[4:6] == ["9", "90"] for row in cells) and any(row[4:6] == ["5", "50"] for row in cells)
