"""Several sensors on several processors: the same bits, and the caller's threads as they were."""

from __future__ import annotations

import pytest
import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.engines.cpu import CpuEngine, torch_threads

NAMES = ("rgb", "depth", "event", "lidar")


@pytest.fixture(scope="module")
def model() -> Any2Seg:
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(head_width=16)).eval().requires_grad_(False)


def features(model: Any2Seg, threads: int, names: tuple[str, ...]) -> dict[str, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    images = {name: torch.randn(1, 3, 64, 96, generator=generator) for name in NAMES}
    with torch_threads(threads):
        engine = CpuEngine(model)
        with engine.computing():
            found = engine.encode_sensors({name: images[name] for name in names})
        assert torch.get_num_threads() == threads
    return {name: each.levels for name, each in found.items()}


@pytest.mark.parametrize("names", [NAMES, ("depth",), ("rgb", "lidar")])
def test_value_threads_change_no_bit_and_come_in_order(model: Any2Seg, names: tuple[str, ...]):
    alone, shared = features(model, 1, names), features(model, 3, names)
    assert list(shared) == list(names) == list(alone)
    for name in names:
        for one, other in zip(alone[name], shared[name], strict=True):
            assert torch.equal(one, other)


def test_exception_of_a_sensor_reaches_the_caller(model: Any2Seg):
    with torch_threads(2):
        engine = CpuEngine(model)
        with engine.computing(), pytest.raises(ValueError, match="multiples of 32"):
            engine.encode_sensors({"rgb": torch.zeros(1, 3, 33, 64)})
        assert torch.get_num_threads() == 2
