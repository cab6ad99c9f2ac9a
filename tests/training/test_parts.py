"""Sampling order, class weights, schedule, moving average, state files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from raised import user_error
from torch import nn

from any2seg_core.vocabulary.contract import InputContract
from any2seg_training.batches import MixedNumbers, SampleNumbers
from any2seg_training.build import Run, build_model, class_weights, learning_rate
from any2seg_training.config import TrainConfig
from any2seg_training.methods import Supervised
from any2seg_training.origin import data_recipe, shown_command
from any2seg_training.state import MovingAverage, load_state, save_state


def first(numbers: SampleNumbers, count: int) -> list:
    return list(itertools.islice(iter(MixedNumbers([numbers])), count))


def test_value_each_epoch_is_a_permutation():
    flat = [pair for batch in first(SampleNumbers(7, 3, seed=1), 14) for pair in batch]
    assert [number for _, number, _ in flat] == list(range(42))
    epochs = [[index for _, _, index in flat[start : start + 7]] for start in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_value_sampling_starts_at_any_step():
    assert first(SampleNumbers(5, 2, seed=3, first_step=4), 6) == first(SampleNumbers(5, 2, seed=3), 10)[4:]


def test_value_processes_share_each_global_batch():
    whole = first(SampleNumbers(11, 6, seed=2), 5)
    parts = [first(SampleNumbers(11, 3, seed=2, rank=rank, world_size=2), 5) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_value_class_weights():
    pixels = np.array([900, 100, 0])
    weights = class_weights(pixels, power=0.5, limit=10).double().numpy()
    assert weights[1] / weights[0] == pytest.approx(3)  # sqrt(9)
    assert weights[2] / weights[0] == pytest.approx(10)  # never seen: the largest
    assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1)


def test_value_learning_rate():
    config = TrainConfig(data="d", out="o", lr=1.0, warmup_steps=9, poly_power=1.0)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 50, 0.75) == pytest.approx(0.25)
    assert learning_rate(config, 50, 1.0) == 0.0


def test_value_moving_average_equals_the_formula():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = MovingAverage(model, decay=0.5)
    expected = model[0].weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            model[0].weight.normal_()
        model[1].num_batches_tracked += 1
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight
    assert torch.allclose(average.model[0].weight, expected, atol=1e-6)
    assert int(average.model[1].num_batches_tracked) == 20
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())


def test_value_no_average_is_the_model_itself():
    model = nn.Linear(2, 2)
    average = MovingAverage(model, decay=0.0)
    with torch.no_grad():
        model.weight.fill_(3.0)
    average.update(model, 0)
    assert torch.equal(average.model.weight, model.weight)


def test_value_state_round_trip(tmp_path: Path):
    state = {"step": 3, "best": 0.5, "model": {"w": torch.arange(3.0)}}
    save_state(tmp_path / "last.pt", state)
    again = load_state(tmp_path / "last.pt")
    assert again["step"] == 3
    assert torch.equal(again["model"]["w"], state["model"]["w"])
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_exception_state_files(tmp_path: Path):
    with user_error("resume-missing"):
        load_state(tmp_path / "last.pt")
    (tmp_path / "bad.pt").write_bytes(b"garbage")
    with user_error("resume-format"):
        load_state(tmp_path / "bad.pt")
    torch.save({"step": Path("code could run here")}, tmp_path / "foreign.pt")
    with user_error("resume-format"):
        load_state(tmp_path / "foreign.pt")


def test_exception_resume_from_a_run_of_another_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = TrainConfig(data="d", out="o", head_width=32)
    run = object.__new__(Run)
    run.config, run.world_size = config, 1
    monkeypatch.setattr(Run, "parts", [])
    run.contract = InputContract()
    run.method = Supervised(config, run.contract.suite)
    run.model = build_model(config, run.contract)
    for state, code in (
        ({"run": run.facts, "model": nn.Linear(2, 2).state_dict()}, "resume-mismatch"),
        ({"run": run.facts, "step": 3}, "resume-mismatch"),
        ({"step": 3}, "resume-format"),
        ([1], "resume-format"),
    ):
        save_state(tmp_path / "last.pt", state)
        with user_error(code, "last.pt") as caught:
            run.restore(tmp_path / "last.pt")
        assert "\n" not in str(caught.value)


def test_value_data_recipe_counts_sequences(tmp_path: Path):
    (tmp_path / "drive_train.json").write_text(json.dumps({"seed": 3, "sequences": [{"town": 1}, {"town": 2}]}))
    assert data_recipe(tmp_path) == {"name": tmp_path.name, "train": {"seed": 3, "sequences": 2}}


def test_value_command_shows_no_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    command = shown_command(["a.yaml", f"data={tmp_path / 'x' / 'drive'}", "scale=[1, 2]", str(tmp_path / "b.yaml")])
    assert command == "python training/train.py a.yaml data=x/drive 'scale=[1, 2]' b.yaml"
    several = f"data.unlabelled=[{tmp_path / 'a.mcap'},{tmp_path / 'b'}]"
    command = shown_command([several, "data.bag.topics.rgb=/camera"])
    assert command == "python training/train.py 'data.unlabelled=[a.mcap, b]' data.bag.topics.rgb=/camera"
