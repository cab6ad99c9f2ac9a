"""Subset supervision: what is decoded from one encoding is what a pass of its own gives, and runs are exact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fake_data import write_deliver
from raised import user_error
from tiny_run import ALONE, settings, state, train_until_killed

from any2seg_core.losses.segmentation import CrossEntropy, OhemCrossEntropy
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.batches import ModelBatch, SampleKey
from any2seg_training.config import TrainConfig, load_config
from any2seg_training.methods import build_method
from any2seg_training.objective import Objective
from any2seg_training.train import train

K = 5
SETS = torch.tensor([[[1, 0, 0, 0], [0, 0, 1, 0]], [[1, 0, 1, 0], [0, 1, 1, 0]]], dtype=torch.bool)  # (S, B, M)
WEIGHTS = torch.linspace(0.2, 2.0, K)
PRESENT = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0]], dtype=torch.bool)


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**({"data": "d", "out": "o", "subset_supervision": {"count": 2}} | changes))


def build(fusion: str = "mff", **changes: object) -> Any2Seg:
    """In evaluation mode: no row depends on another one."""
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(head_width=16, num_classes=K, fusion=fusion, **changes)).eval()


def batch() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    torch.manual_seed(1)
    labels = torch.randint(0, K, (2, 32, 64))
    labels[0, :5], labels[1, :, 50:] = 255, 254
    return {name: torch.randn(2, 3, 32, 64) for name in VEHICLE.members}, labels


@pytest.mark.parametrize("fusion", ["mff", "mff_early", "mean_predictions"])
def test_value_subsets_of_one_encoding_equal_passes_of_their_own(fusion):
    model, (images, _) = build(fusion), batch()
    every = model(images, PRESENT, SETS)
    assert torch.equal(every.shown, torch.cat([PRESENT[None], SETS]))
    for logits, shown in zip(every.subset_logits, every.shown, strict=True):
        expected = model.decode(model.fuse(model.encode(images, shown)))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(every.logits, model(images, PRESENT).logits)


def test_value_the_head_sees_all_subsets_as_one_batch():
    """Its statistics follow the whole and the subsets alike, as evaluation meets them."""
    model, (images, _) = build(), batch()
    model.train()
    model.head.dropout.p = 0.0
    every = model(images, PRESENT, SETS)
    assert len(every.hidden) == len(every.fused.levels[0]) == 2
    fused = [model.fuse(every.encoded.showing(shown)).levels for shown in every.shown]
    logits = model.head([torch.cat(levels) for levels in zip(*fused, strict=True)])  # (6, K, h, w)
    torch.testing.assert_close(every.subset_logits.flatten(0, 1), logits)
    torch.testing.assert_close(every.samples(slice(1, 2)).subset_logits, every.subset_logits[:, 1:])


@pytest.mark.parametrize("fusion", ["linear", "early_concat"])
def test_exception_sensors_that_are_encoded_together(fusion):
    with user_error("value-invalid", "subset_supervision", fusion, "mff"):
        load_config(["data=d", "out=o", f"fusion={fusion}", "subset_supervision.count=1"])
    with user_error("model-unsuitable", fusion):
        build(fusion)(batch()[0], PRESENT, SETS)


@pytest.mark.parametrize(
    ("subsets", "code"),
    [
        (SETS[0], "array-shape"),
        (SETS.float(), "array-shape"),
        (~SETS, "sensor-absent"),
        (torch.zeros_like(SETS), "sensor-absent"),
    ],
)
def test_exception_subsets_that_are_none(subsets, code):
    with user_error(code):
        build()(batch()[0], PRESENT, subsets)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["subset_supervision.weight=2"], ("subset_supervision.count=0",)),
        (["self_distillation.weight=1"], ("subset_supervision.count=0",)),
        (["subset_supervision.count=1", "self_distillation.floor=0.5"], ("self_distillation.weight=0",)),
        (["subset_supervision.count=1", "monotone.margin=0.5"], ("monotone.weight=0",)),
        (["subset_supervision.count=1", "monotone.weight=1"], ("subset_supervision.count=2",)),
        (["subset_supervision.count=1", "method=m3l"], ("mean_teacher",)),
        (["subset_supervision={count: 1, enlarge: false}", "data.sparse={kind: points, count: 20}"], ("enlarge",)),
    ],
)
def test_exception_settings_that_do_not_go_together(arguments, told):
    with user_error("value-invalid", *told):
        load_config(["data=d", "out=o", *arguments])


def ce(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted mean over the pixels below 254, by the formula; weight (B,)."""
    picked = -torch.log_softmax(logits, 1).gather(1, labels.where(labels < 254, 0)[:, None])[:, 0]
    pixels = weight[:, None, None] * (labels < 254)
    return (picked * pixels).sum() / pixels.sum()


