"""Progress with a clock and a stream of the tests' own: nothing here waits."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from any2seg_core.base import progress as module
from any2seg_core.base.progress import PERIOD_S, Progress, track
from any2seg_core.base.screen import Screen


class Clock:
    """Seconds that only the test moves; waiting moves them too, and whatever happens meanwhile is a list of steps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def waits(self, *meanwhile):
        """A `wait` that lets one of ``meanwhile`` happen per period; then the work is over."""
        steps = iter(meanwhile)

        def wait(seconds: float) -> bool:
            step = next(steps, None)
            if step is None:
                return True
            step()
            self.now_s += seconds
            return False

        return wait


class NoThread:
    """Stands for `threading.Thread`: keeps what would run."""

    made: list[dict] = []

    def __init__(self, **options) -> None:
        self.made.append(options)

    def start(self) -> None:
        self.made[-1]["is_started"] = True


@pytest.fixture
def threads(monkeypatch) -> list[dict]:
    monkeypatch.setattr(NoThread, "made", [])
    monkeypatch.setattr(module.threading, "Thread", NoThread)
    return NoThread.made


def plain_screen() -> tuple[Screen, io.StringIO]:
    stream = io.StringIO()
    return Screen(file=stream, force_terminal=False), stream


def test_value_one_line_per_period_also_within_one_step(threads):
    clock, (screen, stream) = Clock(), plain_screen()
    with Progress("judge a", console=screen, clock=clock) as progress:
        progress._tell(
            clock.waits(
                lambda: progress.show(0, 40),
                lambda: progress.show(10, 40),
                lambda: None,  # a step that takes longer than the period
                lambda: progress.stage("judge b", 40, 40),
            )
        )
    assert stream.getvalue().splitlines() == [
        "judge a: 0 of 40, 0:10 elapsed",
        "judge a: 10 of 40, 0:20 elapsed, 1:00 left",
        "judge a: 10 of 40, 0:30 elapsed, 1:30 left",
        "judge b: 40 of 40, 0:40 elapsed, 0:00 left",
    ]


def test_value_nothing_for_short_work_and_a_daemon_tells_of_long_work(threads, capsys):
    clock, (screen, stream) = Clock(), plain_screen()
    with Progress("short", console=screen, clock=clock) as progress:
        progress.show(1, 2)
        clock.now_s += PERIOD_S / 2
    (thread,) = threads
    assert thread["daemon"] is True and thread["is_started"] is True
    thread["target"](*thread["args"])  # the work is over: it ends at once
    assert stream.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_value_the_thread_ends_with_the_work_also_when_that_fails():
    screen, stream = plain_screen()
    before = set(module.threading.enumerate())
    with pytest.raises(KeyError), Progress("broken", console=screen):
        (thread,) = set(module.threading.enumerate()) - before
        raise KeyError
    thread.join(timeout=60)
    assert not thread.is_alive() and stream.getvalue() == ""


def test_value_steps_count_and_less_than_before_begins_anew():
    clock = Clock()
    progress = Progress("train", console=plain_screen()[0], clock=clock)
    assert progress.line() == "train: 0:00 elapsed"
    for _ in range(3):
        progress.step(5)
        clock.now_s += 2.0
    assert progress.line() == "train: 3 of 5, 0:06 elapsed, 0:06 left"  # two steps took 6 s
    progress.stage("val", 0, 9)
    clock.now_s += 4.0
    assert progress.line() == "val: 0 of 9, 0:10 elapsed"
    progress.show(1, 9)
    assert progress.line() == "val: 1 of 9, 0:10 elapsed, 0:32 left"


def test_value_a_run_that_goes_on_is_timed_from_where_it_went_on():
    clock = Clock()
    progress = Progress("training", "%", console=plain_screen()[0], clock=clock)
    progress.show(50.0, 100.0)
    clock.now_s += 3600.0 + 125.0
    progress.show(75.0, 100.0)
    assert progress.line() == "training: 75.0 of 100.0 %, 1:02:05 elapsed, 1:02:05 left"


def test_value_seconds_do_not_pass_their_end_and_titles_steer_no_terminal():
    progress = Progress("evaluate \x1b[31mbag\n", "s", console=plain_screen()[0], clock=Clock())
    progress.show(20.03, 20.0)
    assert progress.line() == "evaluate \\x1b[31mbag\\n: 20.0 of 20.0 s, 0:00 elapsed"


def test_value_a_terminal_gets_a_bar_and_no_lines(threads):
    stream = io.StringIO()
    screen = Screen(file=stream, force_terminal=True, width=100)
    with Progress("read [bold]bag", console=screen) as progress:
        progress.show(3, 7)
        assert progress.is_bar
    assert "read [bold]bag" in stream.getvalue() and "3 of 7" in stream.getvalue()
    assert threads == []


def test_value_hidden_progress_shows_nothing(threads):
    stream = io.StringIO()
    with Progress("x", is_shown=False, console=Screen(file=stream, force_terminal=True)) as progress:
        progress.show(1, 2)
    assert stream.getvalue() == "" and threads == []


def test_value_track_gives_the_same_items_and_counts_them(threads, capsys):
    screen, stream = plain_screen()
    assert list(track(iter("abc"), "letters", 3, console=screen)) == ["a", "b", "c"]
    assert list(track([], "nothing", 0, is_shown=False)) == []
    assert stream.getvalue() == "" and capsys.readouterr() == ("", "")


def test_value_progress_goes_to_stderr(monkeypatch, threads, capsys):
    with Progress("work") as progress:
        progress._tell(Clock().waits(lambda: progress.show(1, 2)))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("work: 1 of 2, ")


def test_value_nobody_draws_a_bar_of_his_own():
    """One helper; the live view of the demonstration has a layout of its own."""
    root = Path(module.__file__).parents[2]
    folders = ("any2seg_core", "any2seg_drive", "training", "ros2_ws", "benchmarks", "scripts")
    users = {
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*.py")
        if "rich.progress" in path.read_text()
    }
    assert users == {"any2seg_core/base/progress.py", "any2seg_core/base/screen.py", "any2seg_core/demo/view.py"}
