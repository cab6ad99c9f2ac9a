"""Terms between subsets of one encoding: against sums by hand, and where their gradient goes."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from any2seg_core.losses.subsets import (
    MonotoneConfig,
    SelfDistillationConfig,
    SubsetSupervisionConfig,
    monotone_hinge,
    self_distillation,
    taught_pixels,
)


def test_value_count_grows_from_one_to_all():
    grown = SubsetSupervisionConfig(count=3, start_step=10, grow_steps=6)
    assert [grown.count_at(step) for step in range(9, 18)] == [0, 1, 1, 2, 2, 3, 3, 3, 3]
    assert [SubsetSupervisionConfig(count=2, start_step=1).count_at(step) for step in range(3)] == [0, 2, 2]
    assert SubsetSupervisionConfig().count_at(10**6) == 0


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (SubsetSupervisionConfig, {"count": -1}),
        (SubsetSupervisionConfig, {"weight": 0}),
        (SubsetSupervisionConfig, {"weights": {"R": 0}}),
        (SelfDistillationConfig, {"temperature": 0}),
        (SelfDistillationConfig, {"floor": 1.5}),
        (MonotoneConfig, {"margin": float("nan")}),
    ],
)
def test_exception_settings_out_of_range(config, values):
    with pytest.raises(ValidationError):
        config(**values)


def test_value_the_teacher_counts_where_it_is_right_or_sure():
    sure, unsure = math.log(0.95 / 0.05), math.log(0.6 / 0.4)
    teacher = torch.tensor([[sure, sure, unsure, sure, unsure, sure]])[:, None, None]  # (1, 1, 1, 6)
    teacher = torch.cat([torch.zeros_like(teacher), teacher], dim=1)  # class 1 wins everywhere
    labels = torch.tensor([[[1, 0, 1, 254, 254, 255]]])
    assert taught_pixels(teacher, labels, 0.9).tolist() == [[[True, False, True, True, False, False]]]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_value_distillation_is_a_divergence_by_hand(temperature):
    torch.manual_seed(0)
    teacher, students = torch.randn(1, 3, 1, 2), torch.randn(2, 1, 3, 1, 2)
    labels = torch.stack([teacher[0, :, 0, 0].argmax(), torch.tensor(255)]).view(1, 1, 2)  # one pixel counts
    config = SelfDistillationConfig(weight=1, temperature=temperature)
    loss, share = self_distillation(students, teacher, labels, config)
    p = torch.softmax(teacher[0, :, 0, 0] / temperature, 0)
    expected = [
        sum(float(p[k] * (p[k] / torch.softmax(s[0, :, 0, 0] / temperature, 0)[k]).log()) for k in range(3))
        for s in students
    ]
    assert float(loss.detach()) == pytest.approx(temperature**2 * sum(expected) / 2, rel=1e-5)
    assert float(share) == 1.0  # of the one pixel that is no padding


def test_gradient_distillation_never_reaches_the_teacher():
    torch.manual_seed(0)
    teacher, students = torch.randn(2, 3, 5, 7, requires_grad=True), torch.randn(1, 2, 3, 5, 7, requires_grad=True)
    loss, _ = self_distillation(students, teacher, torch.zeros(2, 5, 7, dtype=torch.int64), SelfDistillationConfig())
    loss.backward()
    assert teacher.grad is None
    taught = taught_pixels(teacher, torch.zeros(2, 5, 7, dtype=torch.int64), 0.9)
    assert torch.equal(students.grad[0].abs().sum(1) > 0, taught)


def test_value_nothing_taught_is_zero_with_a_graph():
    students = torch.randn(1, 1, 3, 2, 2, requires_grad=True)
    labels = torch.full((1, 2, 2), 255)
    loss, share = self_distillation(students, torch.randn(1, 3, 2, 2), labels, SelfDistillationConfig())
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert math.isnan(float(share))
    assert not students.grad.any()


def hinge(values: list[list[list[float]]], shown: list[list[list[int]]], weight: list, margin: float = 0.0):
    """values (S, B, N) of N pixels, shown (S, B, M), weight (B, N)."""
    losses = [torch.tensor(each)[:, None].requires_grad_() for each in values]
    masks = [torch.tensor(each, dtype=torch.bool) for each in shown]
    return losses, monotone_hinge(losses, masks, torch.tensor(weight)[:, None], margin)


def test_value_hinge_counts_each_pair_that_one_sensor_makes():
    """Sample 0: {a} < {a, b} < {a, b, c} is two pairs; sample 1: of {a}, {b, c} and the whole one."""
    values = [[[1.0, 1.0], [9.0, 9.0]], [[2.0, 0.5], [3.0, 3.0]], [[2.0, 1.5], [4.0, 2.0]]]
    shown = [[[1, 0, 0], [1, 0, 0]], [[1, 1, 0], [0, 1, 1]], [[1, 1, 1], [1, 1, 1]]]
    _, (loss, raised) = hinge(values, shown, [[1.0, 1.0], [1.0, 0.5]])
    # sample 0: +1 and -0.5, then 0 and +1; sample 1: +1 and -1 at half the weight
    assert float(loss.detach()) == pytest.approx((1.0 + 0.0 + 0.0 + 1.0 + 1.0 + 0.0) / (2 + 2 + 1.5))
    assert float(raised) == pytest.approx(3 / 3)
    _, (loss, _) = hinge(values, shown, [[1.0, 1.0], [1.0, 0.5]], margin=0.75)
    assert float(loss.detach()) == pytest.approx(0.25 * 3 / 5.5)


def test_gradient_hinge_teaches_the_larger_subset_alone():
    losses, (loss, _) = hinge([[[1.0, 1.0]], [[2.0, 0.5]]], [[[1, 0]], [[1, 1]]], [[1.0, 1.0]])
    loss.backward()
    assert losses[1].grad.flatten().tolist() == [0.5, 0.0]
    assert not losses[0].grad.any()


def test_value_hinge_without_a_pair_is_zero():
    losses, (loss, raised) = hinge([[[1.0]], [[2.0]]], [[[1, 0]], [[0, 1]]], [[1.0]])
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert math.isnan(float(raised))
    assert losses[1].grad.flatten().tolist() == [0.0]
