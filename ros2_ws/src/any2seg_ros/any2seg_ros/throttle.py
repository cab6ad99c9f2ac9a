"""Each kind of trouble in the log once in a while, however often it happens."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable


class Throttle:
    """Knows when each kind of trouble was told last; rclpy's own throttle knows it per line of code only."""

    def __init__(self) -> None:
        self._told_s: dict[Hashable, float] = {}

    def is_due(self, trouble: Hashable, period_s: float) -> bool:
        """Whether this kind has not been told for ``period_s``; True counts as told. The clock is the steady one."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(trouble, -math.inf) < period_s:
            return False
        self._told_s[trouble] = now_s
        return True