@pytest.mark.parametrize("weights", [{}, {"R": 3.0, "RE": 0.5}])
@pytest.mark.parametrize("enlarge", [True, False])
def test_value_terms_add_up(weights, enlarge):
    subsets = {"count": 2, "weight": 0.7, "weights": weights, "enlarge": enlarge}
    chosen = config(subset_supervision=subsets, self_distillation={"weight": 0.3}, monotone={"weight": 0.2})
    model, (images, labels) = build(), batch()
    every = model(images, PRESENT, SETS)
    loss, terms = Objective(CrossEntropy(), chosen)(model, images, every, labels, [0, 1])
    truth = labels if enlarge else labels[:, 2::4, 2::4]  # the pixel right of and below the centre of each cell
    sizes = [torch.nn.functional.interpolate(each, truth.shape[1:], mode="bilinear") for each in every.subset_logits]
    rows = torch.tensor([[weights.get("R", 1.0), 1.0], [weights.get("RE", 1.0), 1.0]])
    expected = [ce(logits, truth, row) for logits, row in zip(sizes[1:], rows, strict=True)]
    torch.testing.assert_close(terms["l_subsets"], sum(expected).detach() / 2)
    assert terms["l_distilled"] > 0 and terms["l_monotone"] >= 0
    sums = ce(every.logits, labels, torch.ones(2)) + 0.7 * sum(expected) / 2
    torch.testing.assert_close(loss, sums + 0.3 * terms["l_distilled"] + 0.2 * terms["l_monotone"])


@pytest.mark.parametrize("loss", [CrossEntropy(WEIGHTS), OhemCrossEntropy(0.7, WEIGHTS)], ids=["ce", "ohem"])
def test_value_the_loss_of_a_subset_is_the_main_loss(loss):
    """Class weights and mining: a subset that is the whole has the loss of the whole."""
    model, (images, labels) = build(), batch()
    objective = Objective(loss, config(monotone={"weight": 1.0}))
    every = model(images, PRESENT, torch.stack([PRESENT, PRESENT]))
    _, terms = objective(model, images, every, labels, [0, 1])
    torch.testing.assert_close(terms["l_subsets"], terms["l_sup"])
    assert float(terms["l_monotone"]) == 0.0


def test_value_draws_follow_the_sample_and_the_step():
    """Of a batch in two halves each half has what the whole has; before the start step there is nothing."""
    model, chosen = build(), config(modality_dropout=1.0, subset_supervision={"count": 3, "start_step": 4})
    method = build_method(chosen, VEHICLE, model)
    images, labels = batch()
    keys = [SampleKey(0, 8, 0), SampleKey(0, 9, 1)]
    assert method.student_batch(ModelBatch(images, labels, PRESENT, keys), 3).subsets is None
    whole = method.student_batch(ModelBatch(images, labels, PRESENT, keys), 4).subsets
    for n in range(2):
        part = {name: image[n : n + 1] for name, image in images.items()}
        one = ModelBatch(part, labels[n : n + 1], PRESENT[n : n + 1], keys[n : n + 1])
        half = method.student_batch(one, 4).subsets
        assert torch.equal(half, whole[:, n : n + 1])
    assert not bool((whole & ~PRESENT).any())


