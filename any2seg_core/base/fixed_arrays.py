"""Arrays whose values nobody can change any more: what was computed from one holds as long as it is there."""

from __future__ import annotations

import numpy as np

_ROW_STRIDE = 64


def fixed(array: np.ndarray) -> np.ndarray:
    """The array, read-only with all of its memory, which must be the caller's own; a copy where NumPy does not own it.

    Views that others already have stay writable: give a new array only.
    """
    owner = _owner(array)
    if owner is None:
        array = owner = array.copy()
    for each in (owner, array):
        each.flags.writeable = False
    return array


def is_fixed(array: np.ndarray) -> bool:
    """Whether `fixed` made it; a read-only view of memory that can be written to is none."""
    owner = _owner(array)
    return owner is not None and not owner.flags.writeable and not array.flags.writeable


def same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays hold the same bytes (NaN included); some rows tell almost all pairs apart."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not np.array_equal(_as_bytes(one[::_ROW_STRIDE]), _as_bytes(other[::_ROW_STRIDE])):
        return False
    return np.array_equal(_as_bytes(one), _as_bytes(other))


def _as_bytes(array: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.view(np.uint64) if flat.size % 8 == 0 else flat


def _owner(array: np.ndarray) -> np.ndarray | None:
    """The array that owns the memory; None where that is no array."""
    owner = array if array.base is None else array.base
    return owner if isinstance(owner, np.ndarray) and owner.flags.owndata else None
