"""The training loop on a tiny data set: it learns, resumes exactly, runs in two processes, and its checkpoint loads."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_deliver
from tiny_run import train_until_killed

import any2seg_training.train as train_module
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_training.config import TrainConfig
from any2seg_training.evaluate import main as evaluate_main
from any2seg_training.processes import Processes
from any2seg_training.train import main, train

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 6, "val": 2}, (64, 96))


def settings(data: Path, out: Path, **changes: object) -> TrainConfig:
    values = {
        "data": data,
        "out": out,
        "height": 64,
        "width": 96,
        "crop_height": 64,
        "crop_width": 64,
        "head_width": 32,
        "batch_size": 4,
        "steps": 4,
        "warmup_steps": 2,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
        "log_every": 2,
        "save_every": 2,
    }
    return TrainConfig(**(values | changes))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with everything switched on."""
    out = tmp_path_factory.mktemp("run")
    options = {"loss": "ohem", "class_weight_power": 0.25, "scale": (0.8, 1.5), "eval_every": 40, "eval_frames": 3}
    train(settings(data, out, steps=70, lr=3e-3, **options), ALONE)
    return out


def test_value_it_learns_every_sensor(trained: Path):
    _, _, provenance = load_checkpoint(trained / "final.safetensors")
    results = provenance["results"]
    assert results["subsets"]["RDEL"]["miou_present"] > 1.2 * results["prior_baselines"]["pixel_prior"]
    for letters in "RDEL":
        assert results["subsets"][letters]["miou_present"] > 2 * results["prior_baselines"]["constant"]
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if line["kind"] == "step"]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert [line["kind"] for line in log if line["kind"] != "step"] == ["evaluation", "final"]


def test_value_checkpoint_says_where_it_came_from(trained: Path):
    model, contract, provenance = load_checkpoint(trained / "final.safetensors")
    assert (contract.height, contract.width) == (64, 96)
    assert model.config.head_width == 32
    assert provenance["seed"] == 3407
    assert provenance["steps"] == 70
    assert provenance["train_frames"] == 12
    assert len(provenance["results"]["subsets"]) == 15
    assert provenance["config"]["loss"] == "ohem"
    _, _, best = load_checkpoint(trained / "best.safetensors")
    assert best["steps"] == 40


def test_value_evaluate_reproduces_the_stored_results(trained: Path, data: Path, tmp_path: Path):
    target = tmp_path / "result.json"
    arguments = [f"checkpoint={trained / 'final.safetensors'}", f"data={data}", f"json={target}"]
    assert evaluate_main(arguments) == 0
    summary = json.loads(target.read_text())
    stored = load_checkpoint(trained / "final.safetensors")[2]["results"]
    assert summary["prior_baselines"] == stored["prior_baselines"]
    for letters, row in stored["subsets"].items():
        measured = {name: value for name, value in row.items() if value is not None}  # training counts no confidence
        assert {name: summary["subsets"][letters][name] for name in measured} == pytest.approx(measured, abs=0.02)
        assert {"miou_present", "miou_all", "miou_without_other", "f1_present", "accuracy_present"} <= set(measured)
    assert evaluate_main([*arguments, "protocol=zero", "frames=1", "cases=[night]"]) == 0
    assert json.loads(target.read_text())["frames"] == 1


def test_value_resume_is_exact(data: Path, tmp_path: Path):
    """4 steps = 2 steps, killed, and 2 more, with faults planted."""
    faults = {"degradation": {"probability": 0.8}}
    train(settings(data, tmp_path / "whole", **faults), ALONE)
    train_until_killed(settings(data, tmp_path / "parts", **faults))
    train(settings(data, tmp_path / "parts", resume=True, **faults), ALONE)

    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    for part in ("model", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, parts[part][name]), name


def test_value_workers_do_not_change_the_result(data: Path, tmp_path: Path):
    for workers in (0, 1):
        train(settings(data, tmp_path / str(workers), workers=workers, steps=2), ALONE)
    first, second = (torch.load(tmp_path / name / "last.pt", weights_only=True)["model"] for name in ("0", "1"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("budget", ["max_minutes", "max_processor_minutes"])
def test_value_time_budget_ends_the_run(budget: str, data: Path, tmp_path: Path):
    train(settings(data, tmp_path / "run", steps=10**6, **{budget: 0.02}), ALONE)
    _, _, provenance = load_checkpoint(tmp_path / "run" / "final.safetensors")
    assert 0 < provenance["steps"] < 10**4


def test_value_init_starts_from_a_checkpoint(trained: Path, data: Path, tmp_path: Path):
    start = trained / "final.safetensors"
    train(settings(data, tmp_path / "run", init=start, lr=1e-12, steps=1, ema_decay=0.0), ALONE)
    old, new = (load_checkpoint(path)[0].state_dict() for path in (start, tmp_path / "run" / "final.safetensors"))
    name = "encoder.stages.0.embed.proj.weight"
    assert torch.allclose(old[name], new[name], atol=1e-6)
    assert main([f"data={data}", f"out={tmp_path / 'x'}", f"init={start}", "device=cpu", "head_width=64"]) == 2


def test_smoke_bfloat16_and_one_modality(data: Path, tmp_path: Path):
    results = train(settings(data, tmp_path / "run", modalities=("lidar",), bf16=True, steps=2), ALONE)
    assert list(results["subsets"]) == ["L"]


def test_smoke_two_processes_with_gloo(data: Path, tmp_path: Path):
    """The real command line, started as torchrun starts it; both processes judge, one writes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out = tmp_path / "run"
    config = settings(data, out, batch_size=2, steps=3, eval_every=2, eval_frames=3)
    changed = {key: getattr(config, key) for key in config.model_fields_set} | {"data": config.data.root}
    arguments = [f"{key}={value}" for key, value in changed.items()]
    script = Path(train_module.__file__)
    started = []
    for rank in range(2):
        environment = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, str(script), *arguments]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in log] == ["step", "evaluation", "final"]
    results = load_checkpoint(out / "final.safetensors")[2]["results"]
    assert results["frames"] == 4
