"""Counts of pixels against Python's own counter and fractions, pixel by pixel."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from any2seg_core.kernels.counts import CONFIDENCE_UNIT, count_confidence, count_pairs

IDS = st.sampled_from([0, 1, 2, 3, 254, 255])
TYPES = st.sampled_from([np.uint8, np.int16, np.int64])


@given(st.lists(st.tuples(IDS, st.sampled_from([0, 1, 2, 3, 255])), max_size=40), TYPES, TYPES)
def test_property_pairs(pixels, truth_type, prediction_type):
    truth = np.array([t for t, _ in pixels], truth_type).reshape(1, -1)
    prediction = np.array([p for _, p in pixels], prediction_type).reshape(1, -1)
    counts, strange = count_pairs(prediction, truth, 4)
    expected = Counter((t, 4 if p == 255 else p) for t, p in pixels if t < 254)
    assert strange is None
    assert {place: int(counts[place]) for place in zip(*np.nonzero(counts), strict=True)} == expected


@given(
    st.lists(st.tuples(IDS, st.sampled_from([0, 1, 2, 3, 255]), st.floats(0, 1, width=32)), max_size=40),
    st.integers(1, 20), st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_property_confidence(pixels, bins, dtype):
    truth, prediction = (np.array([pixel[i] for pixel in pixels], np.uint8) for i in (0, 1))
    confidence = np.array([pixel[2] for pixel in pixels], dtype)
    sums, strange = count_confidence(confidence, prediction, truth, bins)
    expected = np.zeros((3, bins), np.int64)
    for t, p, c in pixels:
        if t < 254 and p != 255:
            place = min(int(c * bins), bins - 1)
            expected[:, place] += [1, t == p, round(Fraction(c) / Fraction(CONFIDENCE_UNIT))]
    assert strange is None
    assert np.array_equal(sums, expected)


def test_value_views_count_as_their_copies():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 25, (2, 31, 43), dtype=np.uint8)
    confidence = rng.random((31, 43), np.float32)
    grid = (slice(None, None, 2),) * 2
    copies = [array[grid].copy() for array in (confidence, prediction, truth)]
    assert np.array_equal(
        count_confidence(confidence[grid], prediction[grid], truth[grid], 15)[0], count_confidence(*copies, 15)[0]
    )
    assert np.array_equal(count_pairs(prediction.T, truth.T, 25)[0], count_pairs(prediction, truth, 25)[0])


@pytest.mark.parametrize(("prediction", "truth", "strange"), [([4], [0], 4), ([0, 9], [7, 1], 9), ([-3], [0], -3)])
def test_value_ids_of_no_class_are_named(prediction, truth, strange):
    assert count_pairs(np.array(prediction), np.array(truth), 4)[1] == strange


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_value_confidence_that_is_none_is_named(value):
    ids = np.zeros(2, np.uint8)
    assert count_confidence(np.array([0.5, value]), ids, ids, 15)[1] == pytest.approx(value, nan_ok=True)
    assert count_confidence(np.array([0.5, value]), ids, np.array([0, 255], np.uint8), 15)[1] is None
