"""Losses against torch's own cross entropy and sorting by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from any2seg_core.losses.functional_entropy import FisherConfig, gradient_information, logit_information
from any2seg_core.losses.lscd import ClassGeometryLoss
from any2seg_core.losses.segmentation import CrossEntropy, OhemCrossEntropy
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED

K = 5


def make(B: int = 2, H: int = 7, W: int = 11, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(B, K, H, W, generator=generator)
    labels = torch.randint(0, K, (B, H, W), generator=generator)
    labels[:, 0] = 255
    return logits.requires_grad_(), labels


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.5, 2.0, 4.0, 1.0])])
def test_value_cross_entropy_equals_torch(weights):
    logits, labels = make()
    expected = F.cross_entropy(logits, labels, weights, ignore_index=255)
    assert torch.allclose(CrossEntropy(weights)(logits, labels), expected)


@pytest.mark.parametrize("loss", [CrossEntropy(), OhemCrossEntropy(), CrossEntropy(torch.ones(K))])
def test_gradient_all_ignored_gives_zero_not_nan(loss):
    logits, labels = make(B=1)
    value = loss(logits, torch.full_like(labels, 255))
    value.backward()
    assert float(value.detach()) == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def fisher_of_logits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    present = torch.ones(len(logits), 2, dtype=torch.bool)
    config = FisherConfig(sigma=0.0, locations=None)
    return logit_information(torch.stack([logits, 2 * logits], dim=1), labels, present, config).sum()


def fisher_of_inputs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    pair = torch.stack([logits.detach(), logits.detach()], dim=1).requires_grad_()  # (B, M, K, H, W)
    present = torch.ones(len(logits), 2, dtype=torch.bool)
    return gradient_information(pair.mean(dim=1), labels, [pair], present).sum()


def geometry(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return ClassGeometryLoss(0.1)(logits, labels, torch.eye(K))


SUPERVISED = (CrossEntropy(), CrossEntropy(torch.rand(K)), OhemCrossEntropy(), geometry, fisher_of_logits)


@pytest.mark.parametrize("loss", [*SUPERVISED, fisher_of_inputs])
def test_property_supervision_skips_unlabelled_like_ignored(loss):
    logits, labels = make()
    labels[:, 2:4] = IGNORE
    ignored = loss(logits, labels)
    labels[:, 2:4, ::2] = NOT_ANNOTATED
    assert float(ignored) > 0.0
    assert torch.equal(loss(logits, labels), ignored)


def test_value_ohem_keeps_the_hard_pixels():
    logits, labels = make()
    pixel = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    hard = pixel[(pixel > -math.log(0.7)) & (labels != 255)]
    assert hard.numel() >= int((labels != 255).sum()) // 16
    assert torch.allclose(OhemCrossEntropy(0.7)(logits, labels), hard.mean())


def test_value_ohem_keeps_a_sixteenth_when_all_is_easy():
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, K, (1, 16, 17), generator=generator)
    logits = 9.0 * F.one_hot(labels, K).permute(0, 3, 1, 2).float()  # (B, H, W, K) -> (B, K, H, W)
    logits = logits + torch.randn(logits.shape, generator=generator)
    pixel = F.cross_entropy(logits, labels, reduction="none").flatten()
    assert float(pixel.max()) < -math.log(0.7)
    expected = pixel.sort(descending=True).values[: 16 * 17 // 16].mean()
    assert torch.allclose(OhemCrossEntropy(0.7)(logits, labels), expected)


@pytest.mark.parametrize("count", [1, 15])
def test_gradient_ohem_keeps_one_of_a_few_easy_pixels(count):
    """The hardest one, and nothing where nothing is labelled."""
    labels = torch.full((1, 5, 7), NOT_ANNOTATED)
    labels.view(-1)[:count] = 1
    logits = torch.zeros(1, K, 5, 7)
    logits[:, 1] = 6.0 + torch.arange(35.0).view(5, 7) / 10
    logits.requires_grad_()
    loss = OhemCrossEntropy(0.7)(logits, labels)
    assert float(loss) == pytest.approx(math.log1p((K - 1) * math.exp(-6.0)), rel=1e-4)
    loss.backward()
    assert torch.nonzero(logits.grad.abs().sum(1)).tolist() == [[0, 0, 0]]
    assert float(OhemCrossEntropy(0.7)(logits, torch.full((1, 5, 7), NOT_ANNOTATED))) == 0.0


def test_value_bfloat16_logits_give_a_float32_loss():
    logits, labels = make()
    value = CrossEntropy()(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    assert torch.allclose(value, CrossEntropy()(logits, labels), rtol=0.02)


def test_shape_one_pixel():
    loss = OhemCrossEntropy()(torch.zeros(1, K, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long))
    assert float(loss) == pytest.approx(math.log(K))
