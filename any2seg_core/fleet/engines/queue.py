"""Which task comes next: those whose worker was lost before new ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from any2seg_core.fleet.engines.engine import MOST_LOSSES, Event


class TaskQueue:
    """Hands tasks out and counts how many workers each has lost.

    Args:
        tasks: as of `Engine.events`.
    """

    def __init__(self, tasks: Iterator[Any]) -> None:
        self._tasks = tasks
        self._again: list[Any] = []
        self._losses: dict[Any, int] = {}
        self._is_empty = False

    def next(self) -> Any | None:
        """The next task; None where there is none now."""
        if self._again:
            return self._again.pop(0)
        if self._is_empty:
            return None
        try:
            return next(self._tasks)
        except StopIteration:
            self._is_empty = True
            return None

    @property
    def is_empty(self) -> bool:
        """Whether no task will come any more."""
        return self._is_empty and not self._again

    def done(self, task: Any) -> None:
        """A task is over: what was counted of it is forgotten."""
        self._losses.pop(task, None)

    def lost(self, worker: int, task: Any) -> Event:
        """The worker of a task has ended: it is tried again, but not for ever."""
        losses = self._losses[task] = self._losses.get(task, 0) + 1
        is_given_up = losses >= MOST_LOSSES
        if is_given_up:
            self.done(task)
        else:
            self._again.append(task)
        return Event(worker, task, lost=losses, is_given_up=is_given_up)
