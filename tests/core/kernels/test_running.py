"""Where kernels run: parts of a range on the threads that PyTorch may use, and which tensors they take."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from any2seg_core.kernels.running import in_parts, on_kernels


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(1, 5))
def test_property_every_item_once_in_parts_that_are_worth_it(count: int, least: int, allowed: int):
    before, parts = torch.get_num_threads(), []
    torch.set_num_threads(allowed)
    try:
        in_parts(lambda first, last: parts.append(range(first, last)), count, least)
    finally:
        torch.set_num_threads(before)
    assert sorted(item for part in parts for item in part) == list(range(count))
    assert len(parts) <= allowed
    assert len(parts) == 1 or min(map(len, parts)) >= least


def test_value_threads_that_are_allowed(threads: int):
    """Parts wait for each other, so that none can be done by the thread of another."""
    barrier, names = threading.Barrier(threads, timeout=30), set()

    def work(first: int, last: int) -> None:
        barrier.wait()
        names.add(threading.get_ident())

    in_parts(work, 30, 10)
    assert len(names) == threads
    assert threading.get_ident() in names


def test_exception_of_any_part_reaches_the_caller(threads: int):
    def work(first: int, last: int) -> None:
        if last == 30:
            raise ValueError("the last part")

    with pytest.raises(ValueError, match="the last part"):
        in_parts(work, 30, 10)


def test_value_a_forked_process_has_threads_of_its_own():
    """Data loaders fork: threads of the parent do not exist there, and waiting for them would never end."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        in_parts(lambda first, last: None, 2, 1)
        child = os.fork()
        if child == 0:
            done = []
            in_parts(lambda first, last: done.append(first), 2, 1)
            os._exit(0 if sorted(done) == [0, 1] else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)


def test_value_which_tensors_are_taken():
    plain = torch.zeros(2)
    assert not on_kernels(plain)
    with torch.no_grad():
        assert on_kernels(plain)
        assert not on_kernels(plain.double())
        assert not on_kernels(plain.to("meta"))
        assert not on_kernels(torch.nn.Parameter(plain))
        with torch.autocast("cpu", torch.bfloat16):
            assert not on_kernels(plain)
    with torch.inference_mode():
        assert on_kernels(plain)
        compiled = torch.compile(lambda x: x + (0 if on_kernels(x) else 1), backend="eager")
        assert compiled(plain).tolist() == [1.0, 1.0]
