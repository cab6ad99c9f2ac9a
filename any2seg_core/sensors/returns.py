"""Returns of a LiDAR: which points are some, and what intensity means 1; the same for messages and files."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled

NO_RETURN_M = 0.01
"""A point nearer to the LiDAR is none: drivers and simulators write a ray that met nothing as (0, 0, 0)."""
NO_RETURN_M2 = NO_RETURN_M**2

_LEAST_OF_INTEGERS = 255.0
_OVER_ONE = 1.5  # calibrated reflectances go a little over 1
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


@compiled(cache=True)
def _smallest_range(values):
    """Smallest of the ranges that holds (N,) values; 0 where none of them is above 0."""
    lit, over_one, over_byte, over_short = 0, 0, 0, 0
    for i in range(values.size):
        if 0.0 < values[i] < np.inf:
            lit += 1
            over_one += values[i] > _OVER_ONE
            over_byte += values[i] > 255.0
            over_short += values[i] > 65535.0
    if lit == 0:
        return 0.0
    strays = _STRAYS * lit
    if over_byte > strays:
        return 4294967295.0 if over_short > strays else 65535.0
    return 255.0 if over_one > strays else 1.0


@compiled(cache=True)
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


@compiled(cache=True)
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
