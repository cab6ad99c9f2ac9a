"""Which engine is chosen, and that one whose labels are not the model's is found out."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.models.precision import with_precision
from any2seg_core.runtime.engines.choice import choose_engine
from any2seg_core.runtime.engines.cpu import CompiledHead, CompiledMFF, CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.parity import differing_share
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract

FUSIONS = ("mff", "mean_predictions", "early_concat", "linear")


def build(**changes) -> Any2Seg:
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(**({"head_width": 16, "num_classes": 7} | changes))).eval()


def settled() -> Any2Seg:
    """Norms as after a training: MFF of two sensors is no tie."""
    model = build()
    for stage in model.encoder.stages:
        torch.nn.init.uniform_(stage.norm.weight, 0.2, 2.0)
        torch.nn.init.normal_(stage.norm.bias)
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_value_the_compiled_engine_proves_itself(fusion, precision):
    model = with_precision(build(fusion=fusion), precision, 64)
    assert choose_engine(model).name == "cpu"


def test_value_norms_as_after_a_few_steps_are_no_reason_to_refuse():
    """Features of nearly one length: which of two sensors MFF selects is nearly a tie at every place."""
    model = build()
    for stage in model.encoder.stages:
        torch.nn.init.normal_(stage.norm.weight, 1.0, 1e-4)
    assert choose_engine(model).name == "cpu"


def test_value_what_the_compiled_engine_does_not_take_runs_in_pytorch():
    assert choose_engine(build().double()).name == "eager"
    assert choose_engine(build().train()).name == "eager"
    with torch.autocast("cpu", torch.bfloat16):
        assert choose_engine(build()).name == "eager"
    assert isinstance(choose_engine(build(mff={"select": False})).model.fusion, type(build().fusion))
    assert not CompiledMFF.knows(build(mff={"weight": "spatial"}).config.mff)


@pytest.mark.parametrize(("wrong", "share"), [("shifted", 1.0), ("one place", 1 / 256), ("nan", 1 / 256)])
def test_value_an_engine_of_other_labels_is_not_used(monkeypatch, caplog, wrong, share):
    right = CompiledHead.forward

    def forward(self, levels):
        logits = right(self, levels).clone()
        if wrong == "shifted":
            return logits.roll(1, dims=1) + 1.0 * torch.arange(7).view(1, 7, 1, 1)
        logits[:, 3, 2, 5] = torch.nan if wrong == "nan" else logits.abs().max() + 1.0
        return logits

    model = settled()
    monkeypatch.setattr(CompiledHead, "forward", forward)
    images = {name: torch.randn(1, 3, 64, 64) for name in model.modalities}
    with torch.no_grad():
        found = differing_share(CpuEngine(model), EagerEngine(model), images)
    assert found == pytest.approx(share, abs=0.2 if wrong == "shifted" else 1e-4)
    with caplog.at_level(logging.WARNING):
        predictor = Predictor(model, InputContract(height=64, width=96))
    assert predictor.engine.name == "eager" and "is used" not in caplog.text
    assert "engine cpu: " in caplog.text and "not those of PyTorch here" in caplog.text
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    assert predictor({"rgb": image}).labels.max() < 25


@torch.no_grad()
def test_value_ties_and_rounding_do_not_count():
    """Two classes with nearly the same weights, far above the others: which of them wins is rounding, or is not."""
    model, other = settled(), settled()
    for each, ahead in ((model, 5), (other, 3)):
        each.head.classifier.weight[3] = each.head.classifier.weight[5]
        each.head.classifier.bias[3] = each.head.classifier.bias[5] = 50.0
        each.head.classifier.bias[ahead] += 1e-3
    images = {name: torch.randn(1, 3, 64, 64) for name in model.modalities}
    assert differing_share(EagerEngine(other), EagerEngine(model), images) == 0.0
    other.head.classifier.bias[3] += 1.0
    assert differing_share(EagerEngine(other), EagerEngine(model), images) == 0.0  # a winner that is nearly as good
    model.head.classifier.bias[5] += 1.0
    assert differing_share(EagerEngine(other), EagerEngine(model), images) == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_value_weights_that_are_not_finite_are_no_difference(value):
    model = build()
    with torch.no_grad():
        model.head.classifier.bias[0] = value
        model.encoder.stages[0].embed.proj.weight[0, 0, 0, 0] = value
    assert choose_engine(model).name == "cpu"