def test_value_dropout_decides_first():
    """With modality_dropout the subsets are of what dropout leaves."""
    method = build_method(config(modality_dropout={"DE": 1.0}), VEHICLE, build())
    images, labels = batch()
    keys = [SampleKey(0, n, n) for n in range(2)]
    student = method.student_batch(ModelBatch(images, labels, torch.ones_like(PRESENT), keys), 0)
    assert student.present.tolist() == [[False, True, True, False]] * 2
    assert not bool(student.subsets[:, :, [0, 3]].any())


def test_value_mean_teacher_supervises_subsets_of_unlabelled_frames():
    chosen = config(method="mean_teacher", modality_dropout=1.0, self_distillation={"weight": 0.5})
    model, (images, labels) = build(), batch()
    method, objective = build_method(chosen, VEHICLE, model), Objective(CrossEntropy(), chosen)
    labels[1] = 254
    keys = [SampleKey(0, 3, 0), SampleKey(1, 5, 0)]
    student = method.student_batch(ModelBatch(images, labels, PRESENT, keys), 0)
    prediction = model(student.images, student.present, student.subsets)
    loss, terms = method.loss(objective, model, student, prediction)
    own = objective.subset_terms(CrossEntropy(), prediction.samples(slice(0, 2)), student.pseudo)
    torch.testing.assert_close(terms["l_subsets_u"], own["l_subsets"].detach())
    labelled = terms["l_sup"] + terms["l_subsets"] + 0.5 * terms["l_distilled"]
    taught = terms["l_u"] + terms["l_subsets_u"] + 0.5 * terms["l_distilled_u"]
    torch.testing.assert_close(loss.detach(), labelled + taught)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 4, "val": 1}, (64, 96))


ALL_TERMS = {
    "subset_supervision": {"count": 2, "grow_steps": 3, "weights": {"R": 2}},
    "self_distillation": {"weight": 0.5},
    "monotone": {"weight": 0.5, "margin": 0.1},
}


def test_value_resume_is_exact(data: Path, tmp_path: Path):
    """4 steps = 2 steps, killed, and 2 more, bit by bit, while N grows."""
    train(settings(data, tmp_path / "whole", **ALL_TERMS), ALONE)
    train_until_killed(settings(data, tmp_path / "parts", **ALL_TERMS))
    train(settings(data, tmp_path / "parts", resume=True, **ALL_TERMS), ALONE)
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["step"] == parts["step"] == 4
    for name, value in whole["model"].items():
        assert torch.equal(value, parts["model"][name]), name
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert {"l_sup", "l_subsets", "l_distilled", "distilled_share", "l_monotone"} <= set(log[-2])


def test_value_a_run_from_before_a_setting_goes_on(data: Path, tmp_path: Path):
    """What a state does not name was at its default; any other value is another run."""
    out = tmp_path / "run"
    train(settings(data, out, steps=2), ALONE)
    old = state(out)
    del old["run"]["settings"]["subset_supervision"], old["run"]["settings"]["mff"]["select_temperature"]
    torch.save(old, out / "last.pt")
    with user_error("resume-mismatch", "subset_supervision.count=0"):
        train(settings(data, out, steps=3, resume=True, subset_supervision={"count": 1}), ALONE)
    train(settings(data, out, steps=3, resume=True), ALONE)
    assert state(out)["step"] == 3


def test_exception_subsets_that_the_data_set_has_not(data: Path, tmp_path: Path):
    with user_error("sensor-none", "lidar"):
        train(settings(data, tmp_path / "a", modalities=("lidar",), **ALL_TERMS), ALONE)
    with user_error("sensor-unknown", "X"):
        train(settings(data, tmp_path / "b", subset_supervision={"count": 1, "weights": {"X": 2}}), ALONE)
