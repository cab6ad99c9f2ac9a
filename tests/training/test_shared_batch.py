"""Two processes that share a batch compute the gradient of one: every loss term, whatever each of them holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from shared_batch import CASES, PER_PROCESS, TAUGHT, make_teacher, run
from tiny_run import ALONE

PROGRAM = Path(__file__).with_name("shared_batch.py")


def start(out: Path, rank: int, world_size: int) -> subprocess.Popen:
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(PROGRAM), str(rank), str(world_size), str(out / "meeting"), str(out)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders with the results of one process and of two."""
    root = tmp_path_factory.mktemp("processes")
    one, two = root / "one", root / "two"
    started = [start(one, 0, 1), *(start(two, rank, 2) for rank in range(2))]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return one, two


@pytest.mark.parametrize("case", CASES)
def test_gradient_two_processes_equal_one(results: tuple[Path, Path], case: str):
    one, two = (np.load(folder / f"{list(CASES).index(case)}.npz") for folder in results)
    assert sorted(one) == sorted(two)
    largest = max(float(np.abs(one[name]).max()) for name in one if "running" not in name)
    assert largest > 1e-2
    near = 1e-12 if case in TAUGHT else 1e-6
    for name in one:
        if case in PER_PROCESS and "running" in name:  # of the first process alone
            continue
        assert np.abs(one[name] - two[name]).max() < near * max(1.0, largest), name


@pytest.mark.parametrize("case", CASES)
def test_gradient_float16_points_where_float32_does(tmp_path: Path, case: str):
    """Every fusion and every term; what MFF selects may change with a rounding, which turns its gradient a little."""
    teacher = make_teacher(tmp_path)
    low, full = (run(case, ALONE, [0, 1, 2, 3], teacher, half) for half in (torch.float16, None))
    assert all(np.isfinite(value).all() for value in low.values())
    first, second = (np.concatenate([v.ravel() for n, v in g.items() if "running" not in n]) for g in (low, full))
    assert first @ second > 0.85 * np.linalg.norm(first) * np.linalg.norm(second)
