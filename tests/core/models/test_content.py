"""Cells where a sensor says nothing take no part in the fusion: by hand, location by location."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from any2seg_core.models import Any2Seg, MFFConfig, ModelConfig
from any2seg_core.models.content import content_masks, taking_part
from any2seg_core.models.mff import MFF
from any2seg_core.vocabulary.contract import InputContract, Normalisation
from any2seg_core.vocabulary.modalities import all_subsets

NAMES = ("rgb", "depth", "lidar")
SWITCHES = [
    {},
    {"select_temperature": 0.1},
    {"select": False},
    {"reweight": False, "residual": False},
    {"weight": "spatial", "select_temperature": 0.3},
    {"unit_scale": True},
    {"unit_scale": True, "weight": "spatial", "select": False},
]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def by_hand(features: np.ndarray, takes: np.ndarray, config: MFFConfig) -> np.ndarray:
    """features (M, N, C), takes (M, N) bool -> (N, C): the steps of MFF, each location with its own modalities."""
    M, N, _ = features.shape
    mean = np.stack([features[takes[:, n], n].mean(axis=0) for n in range(N)])  # (N, C)
    fused = np.empty_like(mean)
    for n in range(N):
        there = np.flatnonzero(takes[:, n])
        weights = []
        for m in there:
            where = takes[m] if config.weight == "global" else np.arange(N) == n
            weights.append(cosine(features[m][where].ravel(), mean[where].ravel()))
        if config.unit_scale:
            weights = np.exp(weights) / np.exp(weights).sum() * len(there)
        if not config.reweight:
            weights = np.ones(len(there))
        balanced = np.mean([w * features[m, n] for w, m in zip(weights, there, strict=True)], axis=0)
        cosines = np.array([cosine(features[m, n], balanced) for m in there])
        chosen = features[there[cosines.argmax()], n]
        if config.select_temperature:
            shares = np.exp(cosines / config.select_temperature)
            chosen = (shares / shares.sum()) @ features[there, n]
        chosen = chosen if config.select else mean[n]
        fused[n] = balanced + chosen if config.residual else chosen if config.select else balanced
        if config.residual and config.unit_scale:
            fused[n] /= 2
    return fused


def random_case(M: int = 3, B: int = 2, size: tuple[int, int] = (3, 5)) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(M)
    features = torch.randn(B, M, 6, *size, generator=generator, dtype=torch.float64)
    content = torch.rand(B, M, *size, generator=generator) < 0.5
    content[0, :, 1, 2] = False  # nobody says anything there
    present = torch.ones(B, M, dtype=torch.bool)
    present[0, -1] = M == 1
    return features, present, content


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("M", [1, 2, 4])
def test_value_each_location_by_hand(switches, M):
    features, present, content = random_case(M)
    config = MFFConfig(**switches)
    found = MFF(config)(features, present, content=content).flatten(2).transpose(1, 2)  # (B, N, C)
    for b in range(len(features)):
        there = present[b].numpy()
        takes = (content[b].flatten(1).numpy()) & there[:, None]
        takes[:, ~takes.any(axis=0)] = there[:, None]
        tokens = features[b].flatten(2).transpose(1, 2).numpy()  # (M, N, C)
        np.testing.assert_allclose(found[b].numpy(), by_hand(tokens, takes, config), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_value_content_everywhere_or_nowhere_changes_nothing(switches):
    features, present, content = random_case(4)
    mff = MFF(MFFConfig(**switches))
    for whole in (torch.ones_like(content), torch.zeros_like(content)):
        torch.testing.assert_close(mff(features, present, content=whole), mff(features, present))


def test_value_one_sensor_alone_is_itself_however_little_it_says():
    features, _, content = random_case(1)
    alone = torch.ones(2, 1, dtype=torch.bool)
    torch.testing.assert_close(MFF()(features, alone, content=content), 2 * features[:, 0])


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_gradient_reaches_what_takes_part_and_nothing_else(switches):
    features, present, content = random_case(3)
    content[1, 2] = False  # present, and says nothing anywhere
    features.requires_grad_()
    MFF(MFFConfig(**switches))(features, present, content=content).square().sum().backward()
    assert torch.isfinite(features.grad).all()
    takes = taking_part(present, content)  # (B, M, H, W)
    assert not features.grad.abs().sum(dim=2)[~takes].any()
    if switches.get("select", True) is False or switches.get("select_temperature"):
        assert (features.grad.abs().sum(dim=2)[takes] > 0).all()


def test_value_a_cell_says_something_where_a_pixel_in_it_or_beside_it_is_not_empty():
    image = torch.zeros(1, 3, 64, 160)
    image[0, 1, 5, 9] = 1 / 255  # the darkest grey level that is not empty, in one channel
    image[0, 2, 63, 159] = -1.0
    masks = content_masks(image, (0.0, 0.0, 0.0), [(16, 40), (8, 20), (4, 10), (2, 5)])
    for mask, side in zip(masks, (4, 8, 16, 32), strict=True):
        expected = np.zeros((64 // side, 160 // side), bool)
        for row, column in ((5 // side, 9 // side), (63 // side, 159 // side)):
            expected[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
        assert np.array_equal(mask[0].numpy(), expected) and not mask.all()
    image[:, :, 20, 80] = torch.nan
    assert content_masks(image, (0.0, 0.0, 0.0), [(2, 5)])[0].all()


def test_value_a_pixel_is_empty_as_the_contract_normalises_it():
    statistics = Normalisation(mean=(0.1, 0.5, 0.25), std=(0.2, 0.5, 2.0))
    contract = InputContract(modalities=("depth",), normalisation={"depth": statistics})
    assert contract.empty_pixels["depth"] == pytest.approx((-0.5, -1.0, -0.125))
    rgb = InputContract(modalities=("rgb",)).empty_pixels["rgb"]
    assert rgb == pytest.approx((-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225))


def build(fusion: str, **changes) -> Any2Seg:
    torch.manual_seed(0)
    options = {"head_width": 16, "num_classes": 7, "modalities": NAMES, "fusion": fusion, "content_masks": True}
    return Any2Seg(ModelConfig(**options | changes), empty={"depth": (-0.5, -1.0, 2.0)}).eval()


def images(model: Any2Seg, batch: int = 2) -> dict[str, torch.Tensor]:
    """Depth and LiDAR without anything in their upper three quarters."""
    generator = torch.Generator().manual_seed(1)
    sizes = {name: model.image_size(name, (128, 64)) for name in NAMES}
    data = {name: torch.randn(batch, 3, *size, generator=generator) for name, size in sizes.items()}
    for name in ("depth", "lidar"):
        nothing = torch.tensor(model.empty[name]).view(1, 3, 1, 1)
        data[name][:, :, : data[name].shape[2] * 3 // 4] = nothing
    return data


@torch.inference_mode()
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("fusion", ["mff", "mff_early"])
def test_value_where_others_say_nothing_a_location_is_the_camera_alone(fusion, scale):
    early = {"scale": {"lidar": scale}} if fusion == "mff_early" else {}
    model = build(fusion, mff={"unit_scale": True}, mff_early=early)
    data = images(model)
    encoded = model.encode(data)
    assert [tuple(mask.shape[1:]) for mask in encoded.content[:2]] == [(3, 32, 16), (3, 16, 8)]
    fused = model.fuse(encoded).levels
    camera = model.encode({"rgb": data["rgb"]}).levels
    for level, own in zip(fused[: len(camera)], camera, strict=True):
        upper = level.shape[2] // 2
        torch.testing.assert_close(level[:, :, :upper], own[:, 0, :, :upper], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(level[:, :, upper + 1 :], own[:, 0, :, upper + 1 :], atol=1e-2)


@torch.inference_mode()
def test_value_a_mean_of_predictions_is_over_those_that_say_something():
    model = build("mean_predictions")
    data = images(model)
    encoded = model.encode(data)
    alone = model.modality_logits(encoded)  # (B, M, K, 32, 16)
    found = model.decode(model.fuse(encoded))
    torch.testing.assert_close(found[:, :, :23], alone[:, 0, :, :23])
    torch.testing.assert_close(found[:, :, 23:], alone[:, :, :, 23:].mean(dim=1))


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["mff", "mff_early", "mean_predictions"])
def test_value_a_subset_is_what_it_would_be_without_the_others(fusion):
    """From one encoding, by columns, by `keep`, and as rows of a batch of other subsets."""
    model = build(fusion, mff={} if fusion == "mean_predictions" else {"select_temperature": 0.1})
    data = images(model)
    encoded = model.encode(data)
    for subset in all_subsets(NAMES):
        expected = model({name: data[name] for name in subset}).logits
        own = model.decode(model.fuse(model.encode({name: data[name] for name in subset})))
        for part in (encoded.only(subset), encoded.keep(subset)):
            torch.testing.assert_close(model.decode(model.fuse(part)), own, rtol=1e-4, atol=1e-5)
        present = torch.tensor([[name in subset for name in NAMES], [True, True, True]])
        torch.testing.assert_close(model(data, present).logits[:1], expected[:1], rtol=1e-4, atol=1e-5)


def test_gradient_of_a_training_step_with_subsets_is_finite():
    model = build("mff").train()
    data = images(model)
    present = torch.tensor([[True, True, True], [False, True, True]])
    subsets = torch.tensor([[[False, True, False], [False, False, True]]])
    model(data, present, subsets).subset_logits.square().mean().backward()
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert len(grads) > 50 and all(torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("fusion", ["early_concat", "linear"])
def test_exception_a_fusion_that_has_no_features_of_each_sensor(fusion):
    with pytest.raises(ValidationError, match="content_masks needs features of each modality"):
        ModelConfig(fusion=fusion, content_masks=True)


def test_value_masks_are_off_unless_asked_for():
    model = Any2Seg(ModelConfig(head_width=16))
    assert model.encode({"rgb": torch.zeros(1, 3, 32, 32)}).content == []
