"""Columns x, y, t, p of files -> events. The unit of time is stated, or said by the file itself, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.events import EVENT_DTYPE

NS_PER_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
"""Names of units of time -> nanoseconds."""

_FIRST_YEAR_S, _LAST_YEAR_S = 631_152_000, 4_102_444_800  # 1990 and 2100 as seconds since 1970


def check_time_unit(unit: str) -> None:
    """UserError unless `unit` is one of NS_PER_UNIT, or "" for none."""
    if unit and unit not in NS_PER_UNIT:
        raise UserError(f"event time unit {unit!r}: give one of {', '.join(NS_PER_UNIT)}", "value-unknown")


def unit_of_epoch(times: np.ndarray) -> str:
    """Unit in which all of (N,) times lie between 1990 and 2100; "" where they count from another moment."""
    if not times.size or times.dtype.kind not in "iuf":
        return ""
    first, last = float(times.min()), float(times.max())
    for unit, ns in NS_PER_UNIT.items():
        per_second = NS_PER_UNIT["s"] / ns
        if _FIRST_YEAR_S * per_second <= first and last <= _LAST_YEAR_S * per_second:
            return unit
    return ""


def to_ns(path: Path, times: np.ndarray, unit: str) -> np.ndarray:
    """(N,) times in `unit` -> (N,) int64 nanoseconds.

    Raises:
        UserError: no unit, no numbers, NaN, or moments that 64 bits of nanoseconds do not reach.
    """
    if times.dtype.kind not in "iuf":
        raise UserError(f"{path}: t holds {times.dtype}, expected numbers", "file-content")
    unit = unit or unit_of_epoch(times)
    if not unit:
        raise UserError(
            f"{path}: nothing says the unit of t: give --event-time-unit ns, us, ms or s, or name it t_us",
            "event-time-unit",
        )
    ns, most = NS_PER_UNIT[unit], np.iinfo(np.int64).max
    if times.size and not -most / ns < float(times.min()) <= float(times.max()) < most / ns:  # also NaN
        raise UserError(
            f"{path}: t must be finite and below {most // ns} {unit}: is it in {unit}? Convert this array",
            "file-content",
        )
    if times.dtype.kind != "f":
        return times.astype(np.int64) * ns
    whole = np.floor(times)
    part = np.rint((times - whole) * ns)  # a double holds seconds since 1970 to 0.2 microseconds
    return whole.astype(np.int64) * ns + part.astype(np.int64)


def join_events(path: Path, x: np.ndarray, y: np.ndarray, t_ns: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Columns (N,) -> (N,) EVENT_DTYPE; p is 0 or 1, or -1 and 1, or a boolean.

    Raises:
        UserError: pixels that are no whole numbers of 16 bits, or another polarity: nothing wraps round silently.
    """
    events = np.empty(len(t_ns), EVENT_DTYPE)
    events["x"], events["y"], events["t"] = _pixels(path, "x", x), _pixels(path, "y", y), t_ns
    if p.dtype.kind not in "biuf":
        raise UserError(f"{path}: p holds {p.dtype}: polarity is 0 or 1, or -1 and 1", "file-content")
    events["p"] = np.where(p > 0, 1, -1)
    return events


def _pixels(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    most = np.iinfo(EVENT_DTYPE[name]).max
    is_whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.floor(values)).all()))
    if not is_whole or (values.size and not 0 <= values.min() <= values.max() <= most):
        raise UserError(f"{path}: {name} must be whole pixels in 0..{most}; convert this array", "file-content")
    return values
