"""Two trainings into one folder: the second is refused, the first goes on and its files are its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_run import ALONE, command_line, settings, started, values

from any2seg_core.base.atomic import only_one
from any2seg_training.train import main, train

WAITS = """
import time
before = t.Run.save
def save(run, path):
    before(run, path)
    print("saved", flush=True)
    time.sleep(60)
t.Run.save = save
"""


def test_exception_second_training_is_refused_and_the_first_goes_on(data: Path, tmp_path: Path, capsys):
    out = tmp_path / "run"
    with started(WAITS, values(data, out)) as first:
        try:
            while (line := first.stdout.readline()) and line != "saved\n":
                pass
            assert line == "saved\n", first.stderr.read()
            before = {path: path.read_bytes() for path in out.iterdir()}
            for changes in ({}, {"resume": True}, {"seed": 5}):
                assert main(command_line(values(data, out, **changes))) == 2
                said = capsys.readouterr().err
                assert said.count("\n") == 1 and f"out={out}: a training is under way (process {first.pid} on " in said
            assert {path: path.read_bytes() for path in out.iterdir()} == before
            assert first.poll() is None
        finally:
            first.kill()
    assert main(command_line(values(data, out, resume=True))) == 0  # killed: its lock is gone
    assert not (out / ".lock").exists() and (out / "final.safetensors").is_file()


def test_exception_all_processes_of_a_run_learn_that_it_is_refused(data: Path, tmp_path: Path):
    out = tmp_path / "run"
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(20000 + os.getpid() % 20000)}
    with only_one(out / ".lock", "a test"):
        ranks = [started("", values(data, out), RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in range(2)]
        ends = [process.communicate(timeout=120) for process in ranks]
        assert [process.returncode for process in ranks] == [2, 2]
        assert all("a training is under way" in error for _, error in ends)
        assert [path.name for path in out.iterdir()] == [".lock"]


@pytest.mark.parametrize("program", ["study", "cache_teacher"])
def test_exception_studies_and_teachers_hold_their_folders_too(data: Path, tmp_path: Path, program: str, capsys):
    module = __import__(f"any2seg_training.{program}", fromlist=["main"])
    lock = tmp_path / (".lock" if program == "study" else ".train.lock")
    given = {"study": ["study=losses"], "cache_teacher": ["teacher=text"]}[program]
    with only_one(lock, "a test"):
        assert module.main([*given, f"data={data}", f"out={tmp_path}"]) == 2
    assert "is under way" in capsys.readouterr().err


def test_smoke_a_run_in_this_process_needs_no_lock(data: Path, tmp_path: Path):
    assert "subset_mean" in train(settings(data, tmp_path / "run", steps=1), ALONE)
