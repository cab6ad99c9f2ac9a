"""The compiled engine: MFF against PyTorch's operations in float64, the head against its own published order."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from any2seg_core.models import Any2Seg, FusionName, MFFConfig, ModelConfig
from any2seg_core.models.decoder import AllMLPHead
from any2seg_core.models.mff import MFF
from any2seg_core.runtime.engines.cpu import CompiledHead, CompiledMFF, CpuEngine
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets

CHANNELS = (8, 12, 20, 24)

CONFIGS = [
    MFFConfig(),
    MFFConfig(unit_scale=True),
    MFFConfig(residual=False),
    MFFConfig(reweight=False),
    MFFConfig(reweight=False, unit_scale=True),
    MFFConfig(select_temperature=0.1),
    MFFConfig(select_temperature=2.0, unit_scale=True),
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
    expected = MFF(config)(features.double(), present).float()
    assert CompiledMFF.knows(config)
    with torch.inference_mode():
        fused = CompiledMFF(config)(features, present)
    # A location where two modalities are equally like f_mb may take either: the other one's f_mb is the same.
    close = torch.isclose(fused, expected, rtol=1e-4, atol=1e-5).all(dim=1)  # (B, H, W)
    assert int((~close).sum()) <= 0.01 * close.numel()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 5), st.integers(2, 70), *[st.integers(1, 9)] * 2)
def test_property_where_sensors_say_nothing_equals_torch(config, seed, B, M, C, H, W):
    features, present = random_case(seed, B, M, C, H, W)
    content = torch.rand(B, M, H, W, generator=torch.Generator().manual_seed(seed)) < 0.5
    expected = MFF(config)(features.double(), present, content=content).float()
    with torch.inference_mode():
        fused = CompiledMFF(config)(features, present, content=content)
    close = torch.isclose(fused, expected, rtol=1e-4, atol=1e-5).all(dim=1)  # (B, H, W)
    ties = 0 if config.select_temperature else max(1, 0.01 * close.numel())  # see above
    assert int((~close).sum()) <= ties


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
                found.append(CompiledMFF()(features, present))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    assert torch.isclose(found[0], expected, rtol=1e-4, atol=1e-5).all(dim=1).float().mean() > 0.999


def test_value_absent_features_are_never_read_and_subsets_share_products_bit_by_bit():
    features, _ = random_case(5, 2, 4, 32, 17, 23)
    everything = torch.ones(2, 4, dtype=torch.bool)
    fusion = CompiledMFF()
    with torch.inference_mode():
        products = fusion.products(features, everything)
        for subset in (("rgb",), ("depth", "lidar"), ("rgb", "event", "lidar"), VEHICLE.members):
            columns = [VEHICLE.members.index(name) for name in subset]
            kept = everything & torch.tensor([name in subset for name in VEHICLE.members])
            alone = fusion(features[:, columns], everything[:, columns])
            poisoned = torch.full_like(features, torch.nan)
            poisoned[:, columns] = features[:, columns]
            assert torch.equal(fusion(features, kept, products=products), alone)
            assert torch.equal(fusion(poisoned, kept), alone)


@pytest.mark.parametrize("config", [MFFConfig(), MFFConfig(select_temperature=0.1)], ids=str)
def test_value_features_of_zero_have_no_weight_and_make_no_nan(config):
    features = torch.zeros(1, 2, 5, 2, 3)
    features[:, 1] = torch.randn(1, 5, 2, 3)
    present = torch.ones(1, 2, dtype=torch.bool)
    fusion = CompiledMFF(config)
    with torch.no_grad():
        torch.testing.assert_close(fusion(features, present), MFF(config)(features.double(), present).float())
        assert not fusion(torch.zeros(1, 2, 5, 2, 3), present).any()


def test_value_an_anchor_gives_what_pytorch_gives():
    features, present = random_case(0, 1, 2, 8, 3, 3)[0], torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        anchored = CompiledMFF()(features, present, 2.0 * features[:, 0])
        expected = MFF()(features, present, 2.0 * features[:, 0])
        torch.testing.assert_close(anchored, expected, rtol=1e-5, atol=1e-6)
        on_mean = CompiledMFF()(features, present, features.mean(dim=1))
        torch.testing.assert_close(on_mean, CompiledMFF()(features, present), rtol=1e-4, atol=1e-5)


def levels(batch: int, height: int, width: int) -> list[torch.Tensor]:
    return [torch.randn(batch, c, height >> j, width >> j) for j, c in enumerate(CHANNELS)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("is_rectified", [False, True])
@pytest.mark.parametrize(("batch", "size", "width"), [(1, (8, 24), 16), (3, (40, 72), 16), (2, (72, 40), 300)])
def test_value_the_head_in_strips_equals_the_head(layout, batch, size, width, is_rectified):
    """300 channels make several strips."""
    torch.manual_seed(1)
    head = AllMLPHead(CHANNELS, 5, width=width, is_rectified=is_rectified).eval()
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 2.0)
    features = [level.contiguous(memory_format=layout) for level in levels(batch, *size)]
    expected = head(features).detach()
    assert float(expected.std()) > 0.05
    compiled = CompiledHead(head)
    with torch.inference_mode():
        found = compiled(features)
        alone = [compiled([level[b : b + 1] for level in features]) for b in range(batch)]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)
    assert torch.equal(torch.cat(alone), found)


def test_value_the_head_on_levels_of_odd_sizes():
    """Sizes that are no multiples of each other, as other encoders have them."""
    torch.manual_seed(2)
    head = AllMLPHead(CHANNELS, 3, width=16).eval()
    sizes = [(19, 37), (10, 19), (5, 9), (1, 1)]
    features = [torch.randn(2, channels, *size) for channels, size in zip(CHANNELS, sizes, strict=True)]
    with torch.no_grad():
        torch.testing.assert_close(CompiledHead(head)(features), head(features), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["mff", "mff_early", "mean_predictions"])
def test_value_sensors_that_say_nothing_somewhere(fusion):
    """Labels of every subset as of the model, whatever else was encoded."""
    torch.manual_seed(0)
    names = ("rgb", "depth", "lidar")
    mff = {} if fusion == "mean_predictions" else {"select_temperature": 0.1}
    options = {"head_width": 16, "num_classes": 7, "modalities": names, "fusion": fusion, "mff": mff}
    model = Any2Seg(ModelConfig(content_masks=True, **options), empty={"depth": (-1.0, 0.5, 0.0)}).eval()
    given = {name: torch.randn(1, 3, 128, 64) for name in names}
    for name, first in (("depth", 32), ("lidar", 64)):
        given[name][:, :, first:] = torch.tensor(model.empty[name]).view(1, 3, 1, 1)
    engine, subsets = CpuEngine(model), all_subsets(names)
    encoded = engine.encode(given)
    blind = Any2Seg(model.config.model_copy(update={"content_masks": False})).eval()
    blind.load_state_dict(model.state_dict())
    for subset, fused in zip(subsets, engine.fuse_subsets(encoded, subsets), strict=True):
        images = {name: given[name] for name in subset}
        expected = model.decode(model.fuse(model.encode(images)))
        logits = engine.decode(fused)
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
        assert torch.equal(engine.decode(engine.fuse(engine.together(engine.encode_sensors(images)))), logits)
        plain = blind.decode(blind.fuse(blind.encode(images)))
        assert torch.allclose(plain, expected, atol=1e-3) == (len(subset) == 1)


@torch.inference_mode()
@pytest.mark.parametrize("fusion", get_args(FusionName))
@pytest.mark.parametrize("names", [("lidar",), ("rgb", "depth", "lidar")])
def test_value_every_subset_has_the_logits_of_the_model(fusion, names):
    torch.manual_seed(0)
    early = {"scale": {"lidar": 0.5}} if fusion == "mff_early" else {}
    options = {"head_width": 16, "num_classes": 7, "modalities": names, "fusion": fusion, "mff_early": early}
    model = Any2Seg(ModelConfig(**options)).eval()
    for norm in (stage.norm for stage in model.encoder.stages if fusion.startswith("mff")):
        torch.nn.init.uniform_(norm.weight, 0.2, 2.0)  # with the norms of a new model MFF of two sensors is a tie
    given = {name: torch.randn(2, 3, *model.image_size(name, (64, 192))) for name in names}
    engine, subsets = CpuEngine(model), all_subsets(names)
    encoded = engine.encode(given)
    found = [engine.decode(fused) for fused in engine.fuse_subsets(encoded, subsets)]
    for subset, logits in zip(subsets, found, strict=True):
        expected = model.decode(model.fuse(model.encode({name: given[name] for name in subset})))
        close = torch.isclose(logits, expected, rtol=1e-3, atol=1e-4).all(dim=1)
        assert logits.shape == expected.shape == (2, 7, 16, 48)
        assert close.float().mean() > 0.99  # where two modalities are equally like f_mb, either may be taken
        kept = engine.decode(engine.fuse(encoded.keep(subset)))
        if fusion == "mff_gated":  # not compiled: PyTorch adds absent ones too, times zero, in another order
            torch.testing.assert_close(kept, logits, rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(kept, logits)
    assert torch.equal(model(given).logits, model.eval()(given).logits) and not hasattr(model.head, "_weights")
