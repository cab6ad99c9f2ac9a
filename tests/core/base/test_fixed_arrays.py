"""What can be written to is not fixed, whichever way the memory is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.base.fixed_arrays import fixed, is_fixed, same_bytes


@pytest.mark.parametrize(
    "array",
    [np.arange(12.0), np.arange(12).reshape(2, 2, 3), np.frombuffer(bytearray(b"twelve bytes"), np.uint8)],
    ids=["own", "view", "foreign memory"],
)
def test_value_nobody_can_write_to_a_fixed_array(array):
    assert not is_fixed(array)
    before = array.copy()
    found = fixed(array)
    assert is_fixed(found) and np.array_equal(found, before)
    with pytest.raises(ValueError, match="read-only"):
        found[:1] = 1
    with pytest.raises(ValueError):
        found.view()[:1] = 1


def test_value_a_read_only_view_of_writable_memory_is_not_fixed():
    view = np.arange(6).view()
    view.flags.writeable = False
    assert not is_fixed(view)
    assert not is_fixed(np.frombuffer(b"a message", np.uint8))  # who knows who owns it


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (np.float32([np.nan, 1]), np.float32([np.nan, 1]), True),
        (np.float32([0.0]), np.float32([-0.0]), False),
        (np.zeros(4, np.uint8), np.zeros(4, np.int8), False),
        (np.zeros((2, 3)), np.zeros((3, 2)), False),
        (np.zeros((0, 4)), np.zeros((0, 4)), True),
        (np.arange(12).reshape(3, 4)[:, ::2], np.arange(12).reshape(3, 4)[:, ::2].copy(), True),
        (np.eye(130, 5), np.eye(130, 5) + (np.arange(130) == 129)[:, None], False),
    ],
    ids=["NaN", "signed zero", "type", "shape", "nothing", "strides", "last row"],
)
def test_value_same_bytes(one, other, is_same):
    assert same_bytes(one, other) is is_same
