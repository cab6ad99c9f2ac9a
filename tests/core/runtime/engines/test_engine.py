"""What every engine owes to those who keep features: they are of one sensor alone, bit for bit."""

from __future__ import annotations

import pytest
import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.vocabulary.modalities import all_subsets

NAMES = ("rgb", "depth", "lidar")
SCALE = {"lidar": 0.5}


def images_of(fusion: str, batch: int, height: int, width: int) -> dict[str, torch.Tensor]:
    shares = {name: SCALE.get(name, 1.0) if fusion == "mff_early" else 1.0 for name in NAMES}
    return {name: torch.randn(batch, 3, int(height * s), int(width * s)) for name, s in shares.items()}


def build(fusion: str, engine: str):
    torch.manual_seed(0)
    early = {"mff_early": {"scale": SCALE}} if fusion == "mff_early" else {}
    model = Any2Seg(ModelConfig(head_width=16, num_classes=7, modalities=NAMES, fusion=fusion, **early)).eval()
    return CpuEngine(model) if engine == "cpu" else EagerEngine(model)


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "mff_early"])
@pytest.mark.parametrize("kind", ["cpu", "eager"])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 64, 192), (1, 128, 320), (2, 64, 64)])
def test_value_kept_features_give_the_logits_of_any_subset_bit_by_bit(fusion, kind, batch, height, width):
    engine = build(fusion, kind)
    images = images_of(fusion, batch, height, width)
    kept = {name: engine.encode_sensor(name, images[name]) for name in reversed(NAMES)}
    whole = engine.encode(images)
    assert whole.modalities == NAMES and whole.levels[0].shape == (batch, 3, 32, height // 4, width // 4)
    apart = [engine.decode(fused) for fused in engine.fuse_subsets(whole, all_subsets(NAMES))]
    for subset, several in zip(all_subsets(NAMES), apart, strict=True):
        expected = engine.decode(engine.fuse(engine.encode({name: images[name] for name in subset})))
        found = engine.decode(engine.fuse(engine.together({name: kept[name] for name in subset})))
        assert torch.equal(found, expected) and torch.equal(several, expected), subset


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "mff_early", "early_concat", "linear"])
def test_value_the_labels_of_the_model_itself(fusion):
    """Against the whole model, which encodes all sensors as one batch."""
    engine = build(fusion, "eager")
    images = images_of(fusion, 1, 64, 128)
    whole = engine.model.decode(engine.model.fuse(engine.model.encode(images)))
    torch.testing.assert_close(engine.decode(engine.fuse(engine.encode(images))), whole, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_value_fusing_leaves_kept_features_as_they_are():
    engine = build("mff", "cpu")
    kept = {name: engine.encode_sensor(name, torch.randn(1, 3, 32, 32)) for name in NAMES}
    before = [level.clone() for name in NAMES for level in kept[name].levels]
    for _ in range(2):
        engine.decode(engine.fuse(engine.together(kept)))
    assert all(torch.equal(*pair) for pair in zip(before, (x for n in NAMES for x in kept[n].levels), strict=True))
