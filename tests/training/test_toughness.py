"""What a long training run must survive: SIGKILL at any moment, half precision, small batches, many processes."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from raised import user_error
from tiny_run import ALONE, command_line, settings, started, state, values
from torch import nn

import any2seg_training.train as train_module
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_training.batch_norm import GlobalBatchNorm2d, with_global_batch_norm
from any2seg_training.build import build_run
from any2seg_training.config import TrainConfig
from any2seg_training.processes import Processes
from any2seg_training.train import main, train

PLAIN = {"scale": (1.0, 1.0), "modality_dropout": 1.0, "drop_path": 0.0, "clip_norm": 1e9, "crop_width": 96}
"""Nothing that depends on which process draws it: whole frames, all sensors, no clipping."""

TIED_PIXELS = 10
"""Of 23808 per set of sensors: so many may fall to another class where weights differ in their last bit."""


def assert_same_state(first: dict, second: dict) -> None:
    assert first["step"] == second["step"]
    assert first["scaler"] == second["scaler"]
    assert first.keys() == second.keys()
    for part in {"model", "average", "teacher"} & first.keys():
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), name
    for number, slot in first["optimizer"]["state"].items():
        assert all(torch.equal(value, second["optimizer"]["state"][number][key]) for key, value in slot.items())


@pytest.mark.parametrize(
    "options",
    [
        {"fp16": True, "accumulate": 2, "loss": "ohem"},
        {"bf16": True},
        {"method": "m3l", "share": 0.3, "bf16": True, "accumulate": 2, "modality_dropout": 0.5},
        {"method": "mean_teacher", "share": 0.1, "unlabelled_batch_size": 3},
    ],
    ids=str,
)
def test_value_two_and_two_steps_are_four(data: Path, tmp_path: Path, monkeypatch, options: dict, low_scale):
    """Also with a scaler, accumulated batches and half precision: every bit of weights, averages, moments, scaler."""
    if "share" in options:
        options = options | {"data": {"root": data, "labelled_fraction": options["share"]}}
        del options["share"]
    train(settings(data, tmp_path / "whole", **options), ALONE)
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "progress", lambda config, run, processes: 1.0 if run.step == 2 else 0.1)
        patch.setattr(train_module, "learning_rate", lambda config, step, done: 1e-3)
        train(settings(data, tmp_path / "parts", **options), ALONE)
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "learning_rate", lambda config, step, done: 1e-3)
        train(settings(data, tmp_path / "parts", resume=True, **options), ALONE)
        train(settings(data, tmp_path / "whole", **options), ALONE)
    assert state(tmp_path / "whole")["step"] == 4
    assert all(slot["step"] == 4 for slot in state(tmp_path / "whole")["optimizer"]["state"].values())  # none left out
    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "parts"))


KILLED_WHILE_SAVING = """
import os, signal, any2seg_training.state as s
write = s.torch.save
def die(state, path):
    if state["step"] < 4:
        return write(state, path)
    write(state, path)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)
s.torch.save = die
"""


@pytest.mark.parametrize("method", ["supervised", "m3l"])
def test_value_killed_while_saving_it_goes_on_from_the_last_whole_file(data: Path, tmp_path: Path, method: str):
    options = {"steps": 6, "method": method, "data": {"root": data, "labelled_fraction": 0.3}}
    arguments = values(data, tmp_path / "run", **options)
    process = started(KILLED_WHILE_SAVING, arguments)
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    assert state(tmp_path / "run")["step"] == 2
    assert len(list((tmp_path / "run").glob(".*.partial.*"))) == 1
    assert main([*command_line(arguments), "resume=true"]) == 0
    train(settings(data, tmp_path / "whole", **options), ALONE)
    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "run"))
    assert list((tmp_path / "run").glob(".*.partial.*")) == []


def test_value_killed_in_the_middle_it_goes_on_and_ends_the_same(data: Path, tmp_path: Path):
    arguments = values(data, tmp_path / "run", steps=40, save_every=1, workers=1)
    process = started("", arguments)
    deadline = time.monotonic() + 240
    while not (tmp_path / "run" / "last.pt").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = state(tmp_path / "run")["step"]
    assert 1 <= done < 40
    train(settings(data, tmp_path / "run", steps=40, resume=True), ALONE)
    train(settings(data, tmp_path / "whole", steps=40), ALONE)
    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "run"))


def test_gradient_accumulated_batches_equal_one_larger(data: Path, tmp_path: Path, monkeypatch):
    """BatchNorm sees each batch alone, and dropout draws per batch: both are out of the way."""
    build = train_module.build_run

    def quiet(config: TrainConfig, processes: Processes):
        run = build(config, processes)
        run.model.head.dropout.p = 0.0
        run.model.head.eval()
        return run

    monkeypatch.setattr(train_module, "build_run", quiet)
    monkeypatch.setattr(train_module, "evaluate", lambda *_: {})
    monkeypatch.setattr(train_module, "finish", lambda config, run, *_: run.optimizer.state_dict())
    large = train(settings(data, tmp_path / "a", batch_size=4, steps=1, **PLAIN), ALONE)
    small = train(settings(data, tmp_path / "b", batch_size=2, accumulate=2, steps=1, **PLAIN), ALONE)
    single = train(settings(data, tmp_path / "c", batch_size=2, steps=1, **PLAIN), ALONE)
    differences = []
    for number, slot in large["state"].items():
        gradient, other = slot["exp_avg"] / 0.1, small["state"][number]["exp_avg"] / 0.1
        assert torch.allclose(gradient, other, atol=1e-6), number
        differences.append(float((gradient - single["state"][number]["exp_avg"] / 0.1).abs().max()))
    assert max(differences) > 1e-3  # half of the batch has another gradient


WATCHED = """
import numpy as np
import any2seg_training.build as b
model = b.build_model
def quiet(config, contract):
    made = model(config, contract)
    made.head.dropout.p = 0.0
    return made
