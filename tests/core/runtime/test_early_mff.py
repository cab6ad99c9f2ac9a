"""A model of early MFF behind the doors of the program: checkpoint, predictor, stream, evaluation, features, export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.subsets import evaluate_subsets, subset_logits, zeros
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets

HALF = {"depth": 0.5, "event": 0.5, "lidar": 0.5}
CONTRACT = InputContract(height=64, width=128, scale=HALF)


@pytest.fixture(scope="module")
def model() -> Any2Seg:
    """With random norms: with those of a new model all features have one length, and MFF of two of them is a tie."""
    torch.manual_seed(0)
    options = {"mff": {"select_temperature": 0.1}, "mff_early": {"scale": HALF}}
    model = Any2Seg(ModelConfig(head_width=32, fusion="mff_early", **options)).eval()
    for stage in model.encoder.stages:
        torch.nn.init.uniform_(stage.norm.weight, 0.2, 2.0)
        torch.nn.init.normal_(stage.norm.bias)
    return model


@pytest.fixture(scope="module")
def planes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (70, 101, 3), dtype=np.uint8) for name in VEHICLE.members}


@torch.inference_mode()
def plain_labels(model: Any2Seg, planes: dict[str, np.ndarray]) -> np.ndarray:
    logits = model.decode(model.fuse(model.encode(planes_to_tensor(planes, CONTRACT))))
    return F.interpolate(logits, (70, 101), mode="bilinear").argmax(dim=1)[0].numpy()


def test_value_every_subset_is_labelled_as_by_the_model_itself(model, planes):
    predictor = Predictor(model, CONTRACT)
    found = predictor.subsets(planes, all_subsets())
    assert predictor.engine.name == "cpu" and len(found) == 15
    for subset, result in found.items():
        expected = plain_labels(model, {name: planes[name] for name in subset})
        assert (result.labels == expected).mean() > 0.999, subset


def test_value_a_stream_has_the_fused_levels_as_its_anchor(model, planes):
    stream = Predictor(model, CONTRACT, stream="anchor")
    first, second = (stream(planes, stamp_ns=stamp_ns) for stamp_ns in (0, 10**8))
    assert np.array_equal(first.labels, Predictor(model, CONTRACT)(planes).labels)
    assert not np.array_equal(first.confidence, second.confidence)
    with torch.inference_mode():
        encoded = model.encode(planes_to_tensor(planes, CONTRACT))
        logits = model.decode(model.fuse(encoded, model.fuse(encoded).levels[:2]))
    expected = F.interpolate(logits, (70, 101), mode="bilinear").argmax(dim=1)[0].numpy()
    assert (second.labels == expected).mean() > 0.999


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("place", ["encoder.stages.0.blocks.1.attn.q.weight", "encoder.stages.2.blocks.0.mlp.fc1.bias"])
def test_value_weights_that_are_not_finite_label_nothing(planes, precision, place, monkeypatch):
    monkeypatch.setattr("any2seg_core.models.precision.has_bfloat16", lambda: True)
    poisoned = Any2Seg(ModelConfig(head_width=32, fusion="mff_early", mff_early={"scale": HALF}))
    poisoned.state_dict()[place].view(-1)[0] = np.nan
    result = Predictor(poisoned, CONTRACT, precision=precision)(planes)
    assert (result.labels == 255).all() and result.invalid_share == 1.0


def test_value_agreement_is_that_of_the_two_maps_of_the_model(model, planes):
    result = Predictor(model, CONTRACT)(planes, compared="lidar")
    with torch.inference_mode():
        encoded = model.encode(planes_to_tensor(planes, CONTRACT))
        together = model.decode(model.fuse(encoded)).argmax(dim=1)[0]
        alone = model.modality_logits(encoded)[0, 3].argmax(dim=0)
    assert result.agreement == pytest.approx((together == alone).float().mean().item(), abs=0.01)


def test_value_checkpoint_keeps_scale_and_labels(model, planes, tmp_path: Path):
    path = tmp_path / "light.safetensors"
    save_checkpoint(path, model, CONTRACT, {})
    loaded, contract, _ = load_checkpoint(path)
    assert loaded.config == model.config and contract == CONTRACT
    assert contract.size_of("rgb") == (64, 128) and contract.size_of("lidar") == (32, 64)
    assert np.array_equal(Predictor(loaded, contract)(planes).labels, Predictor(model, CONTRACT)(planes).labels)


def test_value_zero_protocol_makes_blank_images_of_each_sensors_own_size(model, planes):
    """A data set without depth: by the protocol "zero" its place is taken by zeros at half the sides."""
    there = {name: planes[name] for name in ("event", "lidar", "rgb")}
    batch = EvaluationBatch(planes_to_tensor(there, CONTRACT), torch.zeros(1, 70, 101, dtype=torch.uint8), (0,))
    zeroed = {name: torch.zeros(1, 3, *CONTRACT.size_of(name)) for name in VEHICLE.members}
    for subset, logits in subset_logits(model, batch, [("rgb",), ("depth", "lidar")], zeros):
        given = zeroed | {name: batch.images[name] for name in subset if name != "depth"}
        with torch.inference_mode():
            expected = model.decode(model.fuse(model.encode(given)))
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_value_one_pass_scores_every_subset_as_single_passes_do(model, planes):
    truth = torch.randint(0, 25, (1, 70, 101), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    table = evaluate_subsets(model, [EvaluationBatch(planes_to_tensor(planes, CONTRACT), truth, (0,))], DELIVER)
    assert len(table) == 15
    for subset in all_subsets():
        labels = plain_labels(model, {name: planes[name] for name in subset})
        expected = np.zeros((25, 25), np.int64)
        np.add.at(expected, (truth[0].numpy().ravel(), labels.ravel()), 1)
        counts = table[VEHICLE.subset_letters(subset)].counts[:, :25]
        assert np.abs(counts - expected).sum() <= 14  # of 7070, by rounding


def test_value_the_light_checkpoint_that_ships(planes):
    path = default_checkpoint().with_name("drive_b0_light.safetensors")
    assert path.stat().st_size <= 8_000_000
    model, contract, provenance = load_checkpoint(path)
    assert model.config.fusion == "mff_early" and contract.scale == {"rgb": 0.5, "event": 0.5, "lidar": 0.5}
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert len(provenance["results"]["subsets"]) == 15
    labels = Predictor(model, contract)({"lidar": planes["lidar"]}).labels
    assert labels.shape == (70, 101) and labels.max() < 25
