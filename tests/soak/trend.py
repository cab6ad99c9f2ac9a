"""Does a measured value grow? A straight line through its curve, with the error of its slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SETTLING_SHARE = 0.2  # of the curve, left out: buffers get their size there


@dataclass(frozen=True)
class Trend:
    """A fitted line.

    Attributes:
        first, last: mean of the first and of the last tenth of what was fitted. slope: per unit of x.
        error: standard error of the slope, of points that depend on the one before them.
        bound: a slope below it counts as flat.
    """

    name: str
    first: float
    last: float
    slope: float
    error: float
    bound: float

    @property
    def is_flat(self) -> bool:
        """No growth: the slope is below its bound, or not more than two standard errors above 0."""
        return self.slope <= max(self.bound, 2.0 * self.error)


def independent_points(rest: np.ndarray) -> float:
    """How many independent points these residuals are worth: n (1 - r) / (1 + r), r: correlation with the next one.

    Santer et al. 2000, "Statistical significance of trends and trend differences in layer-average atmospheric
    temperature time series", eq. 6. Memory goes in steps: one step would otherwise pass for a slope that is certain.
    """
    if len(rest) < 3 or np.ptp(rest) == 0.0:
        return float(len(rest))
    r = max(float(np.corrcoef(rest[:-1], rest[1:])[0, 1]), 0.0)
    return len(rest) * (1.0 - r) / (1.0 + r)


def trend(name: str, x: Sequence[float], y: Sequence[float], bound: float) -> Trend:
    """Least squares through the curve without its first fifth.

    Args:
        x, y: at least five points. bound: slope that counts as flat, units of y per unit of x.
    """
    if len(x) < 5:
        raise ValueError(f"{name}: {len(x)} points are too few for a slope")
    begin = math.ceil(SETTLING_SHARE * len(x))
    x, y = np.asarray(x[begin:], float), np.asarray(y[begin:], float)
    own = x - x.mean()
    spread = float(own @ own)
    slope = float(own @ y) / spread
    rest = y - y.mean() - slope * own
    error = math.sqrt(float(rest @ rest) / max(independent_points(rest) - 2.0, 1.0) / spread)
    tenth = max(len(x) // 10, 1)
    return Trend(name, float(y[:tenth].mean()), float(y[-tenth:].mean()), slope, error, bound)
