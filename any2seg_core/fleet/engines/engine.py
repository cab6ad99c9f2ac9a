"""The interface of engines: tasks in, events out. An engine knows nothing of recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

MOST_LOSSES = 3
"""A task whose worker was lost so often is given up: it may be what ends them."""


class Worker(Protocol):
    """Lives in a process of its own and does tasks one after the other."""

    def run(self, task: Any, progress: Callable[[float], None]) -> Any:
        """The result of a task. What it raises is an error of the program and ends the run.

        Args:
            progress: gets the share of the task that is done, 0 to 1.
        """


@dataclass(frozen=True)
class Event:
    """What happened to a task.

    Attributes:
        worker: number of the worker, from 0. share: of the task that is done, 0 to 1.
        result: of `Worker.run`; None while it is not finished.
        lost: how many workers this task has lost so far. is_given_up: it is not tried again.
    """

    worker: int
    task: Any
    share: float = 0.0
    result: Any = None
    lost: int = 0
    is_given_up: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the task is finished or given up."""
        return self.result is not None or self.is_given_up


class Engine(Protocol):
    """Runs tasks in workers; a context manager that ends them.

    Attributes:
        workers: how many there are.
    """

    workers: int

    def __enter__(self) -> Engine: ...

    def __exit__(self, *_: object) -> None: ...

    def events(self, tasks: Iterator[Any]) -> Iterator[Event]:
        """Do all tasks.

        Args:
            tasks: asked for one more whenever a worker is free, so that few are known at a time. None says that there
                is none now, and may be one after the next task that is over.

        Raises:
            UserError: no worker can be had any more.
        """
