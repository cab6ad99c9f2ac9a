from __future__ import annotations

import itertools

import pytest

from any2seg_core.base.turns import Ratio, Times, in_turns, ratio


class Machine:
    """Clocks that only work moves."""

    def __init__(self):
        self.cpu_s = self.wall_s = 0.0

    def spend(self, cpu_s, wall_s):
        self.cpu_s += cpu_s
        self.wall_s += wall_s

    @property
    def clocks(self):
        return (lambda: self.cpu_s), (lambda: self.wall_s)


def test_value_works_take_turns_and_only_they_are_timed():
    machine, order = Machine(), []
    costs_s = itertools.cycle([1.0, 2.0, 3.0])

    def first():
        order.append("first")
        machine.spend(next(costs_s), 5.0)

    def second():
        order.append("second")
        machine.spend(10.0, 10.0)

    found = in_turns(
        {"first": first, "second": second}, 2, 1, before=lambda: machine.spend(100, 100), clocks=machine.clocks
    )
    assert order == ["first", "second"] * 3
    assert found == {"first": Times((2.0, 3.0), (5.0, 5.0)), "second": Times((10.0, 10.0), (10.0, 10.0))}


def test_value_a_ratio_is_taken_within_each_turn():
    """The median of ratios, which is not the ratio of medians: 20 / 10 = 2."""
    assert ratio((10.0, 20.0, 90.0), (10.0, 5.0, 30.0)) == Ratio(3.0, 1.0, 4.0)
    assert str(Ratio(3.0, 1.0, 4.0)) == "3.00 (1.00 to 4.00)"


def test_exception_a_ratio_needs_as_many_turns_of_both():
    with pytest.raises(ValueError, match="shorter|longer"):
        ratio((1.0, 2.0), (1.0,))


def test_value_spread_and_waiting_tell_a_busy_machine():
    quiet = Times((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert (quiet.spread, quiet.waiting) == (0.0, 1.0)
    assert Times((1.0, 1.5, 2.0), (2.0, 3.0, 4.0)).spread == 0.5
    assert Times((1.0, 1.5, 2.0), (2.0, 3.0, 4.0)).waiting == 2.0
    assert Times((0.0,), (0.0,)).spread == 0.0  # below the clock's step
