"""The anchor of a stream: kept from set to set, forgotten at jumps, gaps and changes of size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.models import Any2Seg, Encoded, ModelConfig
from any2seg_core.runtime.anchor_memory import AnchorMemory
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract

S = 10**9


def encoded(height: int = 2) -> Encoded:
    return Encoded([torch.zeros(1, 3, 4, height, 5)], torch.ones(1, 3, dtype=torch.bool), ("rgb", "depth", "lidar"))


def test_value_the_last_result_is_the_next_anchor():
    memory = AnchorMemory(max_gap_s=0.5)
    assert memory.anchor(encoded(), 7 * S) is None
    fused = [torch.ones(1, 4, 2, 5, requires_grad=True)]
    memory.keep(fused, 7 * S)
    (anchor,) = memory.anchor(encoded(), 7 * S + S // 2)
    assert torch.equal(anchor, fused[0])
    assert not anchor.requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_value_a_result_that_is_not_finite_is_no_anchor(value):
    memory, fused = AnchorMemory(max_gap_s=0.5), torch.ones(1, 4, 2, 5)
    memory.keep([fused.clone()], 7 * S)
    fused[0, 3, 1, 2] = value
    memory.keep([fused], 7 * S + 1)
    assert memory.anchor(encoded(), 7 * S + 2) is None
    memory.keep([torch.ones(1, 4, 2, 5)], 7 * S + 3)
    assert memory.anchor(encoded(), 7 * S + 4) is not None


@pytest.mark.parametrize(
    ("height", "stamp_ns"), [(2, 7 * S - 1), (2, 7 * S + S // 2 + 1), (3, 7 * S)], ids=["jump back", "gap", "size"]
)
def test_value_the_past_is_forgotten(height, stamp_ns):
    memory = AnchorMemory(max_gap_s=0.5)
    memory.keep([torch.ones(1, 4, 2, 5)], 7 * S)
    assert memory.anchor(encoded(height), stamp_ns) is None
    assert memory.anchor(encoded(), 7 * S) is None


def build(**changes) -> tuple[Any2Seg, InputContract]:
    torch.manual_seed(0)
    names = ("rgb", "lidar")
    config = ModelConfig(head_width=16, modalities=names, **changes)
    return Any2Seg(config), InputContract(modalities=names, height=32, width=64)


def test_value_a_stream_anchors_on_the_previous_set_and_resets():
    model, contract = build()
    rng = np.random.default_rng(0)
    samples = [{n: rng.integers(0, 255, (32, 64, 3), np.uint8) for n in contract.modalities} for _ in range(2)]
    alone, stream = Predictor(model, contract), Predictor(model, contract, stream="anchor")
    expected = [alone(sample, stamp_ns=i * S // 10).confidence for i, sample in enumerate(samples)]
    first, second = (stream(sample, stamp_ns=i * S // 10).confidence for i, sample in enumerate(samples))
    assert np.array_equal(first, expected[0])
    assert not np.array_equal(second, expected[1])
    stream.reset()
    assert np.array_equal(stream(samples[1], stamp_ns=S // 10).confidence, expected[1])
    assert np.array_equal(stream(samples[0], stamp_ns=100 * S).confidence, expected[0])
    # Judging several subsets of a frame is no part of the stream.
    stream.subsets(samples[1], (("rgb",), ("lidar",)), stamp_ns=100 * S)
    assert not np.array_equal(stream(samples[1], stamp_ns=100 * S + 1).confidence, expected[1])


def test_exception_a_stream_needs_an_anchor_to_use():
    for changes in ({"fusion": "mean_predictions"}, {"mff": {"reweight": False}}):
        with user_error("model-unsuitable", "stream=anchor"):
            Predictor(*build(**changes), stream="anchor")
