"""Early MFF: sensors at sizes of their own pass half of the encoder, what is fused passes the rest."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.vocabulary.modalities import all_subsets

NAMES = ("rgb", "depth", "lidar")
HALF = {"depth": 0.5, "lidar": 0.5}


def build(**changes) -> Any2Seg:
    torch.manual_seed(0)
    given = {"head_width": 16, "num_classes": 7, "modalities": NAMES, "fusion": "mff_early"} | changes
    return Any2Seg(ModelConfig(**given)).eval()


def images(model: Any2Seg, batch: int = 2, size: tuple[int, int] = (64, 128)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(batch, 3, *model.image_size(name, size), generator=generator) for name in model.modalities
    }


@pytest.fixture(scope="module")
def light() -> Any2Seg:
    return build(mff={"select_temperature": 0.1}, mff_early={"scale": HALF})


@torch.inference_mode()
@pytest.mark.parametrize("fusion_options", [{}, {"select_temperature": 0.1}, {"weight": "spatial"}])
def test_value_one_sensor_at_full_size_is_the_encoder_and_the_head(fusion_options):
    """With unit_scale f_ma of one sensor is its feature, so that nothing is left of the fusion, wherever it stands."""
    model = build(mff={"unit_scale": True} | fusion_options)
    data = {"depth": images(model)["depth"]}
    plain = model.head(model.encoder(data["depth"]))
    expected = F.interpolate(plain, (64, 128), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(data).logits, expected, rtol=1e-5, atol=1e-5)
    late = build(fusion="mff", mff={"unit_scale": True} | fusion_options)
    late.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(data).logits, late(data).logits, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_value_each_step_by_hand(light):
    data = images(light)
    stages = light.encoder.stages
    levels = [[], []]
    for name in NAMES:
        first = stages[0](data[name])
        for found, level in zip(levels, (first, stages[1](first)), strict=True):
            size = (16, 32) if level is first else (8, 16)
            found.append(F.interpolate(level, size, mode="bilinear", align_corners=False))
    there = torch.ones(2, 3, dtype=torch.bool)
    level_1, level_2 = (light.fusion.mff(torch.stack(each, dim=1), there) for each in levels)
    level_3 = stages[2](level_2)
    quarter = light.head([level_1, level_2, level_3, stages[3](level_3)])
    expected = F.interpolate(quarter, (64, 128), mode="bilinear", align_corners=False)
    torch.testing.assert_close(light(data).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("subset", all_subsets(NAMES), ids="-".join)
def test_shape_any_subset(light, subset):
    data = images(light, batch=1)
    with torch.inference_mode():
        prediction = light({name: data[name] for name in subset})
    assert prediction.logits.shape == (1, 7, 64, 128)
    assert [level.shape[2:] for level in prediction.encoded.levels] == [(32, 16, 32), (64, 8, 16)]
    assert [level.shape[1:] for level in prediction.fused.levels] == [
        (32, 16, 32), (64, 8, 16), (160, 4, 8), (256, 2, 4)]  # fmt: skip


@torch.inference_mode()
def test_value_subsets_from_one_encoding(light):
    data = images(light)
    encoded = light.encode(data)
    for subset in all_subsets(NAMES):
        kept = light.decode(light.fuse(encoded.keep(subset)))
        separate = light.decode(light.fuse(light.encode({name: data[name] for name in subset})))
        torch.testing.assert_close(kept, separate, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_value_absent_sensors_have_no_influence(light):
    """No sample of the batch has the camera, whose part of the encoder then gets no row."""
    data = images(light)
    present = torch.tensor([[False, True, True], [False, False, True]])
    found = light(data, present).logits
    both = light({name: data[name][:1] for name in ("depth", "lidar")}).logits
    torch.testing.assert_close(found[:1], both, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1:], light({"lidar": data["lidar"][1:]}).logits, rtol=1e-4, atol=1e-4)
    data["rgb"] = torch.full_like(data["rgb"], torch.nan)
    assert torch.equal(light(data, present).logits, found)


@torch.inference_mode()
def test_value_scales_between_others_keep_the_order_of_the_sensors():
    model = build(mff_early={"scale": {"depth": 0.5, "lidar": 1.0}})
    encoded = model.encode(images(model))
    assert encoded.modalities == NAMES
    alone = model.encode({"lidar": images(model)["lidar"]})
    torch.testing.assert_close(encoded.levels[1][:, 2], alone.levels[1][:, 0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_value_modality_logits_are_those_of_the_model_given_one_sensor(light):
    data = images(light)
    encoded = light.encode(data, torch.tensor([[True, True, False], [False, True, True]]))
    logits = light.modality_logits(encoded)
    for m, name in enumerate(NAMES):
        alone = light.decode(light.fuse(light.encode({name: data[name]})))
        there = encoded.present[:, m]
        torch.testing.assert_close(logits[there, m], alone[there], rtol=1e-4, atol=1e-4)
    assert torch.equal(logits[~encoded.present], torch.zeros(2, 7, 16, 32))


@torch.inference_mode()
def test_value_anchor_of_the_stream_replaces_the_mean_of_what_is_fused():
    model = build(mff_early={"scale": HALF})
    encoded = model.encode(images(model, batch=1))
    means = [level.mean(dim=1) for level in encoded.levels]
    first = model.fuse(encoded)
    for given, expected in zip(model.fuse(encoded, means).levels, first.levels, strict=True):
        torch.testing.assert_close(given, expected)
    second = model.fuse(encoded, first.levels[:2])
    assert not torch.allclose(second.levels[3], first.levels[3])


def test_gradient_reaches_every_parameter():
    model = build(mff_early={"scale": HALF}).train()
    present = torch.tensor([[False, True, False], [False, False, True]])
    model(images(model), present).logits.square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []


def test_exception_images_of_other_sizes(light):
    whole = torch.zeros(1, 3, 64, 128)
    with user_error("array-shape", "(1, 3, 64, 128)", "0.5"):
        light({"rgb": whole, "depth": whole})
    with user_error("array-shape", "(1, 3, 48, 64)"):  # of 96x128: its level of 12 rows has no place for 8 of a key
        light({"depth": torch.zeros(1, 3, 48, 64)})
    with user_error("array-shape", "(3, 32, 64)"):
        light({"depth": torch.zeros(3, 32, 64)})


@pytest.mark.parametrize(
    "changes",
    [
        {"mff_early": {"scale": {"depth": 0.3}}},
        {"mff_early": {"scale": {"thermal": 0.5}}},
        {"mff_early": {"scale": HALF}, "fusion": "mff"},
        {"encoder": "timm/convnext_tiny"},
        {"linear": {"alpha": 0.5}},
    ],
)
def test_exception_settings_without_effect_or_meaning(changes):
    with pytest.raises(ValidationError, match=r"scale|no effect|mit_b0"):
        ModelConfig(**{"modalities": NAMES, "fusion": "mff_early"} | changes)