b.build_model = quiet
judged = t.evaluate
def keep(run, count, processes):
    table = judged(run, count, processes)
    if processes.is_main:
        np.savez(t.WATCH, **{letters: matrix.counts for letters, matrix in table.items()})
    return table
t.evaluate = keep
"""


def run_processes(count: int, arguments: dict, target: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    program = WATCHED + f"t.WATCH = {str(target)!r}\n"
    processes = [started(program, arguments, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in range(count)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("method", ["supervised", "m3l"])
def test_gradient_two_processes_equal_one(data: Path, tmp_path: Path, method: str):
    """gloo, global BatchNorm: gradients to 1e-6, and the same confusion matrix from an odd number of frames.

    With m3l also labelled and unlabelled samples, what is masked, pseudo labels and the teacher. Weights differ in
    their last bit, so a pixel whose two best classes tie may fall to the other; a frame that is left out or counted
    twice moves thousands.
    """
    train(settings(data, tmp_path / "start", steps=30, lr=3e-3, **PLAIN), ALONE)
    start = tmp_path / "start" / "final.safetensors"
    shared = PLAIN | {"steps": 1, "lr": 1e-12, "init": start, "ema_decay": 0.0, "sync_batch_norm": True}
    shared |= {"eval_every": 1, "eval_frames": 3, "accumulate": 2}
    # Padded crops and dropped sensors: no two processes hold as many labelled pixels or encode as many images.
    shared |= {"scale": (0.5, 2.0), "modality_dropout": 0.4, "class_weight_power": 0.3}
    if method != "supervised":
        shared |= {"method": method, "data": {"root": data, "labelled_fraction": 0.4}}
    for count in (1, 2):
        out = tmp_path / str(count)
        arguments = values(data, out, batch_size=4 // count, **shared)
        run_processes(count, arguments, tmp_path / f"{count}.npz")
    one, two = (state(tmp_path / name)["optimizer"]["state"] for name in ("1", "2"))
    largest = max(float(slot["exp_avg"].abs().max()) / 0.1 for slot in one.values())
    close = 1e-6 if method == "supervised" else 1e-6 * max(1.0, largest)
    for number, slot in one.items():
        assert torch.allclose(slot["exp_avg"] / 0.1, two[number]["exp_avg"] / 0.1, atol=close), number
    for part in ("model",) if method == "supervised" else ("model", "teacher"):
        statistics = [state(tmp_path / name)[part]["head.norm.running_var"] for name in ("1", "2")]
        assert torch.allclose(*statistics, atol=1e-6)
    matrices = [np.load(tmp_path / f"{count}.npz") for count in (1, 2)]
    assert sorted(matrices[0]) == sorted(matrices[1])
    for letters in matrices[0]:
        assert np.abs(matrices[0][letters] - matrices[1][letters]).sum() <= 2 * TIED_PIXELS
        assert matrices[0][letters].sum() == 4 * 62 * 96  # every labelled val pixel once
    results = [load_checkpoint(tmp_path / name / "final.safetensors")[2]["results"] for name in ("1", "2")]
    assert results[0]["frames"] == results[1]["frames"]
    means = [result["subset_mean"]["miou_present"] for result in results]
    assert means[0] == pytest.approx(means[1], abs=0.01)


def test_value_global_batch_norm_of_one_process_is_batch_norm(tmp_path: Path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        own = with_global_batch_norm(nn.Sequential(nn.BatchNorm2d(5)))
        torch.manual_seed(0)
        reference = nn.Sequential(nn.BatchNorm2d(5))
        assert isinstance(own[0], GlobalBatchNorm2d)
        for _ in range(3):
            images = (3 * torch.randn(2, 5, 7, 3) + 1).requires_grad_()
            twin = images.detach().clone().requires_grad_()
            weight = torch.randn(2, 5, 7, 3)
            (own(images) * weight).sum().backward()
            (reference(twin) * weight).sum().backward()
            assert torch.allclose(images.grad, twin.grad, atol=1e-5)
        for name, value in reference.state_dict().items():
            assert torch.allclose(own.state_dict()[name].float(), value.float(), atol=1e-6), name
        assert torch.allclose(own.eval()(images), reference.eval()(images), atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()


def test_exception_batch_norm_that_cannot_be_global():
    class NormAndActivation(nn.BatchNorm2d):
        """As timm's BatchNormAct2d."""

    for norm in (NormAndActivation(3), nn.BatchNorm1d(3)):
        model = nn.ModuleDict({"stem": nn.Sequential(nn.BatchNorm2d(3), norm)})
        with user_error("encoder-unsuitable", "sync_batch_norm=true", "stem.1", type(norm).__name__):
            with_global_batch_norm(model)
        assert type(model["stem"][0]) is nn.BatchNorm2d  # nothing was changed


