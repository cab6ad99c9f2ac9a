"""Labels of upsampled logits against torch's interpolate, softmax and argmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st

from any2seg_core.kernels.labels import upsampled_labels
from any2seg_core.runtime.preprocess import logits_to_labels


def by_torch(logits: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (B, K, H, W) float64 and labels (B, H, W) of logits (B, K, h, w)."""
    upsampled = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return upsampled.double().softmax(dim=1), upsampled.max(dim=1).indices


def by_kernel(logits: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        return logits_to_labels(logits.clone(), height, width)


@pytest.mark.parametrize("classes", [2, 3, 25, 300])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 5, 13, 301), (16, 24, 64, 96), (17, 9, 5, 4), (2, 70, 2, 280),
                                   (2, 2, 1100, 70), (2, 3, 3, 2100)])  # fmt: skip
def test_value_equals_torch(classes: int, sizes: tuple[int, int, int, int]):
    h, w, height, width = sizes
    logits = 2 * torch.randn(2, classes, h, w, generator=torch.Generator().manual_seed(classes))
    probabilities, expected = by_torch(logits, height, width)
    labels, confidence = by_kernel(logits, height, width)
    assert labels.dtype == (torch.uint8 if classes <= 255 else torch.uint16)
    assert np.array_equal(labels.numpy(), expected.numpy())
    assert confidence.dtype == torch.float32
    np.testing.assert_allclose(confidence, probabilities.amax(dim=1), rtol=0, atol=1e-6)


