"""What a student learns from probabilities, against PyTorch's own divergence."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from any2seg_core.losses.distillation import SoftTargets, soft_cross_entropy


def targets(weight: torch.Tensor | None = None) -> SoftTargets:
    torch.manual_seed(0)
    probabilities = torch.randn(2, 4, 3, 5).softmax(dim=1)
    return SoftTargets(probabilities, torch.ones(2, 3, 5) if weight is None else weight)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_value_equals_the_divergence_of_pytorch(temperature):
    soft, logits = targets(), torch.randn(2, 4, 3, 5)
    softened = soft.probabilities ** (1 / temperature)
    softened = softened / softened.sum(dim=1, keepdim=True)
    pairs = (logits / temperature).log_softmax(dim=1), softened
    expected = temperature**2 * F.kl_div(*pairs, reduction="none").sum(dim=1).mean()
    torch.testing.assert_close(soft_cross_entropy(logits, soft, temperature), expected)


def test_value_cells_count_by_their_weight_and_none_is_zero_with_a_graph():
    weight = torch.zeros(2, 3, 5)
    weight[1, 2, 4], weight[0, 0, 0] = 3.0, 1.0
    soft, logits = targets(weight), torch.randn(2, 4, 3, 5)
    each = F.kl_div(logits.log_softmax(dim=1), soft.probabilities, reduction="none").sum(dim=1)
    expected = (3 * each[1, 2, 4] + each[0, 0, 0]) / 4
    torch.testing.assert_close(soft_cross_entropy(logits, soft, 1.0), expected)
    logits.requires_grad_()
    nothing = soft_cross_entropy(logits, SoftTargets(soft.probabilities, torch.zeros(2, 3, 5)), 1.0)
    nothing.backward()
    assert float(nothing) == 0.0 and float(logits.grad.abs().max()) == 0.0


def test_value_impossible_classes_and_equal_distributions_are_finite():
    certain = F.one_hot(torch.tensor([[[1, 0]]]), 3).permute(0, 3, 1, 2).float()  # (1, 3, 1, 2)
    soft = SoftTargets(certain, torch.ones(1, 1, 2))
    loss = soft_cross_entropy(30.0 * certain, soft, 1.0)
    assert 0.0 <= float(loss) < 1e-5


def test_gradient_is_that_of_the_whole_batch_where_processes_share_it():
    """Two halves with unequal weights: the sum over both stands in for two processes."""
    weight = torch.rand(2, 3, 5)
    soft, logits = targets(weight), torch.randn(2, 4, 3, 5, requires_grad=True)
    soft_cross_entropy(logits, soft, 1.0).backward()
    whole, others = logits.grad.clone(), float(weight[1].sum())
    each = F.kl_div(logits.detach().log_softmax(dim=1), soft.probabilities, reduction="none").sum(dim=1)
    other = torch.tensor([float((each[1] * weight[1]).sum()), others])
    half = logits.detach()[:1].requires_grad_()
    part = SoftTargets(soft.probabilities[:1], weight[:1])
    soft_cross_entropy(half, part, 1.0, lambda values: values + other).backward()
    torch.testing.assert_close(half.grad, whole[:1])
