"""The folded head against the published, unfolded computation of the same parameters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from any2seg_core.models.decoder import AllMLPHead

CHANNELS = (8, 12, 20, 24)


def levels(batch: int, height: int, width: int) -> list[torch.Tensor]:
    return [torch.randn(batch, c, height >> j, width >> j) for j, c in enumerate(CHANNELS)]


def unfolded(head: AllMLPHead, features: list[torch.Tensor]) -> torch.Tensor:
    """Project, upsample, concatenate coarsest first, fuse, BatchNorm, ReLU, classify: SegFormer's own order."""
    size = features[0].shape[-2:]
    projected = []
    for layer, feature in zip(head.projections, features, strict=True):
        tokens = layer(feature.flatten(2).transpose(1, 2))
        tokens = F.relu(tokens) if head.is_rectified else tokens  # as MMSegmentation has it
        mapped = tokens.transpose(1, 2).unflatten(2, feature.shape[-2:])
        projected.append(F.interpolate(mapped, size, mode="bilinear", align_corners=False))
    return head.classifier(F.relu(head.norm(head.fuse(torch.cat(projected[::-1], dim=1)))))


@pytest.mark.parametrize("is_rectified", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_value_equals_unfolded_head(training, batch, is_rectified):
    torch.manual_seed(0)
    head = AllMLPHead(CHANNELS, 5, width=16, dropout=0.0, is_rectified=is_rectified)
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 2.0)
    torch.nn.init.normal_(head.norm.weight)
    torch.nn.init.normal_(head.norm.bias)
    head.train(training)
    features = levels(batch, 24, 40)
    expected = unfolded(head, features)
    torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-5)


def test_shape_logits_have_the_size_of_the_first_level():
    assert AllMLPHead(CHANNELS, 7, width=16).eval()(levels(1, 8, 24)).shape == (1, 7, 8, 24)


@pytest.mark.parametrize("is_rectified", [False, True])
def test_gradient_reaches_every_parameter(is_rectified):
    head = AllMLPHead(CHANNELS, 5, width=16, is_rectified=is_rectified)
    head(levels(2, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


def test_value_running_statistics_follow_the_sum_before_the_norm():
    head = AllMLPHead(CHANNELS, 5, width=16, dropout=0.0)
    features = levels(2, 8, 16)
    before = head.norm.running_mean.clone()
    head(features)
    assert not torch.equal(before, head.norm.running_mean)


def test_value_levels_of_odd_sizes_in_inference():
    """Sizes that are no multiples of each other, as other encoders have them."""
    torch.manual_seed(2)
    head = AllMLPHead(CHANNELS, 3, width=16).eval()
    sizes = [(19, 37), (10, 19), (5, 9), (1, 1)]
    features = [torch.randn(2, channels, *size) for channels, size in zip(CHANNELS, sizes, strict=True)]
    expected = unfolded(head, features).detach()
    with torch.no_grad():
        torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-5)
