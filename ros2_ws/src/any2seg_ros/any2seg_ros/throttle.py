"""Each kind of trouble in the log once in a while, however often it happens."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable

LOG_PERIOD_S = 5.0
"""Each kind of trouble is told at most once in this time, where no parameter says otherwise."""

_MOST_KINDS = 256  # kinds may be made of what arrives


class Throttle:
    """Knows when each kind of trouble was told last; rclpy's own throttle knows it per line of code only.

    It remembers the last 256 kinds that were told.
    """

    def __init__(self) -> None:
        self._last_logged_s: dict[Hashable, float] = {}  # in the order in which they were told

    def is_due(self, trouble: Hashable, period_s: float = LOG_PERIOD_S) -> bool:
        """Whether this kind has not been told for ``period_s``; True counts as told. The clock is the steady one."""
        now_s = time.monotonic()
        if now_s - self._last_logged_s.get(trouble, -math.inf) < period_s:
            return False
        self._last_logged_s.pop(trouble, None)
        self._last_logged_s[trouble] = now_s
        if len(self._last_logged_s) > _MOST_KINDS:
            del self._last_logged_s[next(iter(self._last_logged_s))]
        return True
