"""Gated MFF: at first it is MFF; a trained gate decides location by location whom to believe."""

from __future__ import annotations

import pytest
import torch

from any2seg_core.models import Any2Seg, MFFConfig, ModelConfig
from any2seg_core.models.mff import MFF
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.vocabulary.modalities import all_subsets

NAMES = ("rgb", "depth", "lidar")
SWITCHES = [
    {},
    {"select_temperature": 0.1},
    {"select": False},
    {"weight": "spatial", "select": False},
    {"unit_scale": True, "select_temperature": 0.3},
]


def build(fusion: str = "mff_gated", **changes) -> Any2Seg:
    torch.manual_seed(0)
    mff = {"select_temperature": 0.1}
    options = {"head_width": 16, "num_classes": 7, "modalities": NAMES, "fusion": fusion, "mff": mff}
    return Any2Seg(ModelConfig(**options | changes)).eval()


def images() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    data = {name: torch.randn(2, 3, 64, 96, generator=generator) for name in NAMES}
    data["lidar"][:, :, :32] = 0.0
    return data


def random_case(M: int = 3) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(M)
    features, trust = (torch.randn(2, M, c, 3, 5, generator=generator, dtype=torch.float64) for c in (6, 1))
    present = torch.ones(2, M, dtype=torch.bool)
    present[0, 0] = M == 1
    return features, present, trust[:, :, 0]


@torch.inference_mode()
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("switches", SWITCHES[1:], ids=str)
def test_value_a_new_gate_is_mff(switches, masks):
    gated, plain = (build(fusion, mff=switches, content_masks=masks) for fusion in ("mff_gated", "mff"))
    told = gated.load_state_dict(plain.state_dict(), strict=False)
    assert told.missing_keys == [f"fusion.gates.{j}" for j in range(4)]
    assert sum(gate.numel() for gate in gated.fusion.gates) == 32 + 64 + 160 + 256 + 4
    data = images()
    for subset in all_subsets(NAMES):
        given = {name: data[name] for name in subset}
        torch.testing.assert_close(gated(given).logits, plain(given).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("M", [1, 2, 4])
def test_value_equal_trust_is_none_and_a_sensor_alone_is_itself(switches, M):
    features, present, trust = random_case(M)
    mff = MFF(MFFConfig(**switches))
    same = torch.full_like(trust, 3.0)
    torch.testing.assert_close(mff(features, present, trust=same), mff(features, present))
    alone = features[:, :1], torch.ones(2, 1, dtype=torch.bool)
    torch.testing.assert_close(mff(*alone, trust=trust[:, :1]), mff(*alone))


@pytest.mark.parametrize("switches", [{"select_temperature": 0.1}, {"reweight": False, "select": False}], ids=str)
def test_value_who_is_trusted_alone_is_what_comes_out(switches):
    features, present, trust = random_case(4)
    believed = torch.zeros_like(trust)
    believed[:, 2] = 500.0
    found = MFF(MFFConfig(**switches))(features, present, trust=believed)
    torch.testing.assert_close(found, MFF(MFFConfig(**switches))(features[:, 2:3], present[:, 2:3]))


def test_value_the_mean_by_hand():
    features, present, trust = random_case(3)
    found = MFF(MFFConfig(reweight=False, select=False, residual=False))(features, present, trust=trust)
    weights = trust.exp() * present[:, :, None, None]
    expected = (features * weights[:, :, None]).sum(dim=1) / weights.sum(dim=1)[:, None]
    torch.testing.assert_close(found, expected)


def test_value_the_number_of_a_place_is_linear_in_feature_and_content():
    model = build(mff={"reweight": False, "select": False, "residual": False})
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for gate in model.fusion.gates:
            gate.copy_(torch.randn(gate.shape, generator=generator))
        encoded = model.encode(images())
        fused = model.fuse(encoded).levels
    for gate, level, content, found in zip(model.fusion.gates, encoded.levels, encoded.content, fused, strict=True):
        inputs = torch.cat([level, content[:, :, None].float()], dim=2)  # (B, M, C + 1, H, W)
        weights = torch.einsum("bmchw,c->bmhw", inputs, gate).softmax(dim=1)
        torch.testing.assert_close(found, torch.einsum("bmchw,bmhw->bchw", level, weights), rtol=1e-4, atol=1e-5)
    assert not encoded.content[0][:, 2, :6].any() and encoded.content[0][:, :2].all()


@torch.inference_mode()
def test_value_every_subset_is_what_it_would_be_alone_also_in_the_cpu_engine():
    model = build()
    for gate in model.fusion.gates:
        torch.nn.init.normal_(gate)
    data = images()
    engine, subsets = CpuEngine(model), all_subsets(NAMES)
    found = engine.fuse_subsets(engine.encode(data), subsets)
    for subset, fused in zip(subsets, found, strict=True):
        expected = model.decode(model.fuse(model.encode({name: data[name] for name in subset})))
        torch.testing.assert_close(engine.decode(fused), expected, rtol=1e-3, atol=1e-4)
        kept = model.decode(model.fuse(model.encode(data).keep(subset)))
        torch.testing.assert_close(kept, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masks", [False, True])
def test_gradient_reaches_the_gates_of_every_level(masks):
    model = build(content_masks=masks).train()
    present = torch.tensor([[True, True, True], [False, True, True]])
    subsets = torch.tensor([[[True, True, False], [False, False, True]]])
    torch.manual_seed(3)
    target = torch.randn(2, 2, 7, 16, 24)
    logits = model(images(), present, subsets).subset_logits
    (logits - target).square().mean().backward()
    for gate in model.fusion.gates:
        assert torch.isfinite(gate.grad).all() and gate.grad.abs().max() > 0


def test_gradient_of_one_sensor_alone_is_zero_and_finite():
    model = build().train()
    model({"lidar": images()["lidar"]}).logits.sum().backward()
    assert all(not gate.grad.any() for gate in model.fusion.gates)


def test_value_a_gate_learns_whom_to_believe():
    """One sensor is noise: trained for a few steps on which of the two is right, the gate takes the other one."""
    torch.manual_seed(4)
    signal, noise = torch.randn(8, 1, 6, 4, 4), torch.randn(8, 1, 6, 4, 4)
    noise[:, :, 0] += 3.0  # how a feature of noise can be told
    features, present = torch.cat([signal, noise], dim=1), torch.ones(8, 2, dtype=torch.bool)
    weight = torch.zeros(6, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.1)
    mff = MFF(MFFConfig(unit_scale=True, select_temperature=0.3))
    losses = []
    for _ in range(60):
        fused = mff(features, present, trust=torch.einsum("bmchw,c->bmhw", features, weight))
        loss = (fused - signal[:, 0]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert weight[0] < -0.5 and losses[-1] < 0.2 * losses[0]
