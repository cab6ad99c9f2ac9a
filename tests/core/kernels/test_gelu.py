"""GELU against the error function in float64; and the exponential that softmax and confidence share."""

from __future__ import annotations

import math

import numpy as np
import pytest

from any2seg_core.kernels.gelu import gelu
from any2seg_core.kernels.labels import exp_of_negative

VALUES = np.linspace(-12.0, 12.0, 20_001).astype(np.float32)


def test_value_gelu_is_that_of_the_error_function():
    found = np.array([gelu(x) for x in VALUES])
    expected = np.array([0.5 * x * math.erfc(-x / math.sqrt(2.0)) for x in VALUES.astype(float)])
    assert (np.abs(found - expected) <= 3e-7 * np.maximum(np.abs(VALUES), 1.0)).all()


@pytest.mark.parametrize("x", [-5.5, -6.0, -1e3, -3e38])
def test_value_gelu_of_what_is_far_below_is_zero(x):
    assert abs(gelu(np.float32(x))) < 1e-6


def test_value_gelu_keeps_what_is_not_finite():
    assert np.isnan(gelu(np.float32(np.nan))) and np.isnan(gelu(np.float32(-np.inf)))  # as PyTorch: -inf times 0
    assert gelu(np.float32(np.inf)) == np.inf
    assert gelu(np.float32(3e38)) == pytest.approx(3e38, rel=1e-6)


def test_value_exp_of_negative_numbers():
    values = np.linspace(-87.0, 0.0, 20_001).astype(np.float32)
    found = np.array([exp_of_negative(x) for x in values])
    expected = np.exp(values.astype(float))
    assert (np.abs(found / expected - 1.0) <= 1e-7 * (3.0 - values)).all()
    assert found[-1] == 1.0 and 0.0 <= exp_of_negative(np.float32(-np.inf)) < 1e-37
    assert np.isnan(exp_of_negative(np.float32(np.nan)))
