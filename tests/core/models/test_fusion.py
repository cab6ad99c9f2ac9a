"""MFF against a per-sample, per-pixel hand computation in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from any2seg_core.models import MFFConfig
from any2seg_core.models.mff import MFF


def hand_mff(features: np.ndarray) -> np.ndarray:
    """One sample, present modalities only: (M, C, H, W) float64 -> (C, H, W), written straight from the paper."""

    def cosine(a, b):
        return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))

    anchor = features.mean(axis=0)
    balanced = np.mean([cosine(anchor.ravel(), f.ravel()) * f for f in features], axis=0)
    fused = balanced.copy()
    _, height, width = balanced.shape
    for y in range(height):
        for x in range(width):
            scores = [cosine(f[:, y, x], balanced[:, y, x]) for f in features]
            fused[:, y, x] += features[int(np.argmax(scores)), :, y, x]
    return fused


@pytest.mark.parametrize("present", [[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1]])
def test_value_equals_hand_computation(present):
    torch.manual_seed(0)
    features = torch.randn(1, 4, 6, 3, 5, dtype=torch.float64)
    mask = torch.tensor([present], dtype=torch.bool)
    expected = hand_mff(features[0, mask[0]].numpy())
    np.testing.assert_allclose(MFF()(features, mask)[0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_value_rows_of_a_batch_do_not_mix():
    torch.manual_seed(1)
    features = torch.randn(3, 2, 4, 5, 3, dtype=torch.float64)
    present = torch.tensor([[True, True], [True, False], [False, True]])
    together = MFF()(features, present)
    for b in range(3):
        torch.testing.assert_close(together[b : b + 1], MFF()(features[b : b + 1], present[b : b + 1]))


def test_value_absent_features_have_no_influence():
    torch.manual_seed(2)
    features = torch.randn(2, 3, 4, 5, 3)
    present = torch.tensor([[True, False, True], [True, False, True]])
    poisoned = features.clone()
    poisoned[:, 1] = 1e6
    assert torch.equal(MFF()(features, present), MFF()(poisoned, present))


def test_value_single_modality_is_twice_the_feature():
    """With M = 1 the anchor is the feature: w = 1, so f_ma = f + f."""
    features = torch.randn(2, 1, 4, 5, 3)
    fused = MFF()(features, torch.ones(2, 1, dtype=torch.bool))
    torch.testing.assert_close(fused, 2 * features[:, 0])


def test_value_anchor_replaces_the_mean():
    features = torch.randn(1, 2, 4, 5, 3)
    present = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(MFF()(features, present, features.mean(dim=1)), MFF()(features, present))
    assert not torch.allclose(MFF()(features, present, features[:, 0]), MFF()(features, present))


def test_value_order_of_modalities_does_not_matter():
    features = torch.randn(2, 4, 6, 3, 5, dtype=torch.float64)
    present = torch.tensor([[True, True, False, True]] * 2)
    order = [3, 1, 0, 2]
    torch.testing.assert_close(MFF()(features, present), MFF()(features[:, order], present[:, order]))


def test_gradient_flows_to_present_features_only():
    features = torch.randn(1, 3, 4, 5, 3, requires_grad=True)
    present = torch.tensor([[True, False, True]])
    MFF()(features, present).square().sum().backward()
    assert features.grad[0, 0].abs().sum() > 0
    assert features.grad[0, 2].abs().sum() > 0
    assert features.grad[0, 1].abs().sum() == 0


def test_shape_has_no_parameters():
    assert list(MFF().parameters()) == []


def written_out(features: torch.Tensor, config: MFFConfig, anchor: torch.Tensor | None = None) -> torch.Tensor:
    """(1, M, C, H, W), all present -> (1, C, H, W) with torch's own cosine, one modality after the other."""
    parts = list(features.unbind(dim=1))
    mean = torch.stack(parts).mean(dim=0)
    anchor = mean if anchor is None else anchor
    axes = {"global": lambda f: f.flatten(1), "spatial": lambda f: f}[config.weight]
    shape = {"global": (-1, 1, 1, 1), "spatial": (1, 1, *mean.shape[2:])}[config.weight]
    weights = [torch.cosine_similarity(axes(f), axes(anchor), dim=1).reshape(shape) for f in parts]
    if config.unit_scale:
        weights = torch.stack(weights).softmax(dim=0) * len(parts)
    if config.reweight:
        balanced = sum(w * f for w, f in zip(weights, parts, strict=True)) / len(parts)
    else:
        balanced = mean
    winner = torch.stack([torch.cosine_similarity(f, balanced, dim=1) for f in parts]).argmax(dim=0)
    picked = sum(f * (winner == m)[:, None] for m, f in enumerate(parts))
    if config.select_temperature:
        cosines = torch.stack([torch.cosine_similarity(f, balanced, dim=1) for f in parts])  # (M, 1, H, W)
        shares = cosines.div(config.select_temperature).exp()
        picked = sum(share[:, None] * f for share, f in zip(shares / shares.sum(dim=0), parts, strict=True))
    selected = picked if config.select else mean
    if not config.residual:
        return selected if config.select else balanced
    return (balanced + selected) / (2 if config.unit_scale else 1)


