"""Processes of the local engine: what they do, and what comes of those that end."""

from __future__ import annotations

import os
import time

import pytest
from plain_worker import Squarer
from raised import user_error

from any2seg_core.fleet.engines.engine import MOST_LOSSES
from any2seg_core.fleet.engines.local import LocalEngine


def over(folder, tasks, workers):
    with LocalEngine(Squarer(folder), workers) as engine:
        return [event for event in engine.events(iter(tasks)) if event.is_over or event.lost]


@pytest.mark.parametrize("workers", [1, 3])
def test_value_every_task_is_done_once_in_processes_that_stay(tmp_path, workers):
    found = over(tmp_path, range(7), workers)
    assert sorted(event.result[0] for event in found) == [0, 1, 4, 9, 16, 25, 36]
    processes = {event.result[1] for event in found}
    assert len(processes) <= workers and os.getpid() not in processes


def test_value_every_task_says_that_it_has_begun(tmp_path):
    """Also those after the first one of a process, which is why a short one is seen at all."""
    with LocalEngine(Squarer(tmp_path), 1) as engine:
        events = list(engine.events(iter(range(3))))
    first = {event.task: event.share for event in reversed(events)}
    assert first == {0: 0.0, 1: 0.0, 2: 0.0}


def test_value_a_worker_that_is_killed_is_replaced_and_its_task_done_again(tmp_path):
    for name in ("kill-2", "kill-3", "always-5"):
        (tmp_path / name).touch()
    found = over(tmp_path, range(7), 2)
    assert sorted(event.result[0] for event in found if event.result) == [0, 1, 4, 9, 16, 36]
    losses = [(event.task, event.lost, event.is_given_up) for event in found if event.lost]
    assert sorted(losses) == [(2, 1, False), (3, 1, False), (5, 1, False), (5, 2, False), (5, MOST_LOSSES, True)]


def test_value_a_task_that_waits_for_another_comes_after_it(tmp_path):
    done = []

    def tasks():
        yield 3
        while not done:
            yield None
        yield done[0]

    with LocalEngine(Squarer(tmp_path), 2) as engine:
        for event in engine.events(tasks()):
            if event.is_over:
                done.append(event.result[0])
    assert done == [9, 81]


def test_value_a_worker_that_is_ended_in_the_middle_leaves_no_copy(tmp_path):
    """As with Ctrl-C: a recording that was fetched may be large."""
    with LocalEngine(Squarer(tmp_path), 1) as engine:
        next(engine.events(iter([-3])))
        while not list(tmp_path.iterdir()):
            time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


def test_exception_errors_of_the_program_and_of_the_making_end_the_run(tmp_path):
    with pytest.raises(ValueError, match="a fault of the program"):
        over(tmp_path, [1, -1], 1)
    (tmp_path / "refuse").touch()
    with user_error("value-invalid", "no worker today"):
        over(tmp_path, [1], 1)
