"""Frames stream: the peak memory of a process does not depend on the length of the recording."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fake_car
import pytest
import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract

SHORT_S, LONG_S = 10.0, 40.0  # 10 frames a second
SLACK_MB = 12.0
LEAST_LEAK_MB = 30.0  # of what one frame reads, 130 kB of messages and planes, 300 times

# The short one first, so that all that is loaded once is there; then the peak may not rise.
PROGRAM = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import open_bag
from any2seg_core.faults.grammar import read_plan

folder, peaks = Path(sys.argv[1]), {}
faults = read_plan(["camera@2:4"], ["noise:event@3:", "delay:lidar,delay_s=0.05", "exposure:rgb@5:"])
def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def evaluate(name):
    request = EvaluateRequest(folder / name, folder / "m.safetensors", folder / f"out_{name}", faults=faults,
                              subsets="all", record=folder / f"{name}.mcap")
    evaluate_bag(request)
def extracted(name):
    with open_bag(folder / name) as opened:
        extract(opened, ExtractOptions(folder / f"data_{name}"))
for step in (evaluate, extracted, lambda name: inspect_bag(folder / name)):
    for name in ("short", "long"):
        step(name)
        peaks.setdefault(name, []).append(peak_mb())
print(json.dumps(peaks))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="ru_maxrss counts kilobytes on Linux only")
def test_value_peak_memory_of_400_frames_is_that_of_100(tmp_path):
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=32))
    save_checkpoint(tmp_path / "m.safetensors", model, InputContract(height=32, width=64), {})
    for name, seconds in (("short", SHORT_S), ("long", LONG_S)):
        fake_car.write_bag(tmp_path / name, seconds)
    sizes_mb = {name: sum(f.stat().st_size for f in (tmp_path / name).iterdir()) / 2**20 for name in ("short", "long")}
    assert sizes_mb["long"] - sizes_mb["short"] > LEAST_LEAK_MB / 2
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    peaks = json.loads(done.stdout)
    lines = (tmp_path / "out_long" / "frames.jsonl").read_text().splitlines()
    assert len(lines) - 1 >= 395
    for short_mb, long_mb in zip(peaks["short"], peaks["long"], strict=True):
        assert long_mb - short_mb < SLACK_MB, peaks
