"""Steps of a transformer on tokens against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from any2seg_core.kernels.tokens import depthwise_gelu, layer_norm, patches, softmax


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def exact(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).double()


@pytest.mark.parametrize(("count", "width"), [(1, 1), (3, 5), (40, 32), (7, 160), (2, 513)])
def test_value_layer_norm_equals_torch(count, width):
    tokens, offset, gain, shift = 3 * normal(count, width) + 2, *normal(3, width, seed=1)
    expected = F.layer_norm(exact(tokens) + exact(offset), (width,), exact(gain), exact(shift), 1e-5)
    found = np.empty_like(tokens)
    layer_norm(tokens, offset, gain, shift, 1e-5, found)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    layer_norm(tokens, offset, gain, shift, 1e-5, tokens)
    np.testing.assert_array_equal(tokens, found)


@pytest.mark.parametrize(("heads", "count", "keys"), [(1, 1, 1), (2, 3, 5), (5, 9, 64), (1, 4, 257)])
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_value_softmax_equals_torch(heads, count, keys, size):
    scores, offset = size * normal(heads, count, keys), normal(heads, keys, seed=1)
    expected = (exact(scores) + exact(offset)[:, None]).softmax(dim=-1)
    softmax(scores, offset)
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 3, 20])
def test_value_softmax_of_a_score_that_is_not_finite_is_nan_in_its_row_alone(bad, place):
    scores = normal(1, 3, 21)
    scores[0, 1, place] = bad
    softmax(scores, np.zeros((1, 21), np.float32))
    assert np.isnan(scores[0, 1]).all()
    np.testing.assert_allclose(scores[0, [0, 2]].sum(axis=1), 1.0, rtol=1e-6)


def filtered(hidden: np.ndarray, filters: torch.Tensor, before: torch.Tensor, own: torch.Tensor) -> np.ndarray:
    """(H, W, C): the bias ``before`` is a part of what the filters read, but not of the zeros around it."""
    read = (exact(hidden) + before).permute(2, 0, 1)[None]
    return F.gelu(F.conv2d(read, filters, own, padding=1, groups=len(own)))[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 3), (1, 9, 8), (5, 1, 4), (2, 2, 5), (7, 13, 20)])
@pytest.mark.parametrize("rows", [1, 3])
def test_value_depthwise_gelu_equals_torch_in_strips_of_a_ring(height, width, channels, rows):
    hidden = 2 * normal(height, width, channels)
    filters = torch.from_numpy(normal(channels, 1, 3, 3, seed=1)).double()
    before, own = torch.from_numpy(normal(2, channels, seed=2)).double()
    counts = torch.ones(4, 3, dtype=torch.double)
    counts[[1, 3], 0] = counts[[2, 3], 2] = 0.0
    bias = own + before * torch.einsum("yi,cij,xj->yxc", counts, filters[:, 0], counts)
    kernel = filters[:, 0].flatten(1).t().float().contiguous().numpy()
    ring, found = np.full((3 * rows, width, channels), np.nan, np.float32), np.empty_like(hidden)
    for row in range(-rows, height, rows):
        for y in range(row + rows, min(row + 2 * rows, height)):
            ring[y % len(ring)] = hidden[y]
        if row >= 0:
            depthwise_gelu(ring, kernel, bias.float().contiguous().numpy(), row, height, found[row : row + rows])
    np.testing.assert_allclose(found, filtered(hidden, filters, before, own), rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (5, 7), (1, 3)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (7, 4, 3)])
def test_value_patches_are_what_unfold_reads(height, width, kernel, stride, padding):
    if height + 2 * padding < kernel:
        pytest.skip("no place for the kernel")
    feature = normal(height, width, 5)
    down, across = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    planes = torch.from_numpy(feature).permute(2, 0, 1)[None]
    columns = F.unfold(planes, kernel, padding=padding, stride=stride)[0]  # (C * kernel^2, N)
    expected = columns.view(5, kernel * kernel, down, across).permute(2, 3, 1, 0).flatten(2).numpy()
    found = np.full_like(expected, np.nan)
    for row in range(down):
        patches(feature, kernel, stride, padding, row, found[row : row + 1])
    np.testing.assert_array_equal(found, expected)