SWITCHES = [
    {"select": False, "residual": False},
    {"residual": False},
    {"select": False},
    {"reweight": False},
    {"reweight": False, "select": False, "residual": False},
    {"weight": "spatial"},
    {"unit_scale": True},
    {"weight": "spatial", "unit_scale": True, "select": False},
    {"select_temperature": 0.1},
    {"select_temperature": 0.3, "residual": False, "weight": "spatial"},
    {"select_temperature": 0.3, "reweight": False, "unit_scale": True},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("M", [1, 2, 4])
def test_value_every_switch_equals_the_formula(switches, M):
    torch.manual_seed(5)
    config = MFFConfig(**switches)
    features = torch.randn(1, M, 6, 3, 5, dtype=torch.float64)
    padded = torch.cat([features, torch.randn(1, 2, 6, 3, 5, dtype=torch.float64)], dim=1)
    present = torch.tensor([[True] * M + [False] * 2])
    torch.testing.assert_close(MFF(config)(padded, present), written_out(features, config))
    anchor = torch.randn(1, 6, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(MFF(config)(padded, present, anchor), written_out(features, config, anchor))


def test_value_temperature_lies_between_the_choice_of_one_and_the_mean():
    torch.manual_seed(6)
    features, present = torch.randn(2, 3, 6, 3, 5, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool)
    cold = MFF(MFFConfig(select_temperature=1e-3))(features, present)
    warm = MFF(MFFConfig(select_temperature=100.0))(features, present)
    near = torch.isclose(cold, MFF()(features, present), rtol=1e-6).all(dim=1)
    assert near.double().mean() > 0.9  # the others have two modalities that are nearly equally like f_mb
    torch.testing.assert_close(warm, MFF(MFFConfig(select=False))(features, present), rtol=1e-2, atol=2e-2)


def test_exception_a_temperature_without_selection():
    with pytest.raises(ValueError, match="no effect with select=false"):
        MFFConfig(select=False, select_temperature=0.1)
    with pytest.raises(ValueError, match="at least 0.001"):
        MFFConfig(select_temperature=1e-5)


def test_value_unit_scale_leaves_a_single_modality_as_it_is():
    features = torch.randn(2, 1, 4, 5, 3)
    fused = MFF(MFFConfig(unit_scale=True))(features, torch.ones(2, 1, dtype=torch.bool))
    torch.testing.assert_close(fused, features[:, 0])


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_gradient_every_switch_is_finite(switches):
    features = torch.randn(2, 3, 4, 5, 3, requires_grad=True)
    MFF(MFFConfig(**switches))(features, torch.tensor([[True, False, True]] * 2)).square().sum().backward()
    assert torch.isfinite(features.grad).all()
    assert features.grad[:, 1].abs().sum() == 0
    assert features.grad[:, 0].abs().sum() > 0


def test_value_float16_does_not_overflow():
    """A map of ordinary features: its norm squared is beyond what float16 holds. Near ties would select otherwise."""
    mff = MFF(MFFConfig(select=False))
    torch.manual_seed(0)
    features = (8 * torch.randn(1, 2, 64, 48, 31)).half()
    present = torch.ones(1, 2, dtype=torch.bool)
    with torch.autocast("cpu", torch.float16):
        fused = mff(features, present)
    assert torch.allclose(fused.float(), mff(features.float(), present), rtol=5e-3, atol=5e-2)
