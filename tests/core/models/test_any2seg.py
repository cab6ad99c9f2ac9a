"""The whole model: parameter count, subsets, absence masked, one encode for all subsets."""

from __future__ import annotations

import pytest
import torch
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets


@pytest.fixture(scope="module")
def model() -> Any2Seg:
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(head_width=32, num_classes=7)).eval()


def images(batch: int = 1, height: int = 64, width: int = 96, names=VEHICLE.members) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(batch, 3, height, width, generator=generator) for name in names}


def test_value_b2_has_24_73_million_parameters():
    count = sum(p.numel() for p in Any2Seg(ModelConfig(encoder="mit_b2", num_classes=25)).parameters())
    assert count == 24_728_537
    assert round(count / 1e6, 2) == 24.73


@pytest.mark.parametrize("subset", all_subsets(), ids="-".join)
def test_shape_any_subset(model, subset):
    with torch.inference_mode():
        prediction = model(images(names=subset))
    assert prediction.logits.shape == (1, 7, 64, 96)
    assert torch.isfinite(prediction.logits).all()


def test_value_a_masked_modality_equals_one_that_was_never_given(model):
    data = images(batch=2)
    present = torch.tensor([[True, False, True, True], [False, False, False, True]])
    with torch.inference_mode():
        masked = model(data, present).logits
        first = model({n: data[n][:1] for n in ("rgb", "event", "lidar")}).logits
        second = model({"lidar": data["lidar"][1:]}).logits
    torch.testing.assert_close(masked[:1], first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(masked[1:], second, rtol=1e-4, atol=1e-4)


def test_value_nan_in_an_absent_modality_has_no_effect(model):
    data = images(batch=1)
    present = torch.tensor([[True, False, True, True]])
    with torch.inference_mode():
        expected = model(data, present).logits
        data["depth"] = torch.full_like(data["depth"], torch.nan)
        assert torch.equal(model(data, present).logits, expected)


def test_value_only_present_pairs_pass_the_encoder(model):
    rows = []
    handle = model.encoder.register_forward_hook(lambda _m, args, _out: rows.append(args[0].shape[0]))
    present = torch.tensor([[True, False, True, False], [False, False, False, True]])
    with torch.inference_mode():
        model(images(batch=2), present)
    handle.remove()
    assert rows == [3]


def test_value_all_subsets_from_one_encode(model):
    data = images(batch=2)
    with torch.inference_mode():
        encoded = model.encode(data)
        for subset in [("rgb",), ("depth", "lidar"), ("rgb", "event", "lidar"), VEHICLE.members]:
            kept = model.decode(model.fuse(encoded.keep(subset)))
            separate = model.decode(model.fuse(model.encode({name: data[name] for name in subset})))
            agreement = (kept.argmax(1) == separate.argmax(1)).float().mean()
            assert agreement > 0.999, subset


def test_value_evaluation_is_deterministic(model):
    with torch.inference_mode():
        assert torch.equal(model(images()).logits, model(images()).logits)


def test_gradient_reaches_every_parameter_from_a_mixed_batch():
    model = Any2Seg(ModelConfig(head_width=32, num_classes=3)).train()
    present = torch.tensor([[True, True, False, False], [False, False, False, True]])
    model(images(batch=2, height=32, width=64), present).logits.square().mean().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert missing == []


def test_exception_messages_show_expected_and_actual(model):
    with user_error("sensor-none", "rgb, depth, event, lidar"):
        model({})
    with user_error("sensor-absent", "radar", "rgb, depth, event, lidar"):
        model({"radar": torch.zeros(1, 3, 64, 64)})
    with user_error("array-shape"):
        model({"rgb": torch.zeros(1, 3, 60, 64)})
    with user_error("array-shape"):
        model({"rgb": torch.zeros(1, 3, 64, 64), "depth": torch.zeros(1, 3, 64, 96)})
    with user_error("sensor-none"):
        model(images(), torch.zeros(1, 4, dtype=torch.bool))
    with user_error("array-shape", "(1, 4)"):
        model(images(), torch.ones(1, 3, dtype=torch.bool))
    with user_error("encoder-unknown", "resnet50", "mit_b0"):
        Any2Seg(ModelConfig(encoder="resnet50"))


def test_exception_a_modality_the_model_was_not_built_with():
    model = Any2Seg(ModelConfig(head_width=32, num_classes=3, modalities=("rgb", "lidar")))
    with user_error("sensor-absent", "depth", "rgb, lidar"):
        model(images(names=("depth",)))


@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "linear"])
def test_gradient_of_an_untrained_model_is_tame_where_a_plane_is_empty(fusion):
    """A crop without a LiDAR point or an event: zero tokens would make every LayerNorm's gradient a thousandfold."""
    given, norms = images(batch=2), []
    for _ in range(2):
        torch.manual_seed(0)
        model = Any2Seg(ModelConfig(fusion=fusion, head_width=16)).train()
        model(given).logits.square().mean().backward()
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])))
        given["lidar"][0] = 0.0
    assert norms[1] < 10 * norms[0]
