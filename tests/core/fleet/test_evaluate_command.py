"""`any2seg fleet evaluate` as it is typed: processes, JSON, one line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from fleet_files import engine_of, frames_of, request_of, write_fleet

from any2seg_core.faults.grammar import read_plan
from any2seg_core.fleet.evaluate import evaluate_fleet


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_fleet(tmp_path_factory.mktemp("command"), [0.7, 0.5])


def typed(store, *arguments):
    command = [sys.executable, "-m", "any2seg_core", "fleet", "evaluate", str(store.path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_value_two_processes_write_the_bytes_of_this_one(store):
    request = request_of(store, name="alone", faults=read_plan(["camera@0.2:0.4"]))
    evaluate_fleet(request, engine=engine_of(request))
    options = ("--checkpoint", str(request.checkpoint), "--subsets", "R,DL,all", "--drop", "camera@0.2:0.4")
    done = typed(store, *options, "--workers", "2", "--cut", "0.4", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["name"], result["finished"], result["failed"]) == ("model", 2, 0)
    assert frames_of(store, "model").equals(frames_of(store, "alone"))
    again = typed(store, *options)
    first, _ = again.stdout.splitlines()
    assert first.startswith("evaluation model: 0 recordings judged, 2 were done before, 0 failed, 0 broken")
    assert first.endswith(f"{result['rows']} frames in all")


@pytest.mark.parametrize(("arguments", "said"), [
    (("--subsets", "R,X"), ("--subsets R,X", "[sensor-unknown]")),
    (("--engine", "slurm"), ("--engine slurm", "[value-unknown]")),
    (("--precision", "float8", "--workers", "1"), ("float8", "[value-unknown]")),
    (("--every", "0"), ("--every", "[value-invalid]")),
    (("--checkpoint", "none.safetensors"), ("none.safetensors", "[checkpoint-missing]")),
])  # fmt: skip
def test_exception_one_line_and_exit_code_2(store, arguments, said):
    before = sorted(store.path.rglob("*"))
    done = typed(store, *arguments)
    assert done.returncode == 2
    *progress, line = done.stderr.splitlines()
    assert all(" elapsed" in each for each in progress)  # on a machine that takes longer than ten seconds
    assert all(word in line for word in said)
    assert sorted(store.path.rglob("*")) == before
