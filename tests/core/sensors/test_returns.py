"""Scale of intensity and points without a return; expected values by hand from the ranges that sensors have."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.sensors.returns import IntensityScale, count_returns


def row(*values: float) -> np.ndarray:
    array = np.array(values, np.float32)
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    ("values", "is_unsigned", "full"),
    [
        (row(0, 0.2, 1), False, 1),
        (row(0, 0.2, 1.4), False, 1),  # calibrated reflectance
        (row(0.5, 3, 254), False, 255),
        (row(10, 256), False, 65535),
        (row(0, 1), True, 255),  # a byte is never a share
        (row(3, 4000), True, 65535),
        (row(3, 2**31), True, 2**32 - 1),
        (row(0.3, np.nan, np.inf, -9), False, 1),
        (row(np.nan, -1, 0), True, 1),  # nothing is known yet
    ],
)
def test_value_the_smallest_range_that_holds_the_values(values, is_unsigned, full):
    scale = IntensityScale()
    assert scale.full(values, is_unsigned) == full
    assert scale.take_note() == ""


def test_value_one_bright_return_does_not_darken_a_sweep():
    """Ouster's signal photons: 0..250, and one of 300 in every second sweep."""
    scale = IntensityScale()
    for index in range(6):
        values = np.linspace(0, 250, 3000, dtype=np.float32)
        values[7] = 300 if index % 2 else 250
        assert scale.full(values) == 255
    assert scale.take_note() == ""


def test_value_a_scale_only_widens_and_says_so_once():
    scale = IntensityScale()
    found = [scale.full(row(*values)) for values in ((0.1, 0.9), (3, 200), (0.1, 0.9), (0, 9000), (3, 200), ())]
    assert found == [1, 255, 255, 65535, 65535, 65535]
    assert scale.take_note().startswith("intensity is read as 0..65535 from now on, as 0..255 before")
    assert scale.take_note() == ""
    fixed = IntensityScale(100.0)
    assert [fixed.full(row(0.1)), fixed.full(row(9000))] == [100, 100]


def test_value_returns_are_finite_and_away_from_the_origin():
    points = np.array(
        [[0, 0, 0, 1], [0.009, 0, 0, 1], [0, 0, 0.011, 1], [np.nan, 1, 1, 1], [1, np.inf, 1, 1], [5, 1, 1, np.nan]],
        np.float32,
    )
    points.setflags(write=False)
    assert count_returns(points, 100) == 2
    assert count_returns(points, 1) == 1
    assert count_returns(points[:2], 1) == 0