@pytest.fixture(scope="module")
def saved(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State before the first step of a run with few labels."""
    out = tmp_path_factory.mktemp("run")
    build_run(settings({"root": data, "labelled_fraction": 0.3}, out, method="m3l"), ALONE).save(out / "last.pt")
    return out


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"batch_size": 3},
            [
                "batch_size x accumulate x processes=2 (now 3)",
                "unlabelled_batch_size x accumulate x processes=2 (now 3)",
            ],
        ),
        ({"accumulate": 2}, ["batch_size x accumulate x processes=2 (now 4)"]),
        ({"unlabelled_batch_size": 1}, ["unlabelled_batch_size x accumulate x processes=2 (now 1)"]),
        ({"seed": 1}, ["seed=3407 (now 1)"]),
        ({"method": "mean_teacher"}, ['method="m3l" (now "mean_teacher")']),
        ({"method": "supervised"}, ['method="m3l" (now "supervised")']),
        ({"fp16": True}, ["fp16=false (now true)"]),
        ({"lr": 0.1, "loss": "ohem"}, ['loss="ce" (now "ohem")', "lr=0.0006 (now 0.1)"]),
        ({"modality_dropout": {"R": 1}}, ['modality_dropout=0.4 (now {"R": 1.0})']),
        ({"data": {"labelled_fraction": 0.5}}, ["data.labelled_fraction=0.3 (now 0.5)", "labelled frames="]),
        ({"cases": ("night",)}, ['cases=null (now ["night"])']),
    ],
    ids=str,
)
def test_exception_resume_with_other_settings_names_them(data: Path, saved: Path, changes: dict, named: list[str]):
    group = {"root": data, "labelled_fraction": 0.3} | changes.get("data", {})
    config = settings(group, saved, **({"method": "m3l", "resume": True, "cache": "none"} | changes | {"data": group}))
    with user_error("resume-mismatch", "last.pt", *named):
        build_run(config, ALONE)


def test_value_a_state_from_before_a_setting_existed_goes_on_with_its_default(data: Path, tmp_path: Path):
    run = build_run(settings(data, tmp_path), ALONE)
    run.save(tmp_path / "last.pt")
    stored = torch.load(tmp_path / "last.pt", weights_only=True)
    del stored["run"]["settings"]["mff_early"], stored["run"]["settings"]["mff"]["select_temperature"]
    torch.save(stored, tmp_path / "last.pt")
    assert build_run(settings(data, tmp_path, resume=True), ALONE).step == 0
    with user_error("resume-mismatch", "mff.select_temperature=0.0 (now 0.1)"):
        build_run(settings(data, tmp_path, resume=True, mff={"select_temperature": 0.1}), ALONE)


def test_exception_resume_with_other_frames(data: Path, tmp_path: Path):
    build_run(settings(data, tmp_path), ALONE).save(tmp_path / "last.pt")
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    build_run(settings(moved, tmp_path, resume=True), ALONE)
    for path in moved.rglob("cloud/train/*/000005_*.png"):
        path.unlink()
    with user_error("resume-mismatch", "last.pt", 'frames="12', '"11'):
        build_run(settings(moved, tmp_path, resume=True), ALONE)


def test_value_resume_with_another_machine_cadence_or_share_of_processes(data: Path, saved: Path):
    """As many samples a step, in two batches of one; longer, judged otherwise, elsewhere."""
    group = {"root": data, "labelled_fraction": 0.3}
    options = {"batch_size": 1, "accumulate": 2, "steps": 9, "max_minutes": 1.0, "eval_every": 3, "save_every": 1}
    options |= {"workers": 1, "threads": 2, "cache": "none", "final_frames": 1, "skip_corrupt": True}
    assert build_run(settings(group, saved, method="m3l", resume=True, **options), ALONE).step == 0
