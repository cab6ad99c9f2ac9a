from __future__ import annotations

import json

import pytest
from raised import user_error

from any2seg_core.bench import processes
from any2seg_core.bench.processes import finished
from any2seg_core.bench.settings import BenchSettings
from any2seg_core.bench.workshop import Effort, Workshop


def test_value_a_process_is_accounted_for():
    found = finished(("-c", "block = bytearray(50 << 20); print('done', len(block))"))
    assert found.output.split() == ["done", str(50 << 20)]
    assert found.peak_mb > 50 and found.cpu_s > 0 and found.wall_s > 0


def test_exception_a_process_that_fails_is_told_with_its_last_line():
    with user_error("process-failed", "-c", "what is wrong"):
        finished(("-c", "import sys; print('first'); sys.exit('what is wrong')"))


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "exported").mkdir()
    return Workshop(BenchSettings(model=str(tmp_path / "exported")), Effort(least=1))


def test_value_start_tells_seconds_as_milliseconds_and_memory(shop, monkeypatch):
    told = processes.Finished(1.0, 2.0, 3.0, json.dumps({"load": 0.25, "resident memory": 100.04}))
    monkeypatch.setattr(processes, "finished", lambda words: told)
    load, memory = processes.start(shop)
    assert (load.case, load.unit, load.median, load.turns) == ("load, exported folder", "ms", 250.0, 5)
    assert (memory.case, memory.unit, memory.median) == ("resident memory, exported folder", "MB", 100.0)


def test_value_the_node_is_measured_where_it_is_installed(shop, monkeypatch):
    told = json.dumps({"case": "R; 64x64", "node_s": [0.02, 0.01], "plain_numpy_s": [0.04, 0.04]})
    monkeypatch.setattr(processes, "find_spec", lambda name: name)
    monkeypatch.setattr(processes, "finished", lambda words: processes.Finished(1.0, 2.0, 3.0, told))
    (row,) = processes.node(shop)
    assert (row.case, row.median, row.least) == ("R; 64x64", 15.0, 10.0)
    assert row.shares["plain NumPy"].median == 0.375
    monkeypatch.setattr(processes, "find_spec", lambda name: None)
    (note,) = processes.node(shop)
    assert "pip install" in note


def test_value_a_recording_is_told_per_frame(shop, monkeypatch):
    def evaluated(words):
        if "evaluate" in words:
            out = words[words.index("--out") + 1]
            out.mkdir()
            (out / "frames.jsonl").write_text("conditions\n" + "frame\n" * 20)
        return processes.Finished(4.0, 5.0, 321.0, "")

    monkeypatch.setattr(processes, "finished", evaluated)
    frame, peak = processes.bag(shop)
    assert (frame.case, frame.median, frame.wall) == ("a frame of 20, with the start", 200.0, 250.0)
    assert (peak.unit, peak.median) == ("MB", 321.0)


def test_value_without_the_simulated_drive_a_recording_is_asked_for(shop, monkeypatch):
    def fails(words):
        raise processes.UserError("no command drive", "process-failed")

    monkeypatch.setattr(processes, "finished", fails)
    (note,) = processes.bag(shop)
    assert "--recording" in note
