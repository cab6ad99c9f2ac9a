"""Run independent jobs in worker processes, results in order, bounded memory, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any

from any2seg_core.base.errors import UserError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextmanager
def threads_for_children(count: int) -> Iterator[None]:
    """Let processes started inside begin with so many threads per library (they read these at import)."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def end_with_parent() -> None:
    """Let a worker end when its parent was killed; it would wait for jobs for ever otherwise."""
    parent = multiprocessing.parent_process()
    if parent is None:  # called by no worker
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ordered_map(function: Callable[[Any], Any], jobs: Iterable[Any], workers: int) -> Iterator[Any]:
    """Yield function(job) for every job, in the order of the jobs; at most workers + 2 results wait at a time.

    With workers == 1 it runs in this process. Otherwise `function` and the jobs must be picklable; the processes are
    spawned and single-threaded.

    Raises:
        UserError: workers < 1, or a worker was killed.
    """
    if workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}", "value-range")
    if workers == 1:
        yield from map(function, jobs)
        return
    jobs = iter(jobs)
    with threads_for_children(1):
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=end_with_parent)
        try:
            pending = deque(pool.submit(function, job) for job in islice(jobs, workers + 2))
            while pending:
                try:
                    result = pending.popleft().result()
                except BrokenProcessPool:
                    raise UserError(
                        "a worker process was killed, probably for lack of memory: "
                        f"use fewer than {workers} workers",
                        "process-killed",
                    ) from None
                pending.extend(pool.submit(function, job) for job in islice(jobs, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
