"""When the kernels run, and on how many threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from any2seg_core.base.threads import thread_count

if TYPE_CHECKING:  # who has no PyTorch asks with arrays
    from torch import Tensor

KERNEL: dict[str, Any] = {
    "cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}
}  # fmt: skip
"""Options of `compiled`. Sums may be taken in vector lanes; NaN and infinity keep their meaning."""


_FEW_VALUES = 1 << 23  # which take NumPy half as long as numba takes to be loaded


class Workload:
    """How much this process has computed by `plain`, which takes ten times as long as the kernels, but not to load."""

    def __init__(self) -> None:
        self._values = 0

    def is_for_kernels(self, values: int) -> bool:
        """Whether this many values more are work for the kernels; it is as soon as numba is loaded."""
        if "numba" not in sys.modules:
            self._values += values
        return "numba" in sys.modules or self._values > _FEW_VALUES

    def expect_more(self) -> None:
        """From now on all is work for the kernels."""
        self._values = _FEW_VALUES


WORKLOAD = Workload()
"""Of this process."""


def on_kernels(tensor: Tensor) -> bool:
    """True for a plain float32 tensor on the CPU of which no gradient, no trace and no graph is taken."""
    import torch

    return (
        type(tensor) is torch.Tensor
        and tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and not tensor.requires_grad
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def in_parts(work: Callable[[int, int], None], count: int, least: int) -> None:
    """Call ``work(first, last)`` on parts of range(count), on as many threads as `thread_count` says.

    Args:
        work: releases the interpreter lock; parts do not depend on each other, so their number changes no bit.
        count: items in all.
        least: fewest items that are worth a thread.
    """
    parts = max(1, min(thread_count(), count // max(least, 1)))
    if parts == 1:
        work(0, count)
        return
    edges = [count * part // parts for part in range(parts + 1)]
    others = [_pool(os.getpid()).submit(work, *pair) for pair in zip(edges[1:-1], edges[2:], strict=True)]
    work(edges[0], edges[1])
    wait(others)
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process: those of its parent do not survive a fork."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="any2seg-kernel")
