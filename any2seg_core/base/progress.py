"""A progress bar for one pass over the messages of a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from any2seg_core.base.screen import PlainColumn


@contextmanager
def counting(title: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that moves on with every call; the argument is how many calls there will be."""
    columns = (
        PlainColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def count(total: int) -> None:
            bar.update(task, advance=1, total=total)

        yield count
