"""Tasks of an evaluation without any worker, and the parts of recordings."""

from __future__ import annotations

import pytest

from any2seg_core.evaluation.recording.span import WHOLE, RecordingSpan
from any2seg_core.fleet.cutting import spans_of
from any2seg_core.fleet.tasks import part_path
from any2seg_core.fleet.work import FleetWork, Listed

SECOND = 10**9


def recording(number, seconds):
    nothing = [None] * 5
    return Listed(f"{number:016x}", f"/bags/{number}", 5 * SECOND, (5 + seconds) * SECOND, seconds, "ok", *nothing)


@pytest.mark.parametrize(("seconds", "cut_s", "borders"), [
    (10, 0.0, []), (10, 10.0, []), (10, 5.0, [10]), (9, 4.0, [8, 11]), (1600, 10.0, [5 + 200 * k for k in range(1, 8)]),
])  # fmt: skip
def test_value_parts_follow_each_other_from_the_first_message_to_the_last(seconds, cut_s, borders):
    edges = [None, *(border * SECOND for border in borders), None]
    spans = spans_of(5 * SECOND, (5 + seconds) * SECOND, cut_s)
    assert spans == [RecordingSpan(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]


def test_value_recordings_of_unknown_length_stay_whole():
    assert spans_of(None, None, 1.0) == [WHOLE]


def test_value_parts_are_joined_when_all_are_there(tmp_path):
    work = FleetWork(tmp_path, [recording(0, 1), recording(1, 4), recording(2, 1)], 2.0)
    tasks = work.tasks()
    names = []
    for task in tasks:
        names.append((task.url, task.number, task.is_join, task.seconds))
        assert work.over(task, is_good=True) == (task.count == 1 or task.is_join)
    assert names == [
        ("/bags/0", 0, False, 1.0), ("/bags/1", 0, False, 2.0), ("/bags/1", 1, False, 2.0),
        ("/bags/1", 2, True, 0.0), ("/bags/2", 0, False, 1.0),
    ]  # fmt: skip


def test_value_parts_under_way_are_waited_for_and_those_of_before_are_not_done_again(tmp_path):
    work = FleetWork(tmp_path, [recording(1, 6)], 2.0)
    tasks = work.tasks()
    first, second, third = next(tasks), next(tasks), next(tasks)
    work.over(first, is_good=True)
    work.over(third, is_good=True)
    assert next(tasks) is None
    work.over(second, is_good=True)
    assert next(tasks).is_join
    for task in (first, third):
        part_path(tmp_path, task).parent.mkdir(exist_ok=True)
        part_path(tmp_path, task).touch()
    assert next(FleetWork(tmp_path, [recording(1, 6)], 2.0).tasks()) == second
    part_path(tmp_path, second).touch()
    assert [task.is_join for task in FleetWork(tmp_path, [recording(1, 6)], 2.0).tasks()] == [True]


@pytest.mark.parametrize("kept", [[], [0, 2], [0, 1, 2]])
def test_value_tasks_count_for_all_seconds_of_a_recording(tmp_path, kept):
    """Parts of a run before too, so that progress ends where it should."""
    parts = FleetWork(tmp_path, [recording(1, 6)], 2.0).tasks()
    for task in [next(parts) for _ in range(3)]:
        if task.number in kept:
            part_path(tmp_path, task).parent.mkdir(exist_ok=True)
            part_path(tmp_path, task).touch()
    work = FleetWork(tmp_path, [recording(1, 6), recording(2, 1)], 2.0)
    seconds = 0.0
    for task in work.tasks():
        work.over(task, is_good=True)
        seconds += task.seconds
    assert seconds == 7.0


def test_value_a_recording_fails_once_however_many_parts_do(tmp_path):
    work = FleetWork(tmp_path, [recording(1, 6), recording(2, 1)], 2.0)
    tasks = work.tasks()
    first, second = next(tasks), next(tasks)
    assert work.over(first, is_good=False)
    assert not work.over(second, is_good=False)
    assert [task.url for task in tasks] == ["/bags/2"]  # the third part is not begun
