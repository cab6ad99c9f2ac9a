"""Compiled MFF against the same module on PyTorch's operations in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from any2seg_core.models.any2seg import Encoded
from any2seg_core.models.fusion import MFF, MFFConfig
from any2seg_core.vocabulary.modalities import MODALITIES

CONFIGS = [
    MFFConfig(),
    MFFConfig(unit_scale=True),
    MFFConfig(residual=False),
    MFFConfig(reweight=False),
    MFFConfig(reweight=False, unit_scale=True),
]


def random_case(seed: int, B: int, M: int, C: int, H: int, W: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(B, M, C, H, W, generator=generator)
    features *= 0.2 + 2 * torch.rand(B, M, 1, 1, 1, generator=generator)
    present = torch.rand(B, M, generator=generator) < 0.6
    present[torch.arange(B), torch.randint(0, M, (B,), generator=generator)] = True
    return features, present


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 5), st.integers(2, 70), *[st.integers(1, 9)] * 2)
def test_property_equals_torch(config, seed, B, M, C, H, W):
    features, present = random_case(seed, B, M, C, H, W)
    module = MFF(config)
    expected = module(features.double(), present).float()
    with torch.inference_mode():
        assert module.has_kernel(features)
        fused = module(features, present)
    # A location where two modalities are equally like f_mb may take either: the other one's f_mb is the same.
    close = torch.isclose(fused, expected, rtol=1e-4, atol=1e-5).all(dim=1)  # (B, H, W)
    assert int((~close).sum()) <= 0.01 * close.numel()


def test_value_channels_last_large_map_and_many_threads():
    """Parts of a map on several threads, sums over many chunks; memory as the encoder leaves it."""
    tokens = torch.randn(2, 3, 40 * 52, 64)
    features = tokens.unflatten(2, (40, 52)).permute(0, 1, 4, 2, 3)  # (B, M, C, H, W)
    present = torch.tensor([[True, True, False], [True, True, True]])
    expected = MFF()(features.double(), present).float()
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with torch.no_grad():
                found.append(MFF()(features, present))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    assert torch.isclose(found[0], expected, rtol=1e-4, atol=1e-5).all(dim=1).float().mean() > 0.999


def test_value_absent_features_are_never_read_and_subsets_share_products_bit_by_bit():
    features, _ = random_case(5, 2, 4, 32, 17, 23)
    names = MODALITIES
    everything = torch.ones(2, 4, dtype=torch.bool)
    with torch.inference_mode():
        products = MFF().products(features, everything)
        encoded = Encoded([features], everything, names, products=[products])
        for subset in (("rgb",), ("depth", "lidar"), ("rgb", "event", "lidar"), names):
            kept = encoded.keep(subset)
            columns = [names.index(name) for name in subset]
            alone = MFF()(features[:, columns], everything[:, columns])
            poisoned = torch.full_like(features, torch.nan)
            poisoned[:, columns] = features[:, columns]
            assert torch.equal(MFF()(features, kept.present, products=kept.products[0]), alone)
            assert torch.equal(MFF()(poisoned, kept.present), alone)


def test_value_features_of_zero_have_no_weight_and_make_no_nan():
    features = torch.zeros(1, 2, 5, 2, 3)
    features[:, 1] = torch.randn(1, 5, 2, 3)
    present = torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(MFF()(features, present), MFF()(features.double(), present).float())
        assert not MFF()(torch.zeros(1, 2, 5, 2, 3), present).any()


def test_value_the_kernel_is_for_plain_inference_alone():
    features, present = random_case(0, 1, 2, 8, 3, 3)[0], torch.ones(1, 2, dtype=torch.bool)
    assert not MFF().has_kernel(features)  # gradients may be wanted
    with torch.no_grad():
        assert not MFF().has_kernel(features.double())
        assert not MFF(MFFConfig(select=False)).has_kernel(features)
        assert not MFF(MFFConfig(weight="spatial")).has_kernel(features)
        anchored = MFF()(features, present, features.mean(dim=1))
        torch.testing.assert_close(anchored, MFF()(features, present), rtol=1e-4, atol=1e-5)
