"""Returns of a LiDAR: which points are some, and what intensity means 1; the same for messages and files."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import read_only

NO_RETURN_M = 0.01
"""A point nearer to the LiDAR is none: drivers and simulators write a ray that met nothing as (0, 0, 0)."""
NO_RETURN_M2 = NO_RETURN_M**2

_LEAST_OF_INTEGERS = 255.0
_OVER_ONE = 1.5  # calibrated reflectances go a little over 1
_CHUNK = 512
_INFINITY = np.float32(np.inf)
_KERNEL: dict[str, Any] = {"cache": True, "nogil": True}
_STRAYS = 0.01  # share of brighter returns, off retroreflectors, that does not change the scale


class IntensityScale:
    """What means full intensity in one stream of clouds.

    Found with the first cloud that tells: the smallest of 0..1, 0..255 and the ranges of 16 and 32 bits that holds 99 %
    of the values above 0 (up to 1.5 counts as 0..1; unsigned integers begin with 0..255). Later clouds may only widen
    it, so that the same surface keeps its code whatever else is in view; `take_note` says when that happens.

    Args:
        intensity_max: the value that means 1; 0 finds it.

    Examples:
        >>> scale = IntensityScale()
        >>> shares = values / scale.full(values)
    """

    def __init__(self, intensity_max: float = 0.0) -> None:
        self._given = float(intensity_max)
        self._found = 0.0
        self._note = ""

    @property
    def found(self) -> float:
        """The value that means 1 as far as clouds have told; 0: none has, or it is given."""
        return self._found

    def full(self, values: np.ndarray, is_unsigned: bool = False) -> float:
        """The value that means 1, after a look at the next cloud: its intensities, (N,) float32, read-only.

        ``is_unsigned``: they were unsigned integers.
        """
        if self._given > 0.0:
            return self._given
        found = _smallest_range(values)
        if is_unsigned and found > 0.0:
            found = max(found, _LEAST_OF_INTEGERS)
        if found > self._found:
            if self._found:
                self._note = (
                    f"intensity is read as 0..{found:.0f} from now on, as 0..{self._found:.0f} before: brighter points "
                    "came; intensity_max fixes the scale"
                )
            self._found = found
        return self._found or 1.0

    def take_note(self) -> str:
        """What a user should know since the last call; "" for nothing."""
        note, self._note = self._note, ""
        return note


def shares_of_range(values: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Intensities in their unit, (N,) float32, as shares of their range: float32, 0 at its lower end, 1 at the upper.

    Not cut to 0..1; NaN stays.
    """
    low, high = value_range
    return ((values - np.float32(low)) / np.float32(high - low)).astype(np.float32, copy=False)


def require_shares(name: str, points: np.ndarray) -> None:
    """UserError for a cloud (N, 4) whose intensity is not 0..1; a wrong shape or dtype is told by the rig."""
    if points.ndim == 2 and points.shape[1] == 4 and points.dtype.kind == "f":
        full = IntensityScale().full(read_only(np.asarray(points[:, 3], np.float32)))
        if full > 1.0:
            raise UserError(
                f"{name}: intensity goes beyond 1: expected 0..1, divide it by what means 1, as {full:.0f}",
                "value-range",
            )


@compiled(**_KERNEL)
def _smallest_range(values):
    """Smallest of the ranges that holds (N,) values; 0 where none of them is above 0."""
    lit, over_one, over_byte, over_short = 0, 0, 0, 0
    part = np.empty(_CHUNK, np.float32)
    for start in range(0, values.size, _CHUNK):
        count = min(values.size - start, _CHUNK)
        for i in range(count):  # side by side, as vector instructions need them
            part[i] = values[start + i]
        counts = _count_above(part[:count])
        lit, over_one, over_byte, over_short = (
            lit + counts[0], over_one + counts[1], over_byte + counts[2], over_short + counts[3]
        )  # fmt: skip
    if lit == 0:
        return 0.0
    strays = _STRAYS * lit
    if over_byte > strays:
        return 4294967295.0 if over_short > strays else 65535.0
    return 255.0 if over_one > strays else 1.0


@compiled(**_KERNEL)
def _count_above(values):
    """How many of (N,) float32 are above 0, 1.5, 255 and 65535; infinity is not."""
    lit = over_one = over_byte = over_short = np.int32(0)
    for i in range(values.size):
        value = values[i] if values[i] < _INFINITY else np.float32(0.0)
        lit += np.int32(value > np.float32(0.0))
        over_one += np.int32(value > np.float32(_OVER_ONE))
        over_byte += np.int32(value > np.float32(255.0))
        over_short += np.int32(value > np.float32(65535.0))
    return lit, over_one, over_byte, over_short


@compiled(**_KERNEL)
def are_returns(points):
    """Whether each of points (4N,), x y z and share of intensity in turn, is one that `gather_returns` keeps as it is.

    Those are finite, not at the origin, and of an intensity of 0..1.
    """
    others = np.int32(0)
    for i in range(points.size // 4):
        x, y, z, share = points[4 * i], points[4 * i + 1], points[4 * i + 2], points[4 * i + 3]
        is_finite = (abs(x) < _INFINITY) & (abs(y) < _INFINITY) & (abs(z) < _INFINITY)
        is_share = (share >= np.float32(0.0)) & (share <= np.float32(1.0))
        others += np.int32(not (is_finite & is_share & (x * x + y * y + z * z >= NO_RETURN_M2)))
    return others == 0


@compiled(**_KERNEL)
def gather_returns(x, y, z, strength, full):
    """(N, 4) float32 rows of those points (N,) that are finite and not at the origin.

    The intensity is strength / full within 0..1, 0 where it is NaN; a `strength` of one item counts for all.
    """
    points = np.empty((x.size, 4), dtype=np.float32)
    count = 0
    for i in range(x.size):
        if not (np.isfinite(x[i]) and np.isfinite(y[i]) and np.isfinite(z[i])):
            continue
        if x[i] * x[i] + y[i] * y[i] + z[i] * z[i] < NO_RETURN_M2:
            continue
        share = strength[i if strength.size > 1 else 0] / full
        points[count, 0], points[count, 1], points[count, 2] = x[i], y[i], z[i]
        points[count, 3] = min(max(share, np.float32(0.0)), np.float32(1.0)) if share == share else np.float32(0.0)
        count += 1
    return points[:count]


@compiled(**_KERNEL)
def count_returns(points, enough):
    """How many of (N, 3 or 4) points are finite and not at the origin; counts no further than `enough`."""
    count = 0
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if NO_RETURN_M2 <= x * x + y * y + z * z < np.inf:
            count += 1
            if count >= enough:
                break
    return count
