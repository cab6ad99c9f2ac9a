"""On how many threads this process computes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Own(threading.local):
    """What a thread was told for itself."""

    count: int | None = None


_OWN = _Own()


def thread_count() -> int:
    """What `counting` says; else as many as PyTorch may use for this thread, where it is loaded; else OMP_NUM_THREADS,
    else as there are processors for us."""
    if _OWN.count is not None:
        return _OWN.count
    torch = sys.modules.get("torch")
    if torch is not None:
        return torch.get_num_threads()
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdigit() and int(given) > 0 else len(os.sched_getaffinity(0))


@contextmanager
def counting(count: int) -> Iterator[None]:
    """`thread_count` is this within, for the calling thread alone; PyTorch and other threads keep what they have."""
    before, _OWN.count = _OWN.count, count
    try:
        yield
    finally:
        _OWN.count = before
