"""A run that has gone wrong stops before it spoils its weights; float16 that overflows is no such thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raised import user_error
from tiny_run import ALONE, settings, state, values

import any2seg_training.lessons as lessons
import any2seg_training.train as train_module
from any2seg_core.data.samples import Sample
from any2seg_training.config import TrainConfig
from any2seg_training.guard import require_val
from any2seg_training.lessons import TaughtFrames
from any2seg_training.processes import Processes
from any2seg_training.train import main, train


def test_exception_nan_stops_before_the_weights_are_spoilt(data: Path, tmp_path: Path, monkeypatch, capsys):
    arguments = values(data, tmp_path / "run", steps=4, save_every=1)
    objective = train_module.build_run
    before: dict[str, torch.Tensor] = {}

    def poisoned(config: TrainConfig, processes: Processes):
        run = objective(config, processes)
        forward = run.objective.forward

        def nan_at_step_2(*given):
            loss, parts = forward(*given)
            if run.step == 2:
                before.update({name: value.clone() for name, value in run.model.state_dict().items()})
                monkeypatch.setattr(train_module, "poisoned_run", run, raising=False)
                loss = loss * float("nan")
            return loss, parts

        run.objective.forward = nan_at_step_2
        return run

    monkeypatch.setattr(train_module, "build_run", poisoned)
    assert main([f"{key}={value}" for key, value in arguments.items()]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "step 2: loss nan" in error
    assert error.count("MAP_1_point") == 2  # both samples of the batch are named
    assert "resume=true" in error
    weights = train_module.poisoned_run.model
    assert all(torch.equal(value, before[name]) for name, value in weights.named_parameters())
    assert state(tmp_path / "run")["step"] == 2


def with_gradient(monkeypatch: pytest.MonkeyPatch, value: float, steps: range) -> list:
    """At these steps one number of the gradient becomes ``value``; the runs that are built are listed."""
    build, runs = train_module.build_run, []

    def changed(config: TrainConfig, processes: Processes):
        run = build(config, processes)

        def spoil(gradient: torch.Tensor) -> torch.Tensor:
            spoilt = gradient.clone()
            if run.step in steps:
                spoilt.flatten()[3] = value
            return spoilt

        run.model.head.fuse.weight.register_hook(spoil)
        runs.append(run)
        return run

    monkeypatch.setattr(train_module, "build_run", changed)
    return runs


def test_value_a_gradient_that_overflows_costs_one_step(data: Path, tmp_path: Path, monkeypatch, low_scale):
    """fp16, infinity at step 1: that step is left out, the scale is halved, and the run ends as if nothing was."""
    scales, weights = [], []
    scaler_class = torch.amp.GradScaler.func
    step = scaler_class.step

    def watched(scaler: Any, optimizer: torch.optim.Optimizer) -> None:
        before = [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]
        step(scaler, optimizer)
        after = [p for group in optimizer.param_groups for p in group["params"]]
        weights.append(all(torch.equal(a, b) for a, b in zip(before, after, strict=True)))
        scales.append(scaler.get_scale())

    monkeypatch.setattr(scaler_class, "step", watched)
    runs = with_gradient(monkeypatch, float("inf"), range(1, 2))
    train(settings(data, tmp_path / "run", steps=4, fp16=True), ALONE)
    assert weights == [False, True, False, False]  # unchanged by the second step alone
    assert [scale / scales[0] for scale in scales] == [1.0, 1.0, 0.5, 0.5]
    assert runs[0].step == 4
    assert all(torch.isfinite(value).all() for value in runs[0].average.model.state_dict().values())


def test_exception_a_gradient_that_no_scale_saves(data: Path, tmp_path: Path, monkeypatch, capsys, low_scale):
    """NaN at every step is no overflow: the scaler alone would leave out steps for ever."""
    runs = with_gradient(monkeypatch, float("nan"), range(100))
    arguments = values(data, tmp_path / "run", steps=100, fp16=True, modalities="[lidar]")
    assert main([f"{key}={value}" for key, value in arguments.items()]) == 2
    assert runs[0].step == 7  # 64 halved until it is below 1
    assert "step 7: loss" in (error := capsys.readouterr().err)
    assert "gradient norm nan: not finite" in error


def test_exception_an_infinite_loss_stops_fp16_too(data: Path, tmp_path: Path, monkeypatch):
    build = train_module.build_run

    def spoilt(config: TrainConfig, processes: Processes):
        run = build(config, processes)
        forward = run.objective.forward
        run.objective.forward = lambda *given: (forward(*given)[0] / 0.0, {})
        return run

    monkeypatch.setattr(train_module, "build_run", spoilt)
    with user_error("loss-not-finite", "step 0", "inf"):
        train(settings(data, tmp_path / "run", fp16=True), ALONE)


def test_exception_half_precisions_exclude_each_other(data: Path, tmp_path: Path, capsys):
    arguments = values(data, tmp_path / "run", bf16=True, fp16=True)
    assert main([f"{key}={value}" for key, value in arguments.items()]) == 2
    assert "bf16 and fp16 exclude each other" in capsys.readouterr().err


class Frames:
    """Nine frames of which nobody knows anything, or a teacher something from the third on."""

    root = Path("frames")

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 9

    def readable(self, index: int) -> Sample:
        return Sample({}, np.full((2, 3), 254, np.uint8), index)

    def labels(self, sample: Sample) -> np.ndarray:
        self.asked.append(sample.frame)
        return np.full((2, 3), 0 if sample.frame >= 2 else 255, np.uint8)


def test_value_teachers_are_asked_of_the_frames_that_are_judged_and_once(monkeypatch):
    """Up to the first with a label, then of the two that are evaluated; what is kept in memory has a limit."""
    frames = Frames()
    taught = TaughtFrames(frames, frames)
    require_val(taught, 2, ALONE)
    assert frames.asked == [0, 1, 2, 8]
    assert (taught.readable(8).labels == 0).all() and frames.asked == [0, 1, 2, 8]
    monkeypatch.setattr(lessons, "_MOST_KEPT", 4 * 6 + 5)
    assert [taught.readable(5).labels.max() for _ in range(2)] == [0, 0] and frames.asked[4:] == [5, 5]
    monkeypatch.setattr(frames, "labels", lambda _: np.full((2, 3), 255, np.uint8))
    with user_error("data-unlabelled", "9 val frames"):
        require_val(TaughtFrames(frames, frames), 2, ALONE)
