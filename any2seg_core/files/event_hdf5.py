"""HDF5 files of events, in the layouts that cameras and data sets use; needs h5py."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import require_room
from any2seg_core.files.event_columns import join_events, to_ns
from any2seg_core.sensors.events import EVENT_DTYPE

_TABLE = "CD/events"  # Prophesee: one array of records, microseconds
_GROUPS = ("events", "/")
_NAMES = (("x", "y", "t", "p"), ("xs", "ys", "ts", "ps"))  # DSEC, MUSES; the tools of event-to-video
_INDEX = "ms_to_idx"  # beside it DSEC's times are microseconds
_ECF = 36559  # Prophesee's own filter, in no package of PyPI


def read_hdf5_events(path: Path, unit: str = "", window_ns: int | None = None, extra: str = "files") -> np.ndarray:
    """HDF5 -> (N,) EVENT_DTYPE, t in nanoseconds, in the file's order.

    Args:
        unit: of time, as in `NS_PER_UNIT`; "" takes what the layout says.
        window_ns: only events of the last so many nanoseconds, open at the start; None: all.
        extra: of this package that installs what is missing, for the message.

    Raises:
        UserError: h5py is missing, no HDF5 file, none of the layouts, a filter that is not installed, no unit.
    """
    h5py = h5py_with_filters(extra)
    try:
        with h5py.File(path, "r") as file:
            columns, said = _columns(path, file)
            return _read(path, columns, unit or said, window_ns)
    except UserError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if str(_ECF) in reason or "ECF" in reason:
            hint = "it is packed with Prophesee's ECF filter: set HDF5_PLUGIN_PATH to that of OpenEB, or give RAW"
        else:
            hint = f"restore it, or install the compression filters with: pip install 'any2seg[{extra}]'"
        raise UserError(f"{path}: no readable HDF5 file of events ({reason}): {hint}", "file-format") from None


def h5py_with_filters(extra: str) -> Any:
    """The module h5py; UserError names the extra of this package that installs it."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"HDF5 files of events need h5py: pip install 'any2seg[{extra}]'", "package-missing") from None
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401 (registers the filters that cameras and data sets compress with)
    return h5py


def _columns(path: Path, file: Any) -> tuple[Mapping[str, Any], str]:
    """x, y, t, p that can be sliced, and the unit of t where the layout says it."""
    size = path.stat().st_size
    if _TABLE in file and set("xytp") <= set(file[_TABLE].dtype.names or ()):
        _require_room(file[_TABLE].size, size)
        table = file[_TABLE][:]
        return {name: table[name] for name in "xytp"}, "us"
    for group in (file[name] for name in _GROUPS if name in file):
        for names in _NAMES:
            if hasattr(group, "keys") and all(name in group for name in names):
                found = {key: group[name] for key, name in zip("xytp", names, strict=True)}
                _require_room(max(column.size for column in found.values()), size)
                return found, "us" if _INDEX in file else ""
    raise UserError(
        f"{path}: holds {', '.join(list(file)[:8]) or 'nothing'}, not {_TABLE} (Prophesee) nor x, y, t, p in events "
        "(DSEC, MUSES): convert it to an .npz of x, y, t, p",
        "file-content",
    )


def _require_room(count: int, size: int) -> None:
    """Chunks that a file claims and does not hold read as zeros."""
    require_room(count * EVENT_DTYPE.itemsize, size, f"a file of {count} events")


def _read(path: Path, columns: Mapping[str, Any], unit: str, window_ns: int | None) -> np.ndarray:
    stamps_ns = to_ns(path, columns["t"][:], unit)
    last_ns = int(stamps_ns.max(initial=0))
    is_inside = np.ones(len(stamps_ns), bool) if window_ns is None else stamps_ns > last_ns - window_ns
    chosen = np.flatnonzero(is_inside)
    if not chosen.size:
        return np.empty(0, EVENT_DTYPE)
    span = slice(int(chosen[0]), int(chosen[-1]) + 1)  # in order of time this is exactly the window
    x, y, p = (columns[name][span] for name in "xyp")
    return join_events(path, x, y, stamps_ns[span], p)[is_inside[span]]
