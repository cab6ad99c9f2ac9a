"""Keeps freed memory in the process, and what lives as long as the process out of Python's collections."""

from __future__ import annotations

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc accepts no more


def keep_freed_memory() -> bool:
    """Tell glibc to reuse blocks of up to 32 MB instead of returning them to the kernel; True where that took effect.

    A network frees and allocates the same large activations over and over. By default each of them is a fresh mapping,
    whose pages the kernel zeroes one by one: measured at a tenth of a forward pass, and much more in training. Called
    by programs (commands, node, training), never by the library on import. Elsewhere than on glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = [(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 64 << 20)]
    accepted = [mallopt(name, value) for name, value in settings]
    return all(accepted)


def release_freed_memory() -> bool:
    """Give what `keep_freed_memory` kept back to the kernel now; True where something was given back."""
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))


def collect_and_freeze() -> None:
    """Free what is garbage now, and look at nothing that lives now again until the next call.

    A full collection walks over all objects of PyTorch and numba and stops every thread meanwhile: 0.15 to 0.6 s in the
    node. For the time when a model was loaded or let go.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.collect()  # Python learns that little is left: it waits with a full one until a quarter as much has come since
