"""The objective: terms add up with their weights, work wrapped for several processes, and reach the log of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from fake_data import write_deliver
from raised import user_error
from torch.nn.parallel import DistributedDataParallel

from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.losses.gaussian_mixture import GaussianMixtureLoss
from any2seg_core.losses.lscd import ClassGeometryLoss, ModalityCorrelationLoss
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.teachers.cached import CachedEmbeddings, write_embeddings
from any2seg_core.vocabulary.labels import DELIVER, NOT_ANNOTATED
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.config import TrainConfig, load_config
from any2seg_training.objective import Objective, mean_terms
from any2seg_training.processes import Processes
from any2seg_training.train import main, train

ALONE = Processes(0, 1, torch.device("cpu"))


def settings(**changes: object) -> TrainConfig:
    values = {"data": "d", "out": "o", "height": 64, "width": 96, "crop_height": 64, "crop_width": 64, "head_width": 16}
    values |= {"batch_size": 4, "steps": 2, "workers": 0, "threads": 1, "device": "cpu", "log_every": 2}
    return TrainConfig(**(values | changes))


def step(model: Any2Seg, objective: Objective, wrapped: torch.nn.Module | None = None):
    """One forward and backward pass, repeatable."""
    torch.manual_seed(3)
    images = {name: torch.randn(2, 3, 32, 64) for name in VEHICLE.members}
    labels = torch.randint(0, 7, (2, 32, 64))
    labels[0, :5] = 255
    present = torch.tensor([[True, True, False, True], [True, True, True, True]])
    prediction = (wrapped or model)(images, present)
    loss, terms = objective(model, images, prediction, labels, [1, 0])
    loss.backward()
    return prediction, labels, loss, terms


def build(fusion: str = "mff") -> Any2Seg:
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(head_width=16, num_classes=7, fusion=fusion)).train()


@pytest.fixture
def teacher(tmp_path: Path) -> CachedEmbeddings:
    rng = np.random.default_rng(0)
    write_embeddings(tmp_path / "classes.safetensors", {"class_names": rng.normal(size=(7, 5))}, {})
    arrays = {"scene": rng.normal(size=(2, 5)), "modality": rng.normal(size=(2, 4, 5))}
    write_embeddings(tmp_path / "train.safetensors", arrays, {"frames": ["a", "b"], "modalities": VEHICLE.members})
    return CachedEmbeddings(tmp_path, "train", [str(k) for k in range(7)], VEHICLE.members, ["a", "b"], True)


def test_value_without_terms_it_is_the_supervised_loss():
    model = build()
    prediction, labels, loss, terms = step(model, Objective(CrossEntropy(), settings()))
    assert torch.equal(loss, CrossEntropy()(prediction.logits, labels))
    assert terms == {}


def test_value_lscd_terms_add_up_with_their_weights(teacher):
    config = settings(teacher="t", lambda_cr=0.7, lambda_se=2.0, lscd_temperature=0.2, lscd_level=3)
    prediction, labels, loss, terms = step(build(), Objective(CrossEntropy(), config, teacher))
    scene, modality = teacher.rows([1, 0], torch.device("cpu"))
    encoded, fused = prediction.encoded, prediction.fused.levels[2]
    correlation = ModalityCorrelationLoss(0.2)(encoded.levels[2], fused, encoded.present, modality, scene)
    geometry = ClassGeometryLoss(0.2)(fused, labels, teacher.class_names)
    torch.testing.assert_close(terms["l_cr"], correlation)
    torch.testing.assert_close(terms["l_se"], geometry)
    torch.testing.assert_close(loss, CrossEntropy()(prediction.logits, labels) + 0.7 * correlation + 2.0 * geometry)


def test_value_entropy_terms_add_up_and_are_logged_per_modality():
    config = settings(lambda_p=0.3, lambda_f=0.02, fusion="mean_predictions")
    _, _, loss, terms = step(build("mean_predictions"), Objective(CrossEntropy(), config))
    torch.testing.assert_close(loss.detach(), terms["l_sup"] + 0.3 * terms["r_p"] + 0.02 * terms["r_f"])
    assert {f"fisher_{kind}_{name}" for kind in "pf" for name in VEHICLE.members} < set(terms)
    assert terms["r_p"] > 0
    assert terms["r_f"] > 0


@pytest.mark.parametrize("modalities", [VEHICLE.members, ("rgb", "lidar")])
@pytest.mark.parametrize(
    ("fusion", "agmm"),
    [("mff", {}), ("mff", {"features": "fused", "level": 2, "l_cls": True}), ("early_concat", {})],
)
def test_value_mixture_terms_add_up_with_one_weight(fusion, agmm, modalities):
    config = settings(agmm={"weight": 0.6, **agmm}, fusion=fusion)
    model = Any2Seg(ModelConfig(head_width=16, num_classes=7, fusion=fusion, modalities=modalities)).train()
    objective = Objective(CrossEntropy(), config)
    images = {name: torch.randn(2, 3, 32, 64) for name in modalities}
    labels = torch.full((2, 32, 64), NOT_ANNOTATED)
    labels[0, 4, 9], labels[0, 20, 50], labels[1, 31, 63] = 2, 6, 2
    prediction = model(images)
    loss, terms = objective(model, images, prediction, labels, [0, 1])
    features = prediction.fused.levels[1] if agmm else prediction.hidden
    expected = GaussianMixtureLoss(config.agmm)(features, prediction.logits, labels)
    assert set(expected) == set(terms) - {"l_sup"}
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(loss, CrossEntropy()(prediction.logits, labels) + 0.6 * sum(expected.values()))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_value_hidden_map_is_what_the_classifier_sees_and_only_in_training():
    model = build()
    model.head.dropout.p = 0.0
    images = {name: torch.randn(2, 3, 32, 64) for name in VEHICLE.members}
    prediction = model(images)
    assert prediction.hidden.shape == (2, 16, 8, 16) and float(prediction.hidden.detach().min()) == 0.0  # after ReLU
    logits = torch.nn.functional.interpolate(model.head.classifier(prediction.hidden), (32, 64), mode="bilinear")
    torch.testing.assert_close(logits, prediction.logits)
    assert model.eval()(images).hidden is None
    assert build("mean_predictions")(images).hidden is None


@pytest.mark.parametrize(("fusion", "wrt"), [("mean_predictions", "logits"), ("mff", "features"), ("mff", "input")])
def test_gradient_wrapped_for_several_processes_equals_alone(fusion, wrt, tmp_path):
    """Gradients inside the loss do not trigger the hooks that average over processes; the one backward pass does."""
    objective = Objective(CrossEntropy(), settings(lambda_p=0.3, lambda_f=0.02, fisher={"wrt": wrt}))
    alone, wrapped = build(fusion), build(fusion)
    step(alone, objective)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        step(wrapped, objective, DistributedDataParallel(wrapped))
    finally:
        dist.destroy_process_group()
    for (name, first), second in zip(alone.named_parameters(), wrapped.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, msg=name, rtol=1e-5, atol=1e-7)


def test_value_means_leave_out_what_did_not_occur():
    nan = float("nan")
    steps = [{"a": torch.tensor(1.0), "b": torch.tensor(nan)}, {"a": torch.tensor(2.0), "b": torch.tensor(nan)}]
    assert mean_terms([*steps, {"a": torch.tensor(nan), "c": torch.tensor(5.0)}]) == {"a": 1.5, "c": 5.0}
    assert mean_terms([{}, {}]) == {}


def test_value_resume_with_sparse_labels_and_mixtures_is_exact(data, tmp_path):
    """2 + 2 steps equal 4, bit by bit, in half precision and with clicks."""
    sparse = {"root": data, "sparse": {"kind": "points", "count": 5}}

    def run(name: str, **changes: object) -> dict:
        options = {"agmm": {"weight": 1.0, "sigma": "predicted"}, "bf16": True, "max_minutes": None} | changes
        train(settings(data=sparse, out=tmp_path / name, **options), ALONE)
        return torch.load(tmp_path / name / "last.pt", weights_only=True)

    whole = run("whole", steps=4, lr=1e-3, poly_power=1e-9)
    run("parts", steps=2, lr=1e-3, poly_power=1e-9)
    parts = run("parts", steps=4, lr=1e-3, poly_power=1e-9, resume=True)
    assert whole["step"] == parts["step"] == 4
    for part in ("model", "average"):
        assert all(torch.equal(value, parts[part][name]) for name, value in whole[part].items())
    assert {"l_sup", "l_self", "l_spar", "l_con"} <= set(last_step(tmp_path / "whole"))


def test_exception_mixtures_need_a_fused_model():
    with pytest.raises(ValueError, match="agmm compares features of the fused model"):
        settings(agmm={"weight": 1}, fusion="mean_predictions")
    with user_error("value-unknown", "data.sparse.kind='dots'", "'points'"):
        load_config(["data=d", "out=o", "data.sparse={kind: dots}"])
    with user_error("key-unknown", "'agmm.lambda'", "l_self"):
        load_config(["data=d", "out=o", "agmm={lambda: 1}"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 3, "val": 1}, (64, 96))


def last_step(out: Path) -> dict:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "step"][-1]


def test_smoke_a_run_with_every_term(data, tmp_path):
    frames = DeliverDataset(data, "train")
    rng = np.random.default_rng(0)
    folder = tmp_path / "teacher"
    names = {"class_names": rng.normal(size=(25, 5))}
    write_embeddings(folder / "classes.safetensors", names, {"classes": DELIVER.classes})
    arrays = {"scene": rng.normal(size=(6, 5)), "modality": rng.normal(size=(6, 4, 5))}
    facts = {"frames": [frame.name for frame in frames.frames], "modalities": VEHICLE.members}
    write_embeddings(folder / "train.safetensors", arrays, facts)
    out = tmp_path / "run"
    weights = {"lambda_cr": 1, "lambda_se": 1, "lambda_p": 0.3, "lambda_f": 0.02, "bf16": True}
    train(settings(data=data, out=out, teacher=folder, mff={"unit_scale": True}, **weights), ALONE)
    logged = last_step(out)
    assert {"l_sup", "l_cr", "l_se", "r_p", "r_f", "fisher_p_rgb", "fisher_f_lidar"} <= set(logged)
    model, _, provenance = load_checkpoint(out / "final.safetensors")
    assert model.config.mff.unit_scale
    assert provenance["config"]["lambda_f"] == 0.02
    assert str(folder) not in json.dumps(provenance["config"])


def test_value_a_frame_that_stands_in_for_a_corrupt_one_has_its_own_teacher(tmp_path, monkeypatch):
    root = write_deliver(tmp_path / "data", {"train": 2, "val": 1}, (64, 96))
    frames = DeliverDataset(root, "train").frames
    path = DeliverDataset(root, "train").files(frames[1])["lidar"][0]
    path.write_bytes(b"broken")
    write_embeddings(tmp_path / "classes.safetensors", {"class_names": np.ones((25, 5))}, {})
    scene = np.eye(4, 5)
    facts = {"frames": [frame.name for frame in frames], "modalities": VEHICLE.members}
    arrays = {"scene": scene, "modality": np.ones((4, 4, 5))}
    write_embeddings(tmp_path / "train.safetensors", arrays, facts)
    scenes = []
    correlate = ModalityCorrelationLoss.forward

    def watched(loss, levels, fused, present, modality, scene):
        scenes.append(scene)
        return correlate(loss, levels, fused, present, modality, scene)

    monkeypatch.setattr(ModalityCorrelationLoss, "forward", watched)
    options = {"lambda_cr": 1, "teacher": tmp_path, "skip_corrupt": True, "batch_size": 4}
    train(settings(data=root, out=tmp_path / "run", **options), ALONE)
    assert all(sorted(rows.argmax(1).tolist()) == [0, 2, 2, 3] for rows in scenes) and scenes


@pytest.mark.parametrize("fusion", ["mean_predictions", "early_concat", "linear"])
def test_smoke_a_run_with_another_fusion(data, tmp_path, monkeypatch, fusion):
    monkeypatch.delattr(torch.nn.Module, "compile")  # compile_fusion is for MFF; the shipped recipes set it
    results = train(settings(data=data, out=tmp_path, fusion=fusion, compile_fusion=True), ALONE)
    assert len(results["subsets"]) == 15
    assert load_checkpoint(tmp_path / "final.safetensors")[0].config.fusion == fusion
    assert "l_sup" not in last_step(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["lambda_cr=1"], ("value-invalid", "teacher=<folder>")),
        (["lambda_se=1", "teacher=t", "fusion=mean_predictions"], ("value-invalid", "fusion=mean_predictions")),
        (["lambda_p=1", "fusion=early_concat"], ("value-invalid", "fusion=early_concat")),
        (["lambda_f=1", "fusion=linear"], ("value-invalid", "fusion=linear")),
        (["lambda_cr=1", "teacher=t", "fusion=linear"], ("value-invalid", "fusion=linear")),
        (["agmm.weight=1", "agmm.features=fused", "fusion=linear"], ("value-invalid", "fusion=linear", "hidden")),
        (["agmm.weight=1", "linear.ensemble=fixed", "fusion=linear"], ("value-invalid", "linear.ensemble=fixed")),
        (["linear.alpha=0.5"], ("value-invalid", "linear", "fusion=mff")),
        (["fusion=linear", "linear.absent=skip"], ("value-unknown", "linear.absent='skip'")),
        (["fusion=linear", "encoder=timm/convnext_tiny"], ("value-invalid", "MiT")),
        (["fusion=early_concat", "mff={select: false}"], ("value-invalid", "fusion=early_concat")),
        (["mff={selekt: false}"], ("key-unknown", "'mff.selekt'", "select?")),
        (["fisher={wrt: weights}"], ("value-unknown", "fisher.wrt='weights'")),
    ],
)
def test_exception_terms_without_what_they_need(changes, told):
    with user_error(*told) as caught:
        load_config(["data=d", "out=o", *changes])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200  # not the whole configuration


def test_exception_a_teacher_of_other_data_stops_before_the_first_step(data, tmp_path, capsys):
    arguments = [f"data={data}", f"out={tmp_path / 'run'}", f"teacher={tmp_path}", "lambda_se=1", "device=cpu"]
    assert main(arguments) == 2
    assert "no classes.safetensors or classes.npz there" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
