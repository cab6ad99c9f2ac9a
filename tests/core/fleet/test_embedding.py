"""Embeddings: distances that a projection keeps, and features that are no numbers."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.fleet.embedding import LENGTH, embedding, projection
from any2seg_core.vocabulary.contract import FeatureStatistics


def test_value_the_projection_is_the_same_everywhere_and_keeps_lengths():
    """NumPy promises the stream of RandomState for ever; the first number is written down here."""
    matrix = projection(64)
    assert matrix is projection(64) and matrix.shape == (64, LENGTH)
    assert matrix[0, 0] * np.sqrt(LENGTH) == pytest.approx(np.random.RandomState(3407).standard_normal())
    vectors = np.random.default_rng(0).standard_normal((200, 64))
    ratios = np.linalg.norm(vectors @ matrix, axis=1) / np.linalg.norm(vectors, axis=1)
    assert ratios.mean() == pytest.approx(1.0, abs=0.05)


def test_shape_of_one_and_of_several_sensors():
    random = np.random.default_rng(1)
    features = {name: random.standard_normal(32).astype(np.float32) for name in ("lidar", "rgb")}
    found = np.array(embedding(features))
    assert found.shape == (LENGTH,) and found.dtype == np.float16
    assert np.linalg.norm(found.astype(float)) == pytest.approx(1.0, abs=2e-3)
    mean = {"rgb": (features["lidar"] + features["rgb"]) / 2}
    np.testing.assert_allclose(found.astype(float), np.array(embedding(mean), float), atol=2e-3)
    assert embedding({}) is None


def test_value_whitening_is_that_of_the_checkpoint():
    features = np.array([3.0, 1.0], np.float32)
    statistics = FeatureStatistics(mean=(1.0, 1.0), whitening=((0.5,), (2.0, 1.0)), limit=1.0)
    plain = embedding({"rgb": np.array([1.0, 4.0], np.float32)})  # 0.5 * 2, 2 * 2 + 1 * 0
    assert embedding({"rgb": features}, {"rgb": statistics}) == plain


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_value_features_without_a_direction_have_none(bad):
    assert embedding({"rgb": np.full(8, bad, np.float32)}) is None
