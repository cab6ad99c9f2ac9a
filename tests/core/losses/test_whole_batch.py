"""Means over a batch that processes share, with two processes played by one."""

from __future__ import annotations

import torch

from any2seg_core.losses.whole_batch import alone, whole_mean


def test_value_mean_over_two_processes():
    """(3 + 5) / (2 + 1) and (0 + 7) / (0 + 4) of sums and counts that two processes hold."""
    other = torch.tensor([[5.0, 7.0], [1.0, 4.0]])
    sums, counts = torch.tensor([3.0, 0.0], requires_grad=True), torch.tensor([2, 0])
    mean = whole_mean(sums, counts, lambda values: values + other)
    assert torch.allclose(mean, torch.tensor([8 / 3, 7 / 4]))
    mean.sum().backward()
    assert torch.allclose(sums.grad, torch.tensor([1 / 3, 1 / 4]))


def test_gradient_mean_over_nothing_is_zero_and_finite():
    sums = torch.zeros((), requires_grad=True)
    mean = whole_mean(sums * 2.0, torch.tensor(0), alone)
    assert mean.item() == 0.0
    (65536.0 * mean).backward()  # scaled, as for float16
    assert torch.isfinite(sums.grad)
    assert whole_mean(torch.tensor(6.0), torch.tensor(4)).item() == 1.5
