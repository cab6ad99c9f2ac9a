from __future__ import annotations

import mmap
import os
import subprocess
from pathlib import Path

import pytest

from any2seg_core.bench import machine


def test_value_the_machine_is_what_the_system_says():
    found = machine.this_machine("cpu")
    kib = int(next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line))
    assert found.memory_gb == pytest.approx(kib / 2**20, abs=0.1)
    assert found.cores == len(os.sched_getaffinity(0)) and found.processor and found.accelerator == ""


def test_value_resident_memory_grows_with_what_is_held():
    before = machine.resident_mb()
    with mmap.mmap(-1, 64 << 20) as block:  # fresh pages, where an allocator may have freed ones left
        block.write(b"1" * len(block))
        assert 40 < machine.resident_mb() - before < 200


def test_value_the_commit_is_that_of_the_checkout():
    tree = Path(machine.__file__).resolve().parents[2]
    said = subprocess.run(["git", "-C", str(tree), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    expected = said.stdout.strip() if said.returncode == 0 else ""
    assert expected.startswith(machine.commit().removesuffix("+"))
