"""Finite numbers, also those whose squares are not."""

from __future__ import annotations

import pytest
import torch

from any2seg_core.base.finite import all_finite, unusable_tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_value_one_bad_number_anywhere(dtype, value):
    values = torch.ones(3, 5, 7, dtype=dtype)
    assert all_finite(values)
    values[2, 4, 6] = value
    assert not all_finite(values)
    assert not all_finite(values.permute(2, 0, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_value_the_largest_numbers_are_finite(dtype):
    assert all_finite(torch.full((9,), torch.finfo(dtype).max, dtype=dtype))
    assert all_finite(torch.tensor([torch.finfo(dtype).max, -torch.finfo(dtype).max], dtype=dtype))


def test_value_whole_numbers_and_nothing_are_finite():
    assert all_finite(torch.tensor([2**62])) and all_finite(torch.zeros(0))


def test_value_the_first_unusable_tensor_is_named():
    state = {"a.weight": torch.ones(2), "b.running_var": torch.tensor([0.0, -2.5]), "c": torch.tensor([torch.nan] * 3)}
    assert unusable_tensor(state) == "b.running_var is negative, -2.5: a variance or a count cannot be"
    del state["b.running_var"]
    assert unusable_tensor(state) == "c holds 3 of 3 numbers that are not finite"
    assert unusable_tensor({"a.weight": torch.tensor([-1.0])}) == ""
