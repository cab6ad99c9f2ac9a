"""Several sensors on several processors: the same bits, and the caller's threads as they were."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from any2seg_core.base.threads import counting, thread_count
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


def seen_by_a_new_thread() -> tuple[int, int]:
    """Threads of PyTorch and of the kernels."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: (torch.get_num_threads(), thread_count())).result()


def test_value_threads_that_begin_while_an_engine_computes_have_all_processors(model: Any2Seg):
    """Of the node's threads each asks PyTorch first at some moment, and keeps the number that it is given."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        engine = CpuEngine(model)
        with engine.computing():
            engine.encode_sensors({name: torch.zeros(1, 3, 64, 64) for name in NAMES})
            assert torch.get_num_threads() == 1
            assert seen_by_a_new_thread() == (3, 3)
            engine.labels(torch.zeros(1, 25, 16, 16), (64, 64))
            assert seen_by_a_new_thread() == (3, 3)
            assert thread_count() == 1
        assert seen_by_a_new_thread() == (3, 3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_value_a_number_for_one_thread():
    with counting(5):
        assert thread_count() == 5
        with counting(2):
            assert thread_count() == 2
            assert seen_by_a_new_thread()[1] == torch.get_num_threads()
        assert thread_count() == 5
    assert thread_count() == torch.get_num_threads()
