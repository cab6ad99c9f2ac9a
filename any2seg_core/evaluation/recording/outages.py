"""Which frames of a recording lie in an outage, right after one, or where the sensors in use have just changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from any2seg_core.faults.kinds import Drop, Fault

OUTAGE, RECOVERY, SWITCH, UNTOUCHED = "outage", "first second after", "sensors changed", "otherwise"
WINDOWS = (OUTAGE, RECOVERY, SWITCH, UNTOUCHED)
"""In the order of reports; a frame can be in the third and in one of the others."""
RECOVERY_S = 1.0


class OutageWindows:
    """Sorts the frames of one recording, in their order.

    Args:
        faults: those that are injected; windows in which sensors are silent are the outages.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._outages = [fault for fault in faults if isinstance(fault, Drop) and fault.probability == 1.0]
        self._used: frozenset[str] | None = None

    def of(self, time_s: float, used: Collection[str]) -> tuple[str, ...]:
        """Windows of a frame; none without an outage.

        Args:
            time_s: from the start of the recording. used: sensors that were fused.
        """
        before, self._used = self._used, frozenset(used)
        if not self._outages:
            return ()
        switched = (SWITCH,) if before is not None and before != self._used else ()
        return (self._place(time_s), *switched)

    def _place(self, time_s: float) -> str:
        if any(fault.is_active(time_s) for fault in self._outages):
            return OUTAGE
        ends_s = [fault.end_s for fault in self._outages if fault.end_s is not None]
        return RECOVERY if any(end_s <= time_s < end_s + RECOVERY_S for end_s in ends_s) else UNTOUCHED
