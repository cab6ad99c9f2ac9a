"""Linear Fusion under the trainer: exact resume, several processes, and the loss over all of its predictions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from fake_data import write_deliver
from tiny_run import train_until_killed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from any2seg_core.losses.branches import branch_loss
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.batches import ModelBatch, SampleKey
from any2seg_training.build import build_optimizer
from any2seg_training.config import TrainConfig
from any2seg_training.methods import TeacherStudent
from any2seg_training.objective import Objective
from any2seg_training.processes import Processes
from any2seg_training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))
NAMES = ("rgb", "depth", "lidar")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 3, "val": 1}, (64, 96), modalities=NAMES)


def settings(data: Path, out: Path, **changes: object) -> TrainConfig:
    values = {"data": data, "out": out, "height": 64, "width": 96, "crop_height": 64, "crop_width": 64}
    values |= {"head_width": 16, "batch_size": 3, "steps": 4, "workers": 0, "threads": 1, "device": "cpu"}
    values |= {"save_every": 2, "eval_frames": 1, "modalities": NAMES, "fusion": "linear"}
    return TrainConfig(**(values | {"modality_dropout": "uniform_subsets"} | changes))


def build(**linear: object) -> Any2Seg:
    torch.manual_seed(0)
    shape = ModelConfig(head_width=16, num_classes=7, modalities=NAMES, fusion="linear", linear=linear)
    return Any2Seg(shape).train()


def batch(seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.randn(2, 3, 32, 64, generator=generator) for name in NAMES}
    return images, torch.randint(0, 7, (2, 32, 64), generator=generator)


@pytest.mark.parametrize("absent", ["leave_out", "token"])
def test_value_resume_is_exact(data, tmp_path, absent):
    """4 steps = 2 steps, killed, and 2 more; ensemble weights and tokens have moved and are in the checkpoint."""
    linear = {"absent": absent}
    train(settings(data, tmp_path / "whole", linear=linear), ALONE)
    train_until_killed(settings(data, tmp_path / "parts", linear=linear))
    results = train(settings(data, tmp_path / "parts", linear=linear, resume=True), ALONE)
    assert len(results["subsets"]) == 7
    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "parts"))
    for part in ("model", "average"):
        assert whole[part].keys() == parts[part].keys()
        for name, value in whole[part].items():
            assert torch.equal(value, parts[part][name]), name
    assert whole["model"]["fusion.weight"].abs().min() > 0
    model, _, _ = load_checkpoint(tmp_path / "parts" / "final.safetensors")
    assert model.config.linear.absent == absent
    assert torch.equal(model.fusion.weight, parts["average"]["fusion.weight"])


@pytest.mark.parametrize("linear", [{}, {"absent": "token"}, {"ensemble": "fixed", "absent": "zero"}], ids=str)
def test_gradient_wrapped_for_several_processes_equals_alone(linear, tmp_path):
    """Two steps with other modalities absent from every sample: a parameter that was left out would stop the second."""
    alone, wrapped = build(**linear), build(**linear)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(wrapped)
        for seed, present in enumerate([[[True, False, False]] * 2, [[False, True, True]] * 2, [[True] * 3] * 2]):
            images, labels = batch(seed)
            for model in (alone, parallel):
                torch.manual_seed(seed)
                branch_loss(CrossEntropy(), model(images, torch.tensor(present)), labels).backward()
    finally:
        dist.destroy_process_group()
    for (name, first), second in zip(alone.named_parameters(), wrapped.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, msg=name, rtol=1e-5, atol=1e-7)


def test_value_supervised_loss_is_that_over_ensemble_and_branches(tmp_path):
    model = build()
    images, labels = batch(0)
    prediction = model(images)
    loss, terms = Objective(CrossEntropy(), settings(tmp_path, tmp_path))(model, images, prediction, labels, [0, 1])
    every = [prediction.logits, *prediction.branches.unbind(1)]
    torch.testing.assert_close(loss, sum(cross_entropy(logits, labels) for logits in every) / 4)
    assert terms == {}


def test_gradient_of_the_gaussian_mixture_reaches_the_encoder_through_the_ensemble(tmp_path):
    model = build()
    images, labels = batch(0)
    prediction = model(images)
    objective = Objective(CrossEntropy(), settings(tmp_path, tmp_path, agmm={"weight": 1.0}))
    _, terms = objective(model, images, prediction, labels, [0, 1])
    assert {"l_self", "l_spar", "l_con", "l_sup"} <= set(terms)
    mixture = sum(objective.mixture(prediction.hidden, prediction.logits, labels).values())
    mixture.backward()
    assert model.fusion.weight.grad.abs().sum() > 0
    assert model.encoder.stages[0].embed.proj.weight.grad.abs().sum() > 0


def test_value_m3l_averages_ensemble_and_branches_and_teaches_the_token_of_what_is_masked(tmp_path):
    """Eq. 7 on labelled samples, Eq. 9 on masked copies and unlabelled ones; with tokens every branch exists."""
    config = settings(tmp_path, tmp_path, method="m3l", linear={"absent": "token"}, modality_dropout=1.0)
    model, objective = build(absent="token").eval(), Objective(CrossEntropy(), config)
    images, truth = batch(0)
    labels = torch.stack([truth[0], torch.full_like(truth[1], 254)])
    keys = [SampleKey(0, 3, 0), SampleKey(1, 5, 0)]
    method = TeacherStudent(config, VEHICLE, model)
    student = method.student_batch(ModelBatch(images, labels, torch.ones(2, 3, dtype=torch.bool), keys), step=0)
    student = dataclasses.replace(student, present=torch.tensor([[True] * 3, [True, True, False], [True, False, True]]))
    prediction = model(student.images, student.present)
    loss, _ = method.loss(objective, model, student, prediction)

    every = torch.stack([prediction.logits, *prediction.branches.unbind(1)])  # (1 + M, 3, K, H, W)
    pseudo = model(images).logits.argmax(1)
    l_s = sum(cross_entropy(logits[:1], truth[:1]) for logits in every) / 4
    l_u = sum(cross_entropy(logits[1:], pseudo) for logits in every) / 4
    torch.testing.assert_close(loss, l_s + l_u)
    loss.backward()
    reached = {name for name, token in model.fusion.tokens.items() if token.grad.abs().sum() > 0}
    assert reached == {"depth", "lidar"}


@pytest.mark.parametrize("absent", ["leave_out", "token"])
def test_smoke_m3l_run(data, tmp_path, absent):
    settled = settings(data, tmp_path / "run", linear={"absent": absent}, method="m3l", steps=2)
    results = train(settled, ALONE)
    assert len(results["subsets"]) == 7
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_value_norms_tokens_and_ensemble_weights_do_not_decay(tmp_path):
    model = build(absent="token")
    _, plain = build_optimizer(settings(tmp_path, tmp_path), model).param_groups
    assert plain["weight_decay"] == 0.0
    spared = {id(parameter) for parameter in plain["params"]}
    watched = [model.fusion.weight, *model.fusion.tokens.values()]
    watched += [p for n, p in model.encoder.named_parameters() if any(f".{name}." in n for name in NAMES)]
    assert len(watched) == 4 + 3 * 2 * (4 * 2 + 8 * 2 + 6)
    assert all(id(parameter) in spared for parameter in watched)
