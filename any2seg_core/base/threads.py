"""On how many threads this process computes."""

from __future__ import annotations

import os
import sys


def thread_count() -> int:
    """As many as PyTorch may use, where it is loaded; else OMP_NUM_THREADS, else as there are processors for us."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return torch.get_num_threads()
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdigit() and int(given) > 0 else len(os.sched_getaffinity(0))
