"""The filter on logits: its gain in closed form, and what it must not remember."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from any2seg_core.runtime.camera_motion import View
from any2seg_core.runtime.logit_filter import LONGEST_GAP_S, UNPOSED_CONSTANT_S, LogitFilter

S = 10**9
STILL = View(np.full((5, 7), 8.0, np.float32))


def logits_of(seed: int, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 3.0, (4, *size)).astype(np.float32)


def softmax_top(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits.astype(np.float64))
    return (shares / shares.sum(axis=0)).max(axis=0)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_value_the_gain_is_that_of_the_confidences_and_the_gap(temperature):
    one, two, stream = logits_of(1), logits_of(2), LogitFilter()
    assert stream.filtered(one, S, STILL, temperature) is one
    found = stream.filtered(two, S + S // 20, STILL, temperature)
    now, past = softmax_top(two / temperature), softmax_top(one / temperature)
    gain = now / (now + past * np.exp(-0.05 / UNPOSED_CONSTANT_S))
    np.testing.assert_allclose(found, gain * two + (1 - gain) * one, rtol=1e-4, atol=1e-5)


def test_value_where_something_else_is_seen_nothing_is_remembered():
    one, two, stream = logits_of(1), logits_of(2), LogitFilter()
    stream.filtered(one, S, STILL)
    nearer = STILL.depth_m.copy()
    nearer[2, 3] = 4.0
    found = stream.filtered(two, S + 1, View(nearer))
    np.testing.assert_allclose(found[:, 2, 3], two[:, 2, 3], rtol=1e-6)
    assert not np.allclose(found, two, atol=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_value_logits_that_are_not_finite_pass_and_are_forgotten(value):
    stream, broken = LogitFilter(), logits_of(2)
    stream.filtered(logits_of(1), S, STILL)
    broken[0, 1, 1] = value
    assert stream.filtered(broken, S + 1, STILL) is broken
    assert stream.filtered(last := logits_of(3), S + 2, STILL) is last


@pytest.mark.parametrize("between", ["no distance", "another size"])
def test_value_a_set_that_cannot_be_compared_begins_anew(between):
    stream, other = LogitFilter(), logits_of(2)
    stream.filtered(logits_of(1), S, STILL)
    if between == "no distance":
        assert stream.filtered(other, S + 1, None) is other
    else:
        assert stream.filtered(small := logits_of(2, (3, 7)), S + 1, View(np.ones((3, 7), np.float32))) is small
    assert stream.filtered(other, S + 2, STILL) is other


STEPS = st.lists(st.integers(-2 * S, 2 * S) | st.integers(0, S // 2), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_property_a_jump_back_or_a_gap_never_mixes_what_was_before_with_what_comes(steps_ns):
    """Each set is what a new filter makes of the sets since the last break alone."""
    stream, begun = LogitFilter(), []
    stamp_ns = 100 * S
    for k, step_ns in enumerate(steps_ns):
        stamp_ns += step_ns
        if not 0 <= step_ns <= LONGEST_GAP_S * S:
            begun = []
        begun.append((logits_of(k), stamp_ns))
        found = stream.filtered(*begun[-1], STILL)
        alone = LogitFilter()
        expected = [alone.filtered(*each, STILL) for each in begun][-1]
        np.testing.assert_array_equal(found, expected)
