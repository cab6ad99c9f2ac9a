"""Options that make a model compute what released code of others computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.subsets import subset_predictions
from any2seg_core.models import FUSIONS, Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract

NAMES = ("rgb", "lidar")


def build(**changes) -> Any2Seg:
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(**({"head_width": 16, "num_classes": 25, "modalities": NAMES} | changes))).eval()


def images(batch: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(batch, 3, 32, 96, generator=generator) for name in NAMES}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_value_every_layer_norm_has_the_eps_of_the_config(fusion, eps):
    chosen = {} if eps == 1e-5 else {"layer_norm_eps": eps}
    norms = [m for m in build(fusion=fusion, **chosen).modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 30 * (len(NAMES) if fusion == "linear" else 1)  # 4 x (embedding, 2 x 2, stage), 6 reductions
    assert {norm.eps for norm in norms} == {eps}


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_value_logits_are_enlarged_as_the_config_says(fusion):
    model, plain = build(fusion=fusion, align_corners=True), build(fusion=fusion)
    prediction, data = model(images(2)), images(2)
    coarse = model.decode(model.fuse(model.encode(data)))
    assert torch.equal(prediction.logits, F.interpolate(coarse, (32, 96), mode="bilinear", align_corners=True))
    assert torch.equal(plain(data).logits, F.interpolate(coarse, (32, 96), mode="bilinear", align_corners=False))
    if fusion == "linear":
        mean = (prediction.branches * prediction.exists[:, :, None, None, None]).mean(dim=1)
        torch.testing.assert_close(mean, prediction.logits, rtol=1e-4, atol=1e-5)  # equal shares: both enlarged alike


@torch.no_grad()
@pytest.mark.parametrize("align_corners", [False, True])
def test_value_predictor_and_evaluation_enlarge_as_the_model_does(align_corners):
    model = build(align_corners=align_corners)
    contract = InputContract(modalities=NAMES, height=32, width=96)
    planes = {name: np.random.default_rng(m).integers(0, 256, (32, 96, 3), np.uint8) for m, name in enumerate(NAMES)}
    data = planes_to_tensor(planes, contract)
    frame = EvaluationBatch(data, torch.zeros(1, 32, 96, dtype=torch.uint8), (0,))
    expected = {name: model({name: data[name]}).logits.argmax(dim=1)[0].numpy() for name in NAMES}
    judged = {letters: labels[0].numpy() for _, letters, labels, _ in subset_predictions(model, [frame], [("rgb",)])}
    found = Predictor(model, contract).subsets(planes, [("rgb",), ("lidar",)])
    for name in NAMES:
        assert (found[name,].labels == expected[name]).mean() > 0.999
    assert (judged["R"] == expected["rgb"]).mean() > 0.999
    other = build(align_corners=not align_corners)({"rgb": data["rgb"]}).logits.argmax(dim=1)[0].numpy()
    assert (other != expected["rgb"]).mean() > 0.01


def test_value_a_checkpoint_keeps_the_options_and_an_old_one_has_the_defaults(tmp_path):
    model = build(align_corners=True, layer_norm_eps=1e-6)
    save_checkpoint(tmp_path / "m.safetensors", model, InputContract(modalities=NAMES), {})
    loaded, _, _ = load_checkpoint(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    with torch.inference_mode():
        assert torch.equal(loaded(images()).logits, model(images()).logits)
    old = ModelConfig.model_validate({"encoder": "mit_b0", "head_width": 16, "num_classes": 7, "modalities": NAMES})
    assert (old.layer_norm_eps, old.align_corners) == (1e-5, False)


@pytest.mark.parametrize("eps", [0.0, -1e-6, 1.0, "small"])
def test_exception_an_eps_that_is_none(eps):
    with pytest.raises(ValidationError, match="layer_norm_eps"):
        ModelConfig(layer_norm_eps=eps)
