"""Masked average pooling against the papers' own two steps: enlarge, then average under the mask."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from any2seg_core.losses.pooling import class_cell_weights, masked_average_pooling

K = 5


def enlarged_mean(features: torch.Tensor, labels: torch.Tensor) -> dict[tuple[int, int], torch.Tensor]:
    large = F.interpolate(features, labels.shape[1:], mode="bilinear", align_corners=False)
    return {
        (b, int(k)): large[b][:, labels[b] == k].mean(dim=1)
        for b in range(len(labels))
        for k in labels[b].unique()
        if k != 255
    }


@pytest.mark.parametrize(
    ("cells", "pixels"), [((3, 5), (13, 21)), ((4, 4), (16, 16)), ((7, 2), (7, 2)), ((1, 1), (9, 5))]
)
def test_value_equals_enlarging_first(cells, pixels):
    torch.manual_seed(0)
    features = torch.randn(2, 6, *cells)
    labels = torch.randint(0, K - 1, (2, *pixels))
    labels[0, :2] = 255
    expected = enlarged_mean(features, labels)
    prototypes, present = masked_average_pooling(features, labels, K)
    assert {(int(b), int(k)) for b, k in present.nonzero()} == set(expected)
    for (b, k), value in expected.items():
        torch.testing.assert_close(prototypes[b, k], value, rtol=1e-4, atol=1e-5)
    assert not present[:, K - 1].any()
    assert torch.equal(prototypes[:, K - 1], torch.zeros(2, 6))


def test_value_weights_count_pixels():
    labels = torch.tensor([[[0, 0, 1], [255, 0, 1], [2, 2, 1], [2, 2, 2]]])
    weights = class_cell_weights(labels, K, 2, 2)
    torch.testing.assert_close(weights.sum(dim=(2, 3)), torch.tensor([[3.0, 3.0, 5.0, 0.0, 0.0]]))


def test_value_bfloat16_features_are_pooled_in_float32():
    features = torch.full((1, 2, 4, 4), 1.0, dtype=torch.bfloat16)
    prototypes, _ = masked_average_pooling(features, torch.zeros(1, 64, 64, dtype=torch.long), K)
    assert prototypes.dtype == torch.float32
    torch.testing.assert_close(prototypes[0, 0], torch.ones(2))


def test_gradient_equals_that_of_enlarging_first():
    torch.manual_seed(1)
    labels = torch.randint(0, 2, (1, 9, 7))
    first = torch.randn(1, 3, 3, 2, requires_grad=True)
    second = first.detach().clone().requires_grad_()
    masked_average_pooling(first, labels, 2)[0].square().sum().backward()
    sum(value.square().sum() for value in enlarged_mean(second, labels).values()).backward()
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-5)


def test_gradient_an_unlabelled_image_gives_zero():
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    prototypes, present = masked_average_pooling(features, torch.full((1, 8, 8), 255), K)
    prototypes.sum().backward()
    assert not present.any()
    assert torch.equal(features.grad, torch.zeros_like(features))
