"""Which task comes next, by hand."""

from __future__ import annotations

from any2seg_core.fleet.engines.engine import MOST_LOSSES
from any2seg_core.fleet.engines.queue import TaskQueue


def test_value_lost_tasks_come_first_and_not_for_ever():
    queue = TaskQueue(iter("ab"))
    assert queue.next() == "a"
    for loss in range(1, MOST_LOSSES):
        event = queue.lost(0, "a")
        assert (event.lost, event.is_given_up, event.is_over) == (loss, False, False)
        assert queue.next() == "a"
    assert queue.lost(4, "a").is_given_up
    assert (queue.next(), queue.is_empty) == ("b", False)
    queue.done("b")
    assert (queue.next(), queue.is_empty) == (None, True)
    assert queue.lost(0, "a").lost == 1  # what is over is forgotten


def test_value_none_of_the_source_is_no_end():
    queue = TaskQueue(iter([None, "a"]))
    assert (queue.next(), queue.is_empty) == (None, False)
    assert queue.next() == "a"
