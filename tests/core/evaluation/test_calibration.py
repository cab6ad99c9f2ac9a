"""Calibration against torchmetrics and against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error
from torchmetrics.functional.classification import multiclass_calibration_error

from any2seg_core.evaluation.calibration import CalibrationHistogram


def random_case(seed: int, K: int = 7, size: tuple[int, ...] = (3, 19, 23)):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((size[0], K, *size[1:]), generator=generator)
    truth = torch.randint(0, K, size, generator=generator)
    truth[torch.rand(size, generator=generator) < 0.2] = 255
    confidence, prediction = logits.softmax(dim=1).max(dim=1)
    return logits, confidence, prediction, truth


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_value_equals_torchmetrics(bins: int):
    logits, confidence, prediction, truth = random_case(bins)
    histogram = CalibrationHistogram(bins)
    histogram.update(confidence, prediction, truth)
    expected = multiclass_calibration_error(logits.softmax(dim=1), truth, 7, n_bins=bins, norm="l1", ignore_index=255)
    assert histogram.ece() == pytest.approx(float(expected), abs=1e-6)


def test_value_by_hand():
    histogram = CalibrationHistogram(bins=2)
    confidence = np.array([0.25, 0.25, 0.75, 1.0, 0.9, 0.9], np.float32)
    prediction = np.array([0, 1, 2, 2, 255, 0], np.uint8)
    truth = np.array([0, 0, 2, 1, 0, 255], np.uint8)
    histogram.update(confidence, prediction, truth)
    assert histogram.sums[0].tolist() == [2, 2]
    assert histogram.sums[1].tolist() == [1, 1]
    assert histogram.accuracy().tolist() == [0.5, 0.5]
    assert histogram.confidence().tolist() == [0.25, 0.875]
    assert histogram.ece() == pytest.approx(0.5 * 0.25 + 0.5 * 0.375)
    assert histogram.overconfidence() == pytest.approx((0.25 + 0.25 + 0.75 + 1.0) / 4 - 0.5)


@given(st.integers(0, 2**31), st.lists(st.integers(0, 56), max_size=4))
def test_property_any_split_and_order_gives_the_same_integers(seed: int, cuts: list[int]):
    _, confidence, prediction, truth = random_case(seed, size=(57, 1, 3))
    whole = CalibrationHistogram()
    whole.update(confidence, prediction, truth)
    merged = CalibrationHistogram()
    edges = [0, *sorted(cuts), 57]
    for start, stop in reversed(list(zip(edges, edges[1:], strict=False))):
        part = CalibrationHistogram()
        part.update(confidence[start:stop].numpy(), prediction[start:stop], truth[start:stop])
        merged.merge(part)
    assert np.array_equal(merged.sums, whole.sums)


def test_shape_nothing_counted():
    histogram = CalibrationHistogram()
    histogram.update(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.uint8))
    histogram.update(np.full((1, 2), 0.5), np.zeros((1, 2), np.uint8), np.full((1, 2), 255, np.uint8))
    assert np.isnan(histogram.ece())
    assert np.isnan(histogram.overconfidence())
    assert np.isnan(histogram.accuracy()).all()


def test_exception_bad_input():
    with user_error("value-range", "0 bins"):
        CalibrationHistogram(0)
    histogram = CalibrationHistogram()
    ids = np.zeros((2, 2), np.uint8)
    with user_error("size-mismatch", "(2, 3)", "(2, 2)"):
        histogram.update(np.zeros((2, 3)), ids, ids)
    for value in (1.5, -0.1, float("nan")):
        with user_error("value-range"):
            histogram.update(np.full((2, 2), value), ids, ids)
    with user_error("value-conflict", "3 bins", "into 15"):
        histogram.merge(CalibrationHistogram(3))
    assert histogram.sums.sum() == 0
