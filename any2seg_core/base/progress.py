"""How far long work is: a bar on a terminal, elsewhere a plain line now and then. Always on stderr.

With redirected output one line every ten seconds says title, done of total, elapsed and time left, also while a single
step takes longer than that. Work shorter than ten seconds says nothing, and stdout holds results alone.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, TypeVar

from rich.progress import BarColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from any2seg_core.base.screen import PlainColumn, Screen, one_line

PERIOD_S = 10.0
"""Time between two lines where output is redirected."""

Item = TypeVar("Item")


class _State(NamedTuple):
    """One interval of the work: what is done at present, and from where and when its speed counts."""

    title: str
    done: float
    total: float | None
    first: float
    since_s: float


class Progress:
    """Context manager that shows how far some work is.

    Args:
        title: what is done. unit: of what is counted, such as "s"; frames and the like need none.
        is_shown: False shows nothing at all.
        console: where to show it; None: stderr.
        clock: seconds that never run back.
    """

    def __init__(
        self,
        title: str,
        unit: str = "",
        is_shown: bool = True,
        console: Screen | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unit, self._clock = unit, clock
        self._console = console or Screen(stderr=True)
        self.is_bar = is_shown and self._console.is_terminal
        """Whether a bar is drawn."""
        self._is_plain = is_shown and not self._console.is_terminal
        self._begin_s = clock()
        self._state = _State(title, 0, None, 0, self._begin_s)
        self._over = threading.Event()
        # What is printed meanwhile goes above the bar, but never to the terminal instead of a file.
        self._bar = Bar(
            PlainColumn("{task.description}"), BarColumn(), PlainColumn("{task.fields[amount]}"), TimeElapsedColumn(),
            PlainColumn("left"), TimeRemainingColumn(), console=self._console, transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self._task = self._bar.add_task(title, total=None, amount="")

    def __enter__(self) -> Progress:
        if self.is_bar:
            self._bar.start()
        if self._is_plain:
            threading.Thread(target=self._tell, args=(self._over.wait,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self.is_bar:
            self._bar.stop()

    def show(self, done: float, total: float | None) -> None:
        """So much is done of so much. Where less is done than before, work of its own begins."""
        self.stage(self._state.title, done, total)

    def stage(self, title: str, done: float, total: float | None) -> None:
        """`show` with a new title."""
        before, done = self._state, done if total is None else min(done, total)
        begins = done < before.done or before.total is None
        first, since_s = (done, self._clock()) if begins else (before.first, before.since_s)
        self._state = _State(title, done, total, first, since_s)
        if not self.is_bar:
            return
        if begins:
            self._bar.reset(self._task)
        self._bar.update(self._task, description=title, completed=done, total=total, amount=self._amount())

    def step(self, total: float) -> None:
        """One more is done of so many."""
        self.show(self._state.done + 1, total)

    def line(self) -> str:
        """Title, done of total, elapsed and time left, as far as they are known."""
        state, now_s = self._state, self._clock()
        parts = [self._amount(), f"{_clock_text(now_s - self._begin_s)} elapsed"]
        if state.total is not None and state.done > state.first:
            pace = (now_s - state.since_s) / (state.done - state.first)
            parts.append(f"{_clock_text(pace * max(0.0, state.total - state.done))} left")
        return f"{one_line(state.title)}: {', '.join(filter(None, parts))}"

    def _amount(self) -> str:
        """``12 of 40``, ``3.5 of 20.0 s``; empty as long as the total is not known."""
        state = self._state
        if state.total is None:
            return ""
        return f"{_number(state.done)} of {_number(state.total)} {self._unit}".rstrip()

    def _tell(self, wait: Callable[[float], bool]) -> None:
        """A line per period; ``wait`` waits so many seconds and says whether the work is over."""
        while not wait(PERIOD_S):
            self._console.file.write(self.line() + "\n")
            self._console.file.flush()


def track(
    items: Iterable[Item], title: str, total: int, is_shown: bool = True, console: Screen | None = None
) -> Iterator[Item]:
    """The same items; each is counted when the next one is asked for."""
    with Progress(title, is_shown=is_shown, console=console) as progress:
        progress.show(0, total)
        for item in items:
            yield item
            progress.step(total)


def _number(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _clock_text(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