@given(
    st.integers(0, 2**31), st.sampled_from([2, 25, 300]), st.tuples(*[st.integers(1, 40)] * 4), st.integers(1, 9),
    st.sampled_from([0.0, 1e-7, 1e-3, 3.0, 1e30]),
)  # fmt: skip
def test_property_regions_of_one_class_are_the_same_without_confidence(seed, classes, sizes, side, ahead):
    """Where a class is ahead at all four corners nothing is resized, and not a single label changes."""
    h, w, height, width = sizes
    generator = np.random.default_rng(seed)
    regions = generator.integers(classes, size=(-(-h // side), -(-w // side))).repeat(side, 0).repeat(side, 1)[:h, :w]
    logits = generator.normal(size=(1, h, w, classes)).round(1).astype(np.float32)  # rounded: exact ties are common
    rows, columns = np.indices(regions.shape)
    logits[0, rows, columns, regions] = logits[0].max(axis=2) + np.float32(ahead)
    expected, _ = upsampled_labels(logits, height, width)
    assert np.array_equal(upsampled_labels(logits, height, width, with_confidence=False)[0], expected)


@given(
    st.integers(0, 2**31), st.sampled_from([2, 5, 25]), st.tuples(*[st.integers(1, 40)] * 4),
    st.sampled_from([1e-3, 1.0, 30.0, 1e4, 1e30]),
)  # fmt: skip
@example(0, 25, (1, 40, 40, 1), 1e30)
@example(0, 2, (2, 1, 1, 1), 1e30)
def test_property_labels_are_torchs_unless_two_classes_are_equal_to_rounding(seed, classes, sizes, scale):
    h, w, height, width = sizes
    logits = scale * torch.randn(1, classes, h, w, generator=torch.Generator().manual_seed(seed))
    exact = F.interpolate(logits.double(), (height, width), mode="bilinear", align_corners=False)
    _, expected = by_torch(logits, height, width)
    labels, confidence = by_kernel(logits, height, width)
    chosen, best = (exact.gather(1, found.long()[:, None]) for found in (labels, expected))
    assert float((best - chosen).abs().max()) <= 4e-6 * float(logits.abs().max())
    differs = labels != expected.to(torch.uint8)
    assert int(differs.sum()) <= int((best != chosen).sum())
    assert 0 < float(confidence.min()) <= float(confidence.max()) <= 1
    # float32 positions move a logit by rounding, and a softmax by as much of its own
    np.testing.assert_allclose(
        confidence, exact.softmax(dim=1).gather(1, labels.long()[:, None])[:, 0], rtol=0, atol=1e-6 * max(scale, 1) * 8
    )


@given(st.integers(0, 2**31), st.sampled_from([2, 25]), *[st.integers(1, 9)] * 2, st.sampled_from([1, 2, 4]))
def test_property_of_equal_classes_the_first_wins_as_in_torch(seed, classes, h, w, factor):
    """Small integers resized by powers of two have no rounding, so that ties are ties on both sides."""
    logits = torch.randint(0, 3, (1, classes, h, w), generator=torch.Generator().manual_seed(seed)).float()
    probabilities, expected = by_torch(logits, h * factor, w * factor)
    labels, confidence = by_kernel(logits, h * factor, w * factor)
    assert np.array_equal(labels.numpy(), expected.numpy())
    np.testing.assert_allclose(confidence, probabilities.amax(dim=1), rtol=0, atol=1e-6)


def test_value_extremes():
    """Equal logits, a certain winner, infinite losers, differences beyond the range of exp."""
    logits = torch.tensor([[0.0, 0.0], [500.0, -500.0], [-1e38, 3.0], [1e38, -1e38], [-90.0, -1.0]])
    labels, confidence = by_kernel(logits.T[None, :, None], 1, 5)  # (1, 2, 1, 5)
    assert labels[0, 0].tolist() == [0, 0, 1, 0, 1]
    assert confidence[0, 0].tolist() == [0.5, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("size", [(8, 12), (10, 9), (32, 48)])
@pytest.mark.parametrize("apart", [50.0, 400.0, 1e5])
def test_value_confidence_between_rows_whose_winners_are_far_apart(size: tuple[int, int], apart: float):
    """In the middle every class lies far below what is largest above and below."""
    logits = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    logits[0, 0, 0] += apart
    logits[0, 1, 1] += apart
    exact = F.interpolate(logits.double(), size, mode="bilinear", align_corners=False).softmax(dim=1)
    labels, confidence = by_kernel(logits, *size)
    chosen = exact.gather(1, labels.long()[:, None])[:, 0]
    np.testing.assert_allclose(confidence, chosen, rtol=0, atol=2e-7 * apart)
    assert float(confidence.min()) > 0.2


def test_value_nan_is_no_index_beyond_the_classes():
    logits = np.random.default_rng(0).normal(size=(1, 5, 6, 3)).astype(np.float32)
    logits[0, 2, 3], logits[0, 4, 5, 0] = np.nan, np.nan
    labels, _ = upsampled_labels(logits, 20, 24)
    assert labels.max() < 3
    expected, _ = upsampled_labels(np.nan_to_num(logits), 20, 24)
    assert np.array_equal(labels[0, :5], expected[0, :5])  # rows that no NaN reaches


def test_value_layout_of_the_logits_and_number_of_threads_change_nothing():
    logits = torch.randn(2, 7, 19, 23)
    before = torch.get_num_threads()
    results = []
    try:
        for threads, layout in ((1, torch.contiguous_format), (3, torch.contiguous_format), (2, torch.channels_last)):
            torch.set_num_threads(threads)
            results.append(by_kernel(logits.contiguous(memory_format=layout), 211, 97))
    finally:
        torch.set_num_threads(before)
    for labels, confidence in results[1:]:
        assert torch.equal(labels, results[0][0])
        assert torch.equal(confidence, results[0][1])


def test_value_arguments_are_left_alone():
    logits = np.random.default_rng(0).normal(size=(1, 5, 6, 4)).astype(np.float32)
    copy = logits.copy()
    upsampled_labels(logits, 20, 24)
    assert np.array_equal(logits, copy)


@pytest.mark.parametrize("grad", [False, True])
def test_value_labels_without_confidence_are_the_same(grad: bool):
    """Without gradients by the kernel, with them by torch."""
    logits = torch.randn(2, 25, 9, 7, generator=torch.Generator().manual_seed(0))
    with torch.set_grad_enabled(grad):
        labels, confidence = logits_to_labels(logits, 40, 31, with_confidence=False)
        expected, certain = logits_to_labels(logits, 40, 31)
    assert confidence is None and certain is not None
    assert torch.equal(labels, expected)


@given(st.integers(0, 2**31), st.sampled_from([2, 25]), st.tuples(*[st.integers(1, 40)] * 4))
@example(0, 2, (1, 1, 7, 9))
@example(0, 2, (9, 7, 1, 1))
@example(0, 25, (5, 8, 5, 8))
def test_property_with_aligned_corners_too(seed, classes, sizes):
    """As M3L's code enlarges: torch's own arg max and softmax, but for two classes that are equal to rounding."""
    h, w, height, width = sizes
    logits = torch.randn(2, classes, h, w, generator=torch.Generator().manual_seed(seed))
    exact = F.interpolate(logits.double(), (height, width), mode="bilinear", align_corners=True)
    with torch.no_grad():
        labels, confidence = logits_to_labels(logits, height, width, align_corners=True)
        only, _ = logits_to_labels(logits, height, width, with_confidence=False, align_corners=True)
    assert torch.equal(labels, only)
    by_pytorch, certain = logits_to_labels(logits.clone().requires_grad_(), height, width, align_corners=True)
    for found in (labels, by_pytorch):
        behind = exact.amax(dim=1) - exact.gather(1, found.long()[:, None])[:, 0]
        assert float(behind.max()) <= 4e-6 * float(logits.abs().max())
    np.testing.assert_allclose(confidence, exact.softmax(dim=1).amax(dim=1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(certain.detach(), confidence, rtol=0, atol=1e-5)
