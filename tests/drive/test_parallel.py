from __future__ import annotations

import os
import signal

import pytest
from raised import user_error

from any2seg_core.base.parallel import ordered_map


def square(number: int) -> int:
    return number * number


def die(_number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_value_results_come_in_order(workers):
    assert list(ordered_map(square, range(7), workers)) == [0, 1, 4, 9, 16, 25, 36]


def test_exception_a_killed_worker_is_told_in_one_line():
    with user_error("process-killed", "2 workers"):
        list(ordered_map(die, range(3), 2))


def test_exception_no_worker():
    with user_error("value-range", "got 0"):
        list(ordered_map(square, [1], 0))
