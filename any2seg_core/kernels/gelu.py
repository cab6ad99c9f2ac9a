"""GELU, written so that a loop over it becomes vector instructions; NaN stays NaN."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.kernels.running import KERNEL

_ONE_SUM = KERNEL | {"fastmath": {"contract", "nsz"}}  # additions in the order written: they round on purpose
_REACH = np.float32(5.5)  # beyond it the normal distribution is 0 or 1 to 2e-8
_BELOW_HALF = np.float32(0.49999997)  # what the quotient reaches there, so that the distribution ends in 0
_UPPER = tuple(np.float32(c) for c in (
    3.989422346587086e-1, 3.385243041743798e-2, 4.677245478165153e-3, 1.6882315701144206e-4, 6.352072646851151e-6,
    2.2749411898278423e-8,
))  # fmt: skip
_LOWER = tuple(np.float32(c) for c in (
    1.0, 2.51521378031389e-1, 2.8645742784987886e-2, 1.8844309681242278e-3, 7.36465405727759e-5, 1.1975018702280227e-6
))  # erf(x / sqrt(2)) / (2 x) as a quotient in x^2, least squares weighted towards equal errors, to 8e-9  # fmt: skip


@compiled(**_ONE_SUM)
def gelu(x):
    """x times the normal distribution at x, float32, to 2.5e-7 of x."""
    t = -_REACH if x < -_REACH else x
    t = _REACH if t > _REACH else t
    u = t * t
    p, q = _UPPER, _LOWER
    upper = ((((p[5] * u + p[4]) * u + p[3]) * u + p[2]) * u + p[1]) * u + p[0]
    lower = ((((q[5] * u + q[4]) * u + q[3]) * u + q[2]) * u + q[1]) * u + q[0]
    share = _BELOW_HALF + t * (upper / lower)
    return x * (np.float32(0.0) if share < 0 else share)
