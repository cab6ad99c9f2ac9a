"""The other two places where modalities can meet: at the predictions and at the input; and the anchor of a stream."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from any2seg_core.models import Any2Seg, LinearFusionConfig, MFFConfig, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.vocabulary.contract import InputContract

NAMES = ("rgb", "depth", "lidar")


def build(**changes) -> Any2Seg:
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(**({"head_width": 16, "num_classes": 7, "modalities": NAMES} | changes))).eval()


def images(batch: int = 2, names=NAMES) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(batch, 3, 32, 64, generator=generator) for name in names}


@pytest.fixture(scope="module")
def mean_model() -> Any2Seg:
    return build(fusion="mean_predictions")


@pytest.fixture(scope="module")
def concat_model() -> Any2Seg:
    return build(fusion="early_concat")


@torch.inference_mode()
def test_value_mean_of_predictions_is_the_mean_over_single_modalities(mean_model):
    data, present = images(), torch.tensor([[True, True, True], [True, False, True]])
    actual = mean_model(data, present).logits
    alone = {name: mean_model({name: data[name]}).logits for name in NAMES}
    torch.testing.assert_close(actual[0], sum(a[0] for a in alone.values()) / 3, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual[1], (alone["rgb"][1] + alone["lidar"][1]) / 2, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["mff", "mean_predictions"])
def test_value_modality_logits_are_those_of_the_model_given_one_modality(fusion):
    model, data = build(fusion=fusion), images()
    encoded = model.encode(data, torch.tensor([[True, True, False], [False, True, True]]))
    logits = model.modality_logits(encoded)
    assert logits.shape == (2, 3, 7, 8, 16)
    for m, name in enumerate(NAMES):
        alone = model.decode(model.fuse(model.encode({name: data[name]})))
        torch.testing.assert_close(logits[encoded.present[:, m], m], alone[encoded.present[:, m]], rtol=1e-4, atol=1e-4)
    assert torch.equal(logits[~encoded.present], torch.zeros(2, 7, 8, 16))


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["mean_predictions", "early_concat", "linear"])
def test_value_subsets_from_one_encode(fusion):
    model, data = build(fusion=fusion), images()
    encoded = model.encode(data)
    for subset in [("rgb",), ("depth", "lidar"), NAMES]:
        kept = model.decode(model.fuse(encoded.keep(subset)))
        separate = model.decode(model.fuse(model.encode({name: data[name] for name in subset})))
        torch.testing.assert_close(kept, separate, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_value_early_concat_fills_absent_modalities_with_zeros(concat_model):
    assert concat_model.encoder.stages[0].embed.proj.weight.shape[1] == 9
    data = images()
    masked = concat_model(data, torch.tensor([[True, False, True]] * 2)).logits
    torch.testing.assert_close(concat_model({n: data[n] for n in ("rgb", "lidar")}).logits, masked)
    stacked = torch.cat([data["rgb"], torch.zeros_like(data["depth"]), data["lidar"]], dim=1)  # (B, 9, H, W)
    quarter = concat_model.head(concat_model.encoder(stacked))
    expected = F.interpolate(quarter, (32, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(masked, expected)
    data["depth"] = torch.full_like(data["depth"], torch.nan)
    assert torch.equal(concat_model(data, torch.tensor([[True, False, True]] * 2)).logits, masked)


@torch.inference_mode()
def test_value_anchor_of_the_stream_replaces_the_mean():
    model, data = build(), images(batch=1)
    encoded = model.encode(data)
    first = model.fuse(encoded).levels
    means = [level.mean(dim=1) for level in encoded.levels]
    for given, expected in zip(model.fuse(encoded, means).levels, first, strict=True):
        torch.testing.assert_close(given, expected)
    second = model.fuse(encoded, first).levels
    assert not torch.allclose(second[3], first[3])
    torch.testing.assert_close(second[3], model.fusion(encoded.levels[3], encoded.present, first[3]))


@pytest.mark.parametrize("fusion", ["mean_predictions", "early_concat"])
def test_gradient_reaches_every_parameter(fusion):
    model = build(fusion=fusion).train()
    present = torch.tensor([[True, True, False], [False, False, True]])
    model(images(), present).logits.square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "mean_predictions"},
        {"fusion": "early_concat"},
        {"mff": MFFConfig(weight="spatial", unit_scale=True)},
        {"fusion": "linear"},
        {"fusion": "linear", "linear": LinearFusionConfig(alpha=0.5, ensemble="fixed", absent="token")},
    ],
    ids=str,
)
def test_value_checkpoint_keeps_the_fusion(tmp_path, changes):
    model, data = build(num_classes=25, **changes), images(batch=1)
    save_checkpoint(tmp_path / "m.safetensors", model, InputContract(modalities=NAMES), {})
    loaded, _, _ = load_checkpoint(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    with torch.inference_mode():
        assert torch.equal(loaded(data).logits, model(data).logits)


def test_value_a_config_without_fusion_keys_is_mff():
    """Checkpoints written before there was a choice."""
    old = {"encoder": "mit_b0", "head_width": 16, "num_classes": 7, "modalities": NAMES}
    config = ModelConfig.model_validate(old)
    assert (config.fusion, config.mff) == ("mff", MFFConfig())


def test_exception_switches_that_would_have_no_effect():
    with pytest.raises(ValidationError, match="no effect with fusion=early_concat"):
        ModelConfig(fusion="early_concat", mff=MFFConfig(select=False))
    with pytest.raises(ValidationError, match="mff.selection"):
        ModelConfig(mff={"selection": False})
