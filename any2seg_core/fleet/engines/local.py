"""Workers as processes of this machine. Each is spawned, loads what it needs once, and may end without the others."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.parallel import end_with_parent, threads_for_children
from any2seg_core.fleet.engines.engine import Event, Worker
from any2seg_core.fleet.engines.queue import TaskQueue

_TELL_S = 0.2  # between two lines of progress from one worker
_END_S = 5.0  # that a worker has to end by itself
_DEATHS_AT_START = 3


class _Process:
    """One worker process and the pipe to it."""

    def __init__(self, context: Any, make_worker: Callable[[], Worker], threads: int) -> None:
        self.pipe, theirs = context.Pipe()
        self.task: Any = None
        self.is_proven = False
        """Whether it has ever answered."""
        self._process = context.Process(target=_work, args=(make_worker, theirs), daemon=True)
        with threads_for_children(threads):
            self._process.start()
        theirs.close()

    def give(self, task: Any) -> None:
        self.task = task
        with suppress(OSError):  # it has ended: its pipe says so when it is read
            self.pipe.send(task)

    def end(self) -> None:
        with suppress(OSError):
            self.pipe.send(None)
        if self.task is not None:  # in the middle of it: copies of recordings that it has fetched go with it
            self._process.terminate()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.pipe.close()


class _EndedError(BaseException):
    """A worker is told to end in the middle of a task."""


class LocalEngine:
    """Runs tasks in processes; see `Engine`.

    Args:
        make_worker: called in each process; must be picklable, as tasks and results must.
        workers: processes, at least 1. threads: of each.
    """

    def __init__(self, make_worker: Callable[[], Worker], workers: int, threads: int = 1) -> None:
        self.workers = workers
        self._make_worker, self._threads = make_worker, threads
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, _Process] = {}
        self._deaths_at_start = 0

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.end()
        self._processes.clear()

    def events(self, tasks: Iterator[Any]) -> Iterator[Event]:
        """See `Engine`."""
        queue = TaskQueue(tasks)
        while True:
            for number in range(self.workers):
                self._employ(number, queue)
            busy = {process.pipe: number for number, process in self._processes.items() if process.task is not None}
            if not busy:
                if not queue.is_empty:
                    raise RuntimeError("tasks wait for others, and none is under way")
                return
            for pipe in wait(list(busy)):
                yield self._read(busy[pipe], queue)

    def _employ(self, number: int, queue: TaskQueue) -> None:
        """Give an idle worker a task; its process begins with the first one."""
        process = self._processes.get(number)
        if process is not None and process.task is not None:
            return
        task = queue.next()
        if task is None:
            return
        if process is None:
            process = self._processes[number] = _Process(self._context, self._make_worker, self._threads)
        process.give(task)

    def _read(self, number: int, queue: TaskQueue) -> Event:
        process = self._processes[number]
        try:
            kind, value = process.pipe.recv()
        except (EOFError, OSError):
            return self._buried(number, queue)
        process.is_proven, self._deaths_at_start = True, 0
        if kind == "share":
            return Event(number, process.task, share=value)
        if kind == "error":
            raise value
        task, process.task = process.task, None
        queue.done(task)
        return Event(number, task, 1.0, result=value)

    def _buried(self, number: int, queue: TaskQueue) -> Event:
        process = self._processes.pop(number)
        if not process.is_proven:
            self._deaths_at_start += 1
            if self._deaths_at_start >= _DEATHS_AT_START:
                raise UserError(
                    f"{self._deaths_at_start} workers in a row ended before they began: use fewer than {self.workers}",
                    "process-killed",
                )
        event = queue.lost(number, process.task)
        process.end()
        return event


def _work(make_worker: Callable[[], Worker], pipe: Connection) -> None:
    """A worker process: until it is told to end, or who started it has ended."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: who started it ends it
    signal.signal(signal.SIGTERM, _end)
    told_s = 0.0

    def progress(share: float) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= _TELL_S:
            told_s = time.monotonic()
            pipe.send(("share", share))

    try:
        worker = make_worker()
        while (task := pipe.recv()) is not None:
            pipe.send(("share", 0.0))  # it has begun, with this task
            pipe.send(("result", worker.run(task, progress)))
    except (EOFError, BrokenPipeError, _EndedError):
        return
    except BaseException as error:
        try:
            pipe.send(("error", error))
        except Exception:  # it cannot be pickled
            pipe.send(("error", RuntimeError(f"{type(error).__name__}: {error}")))


def _end(*_: object) -> None:
    raise _EndedError
