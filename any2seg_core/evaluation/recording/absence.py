"""When each sensor was not fused, as far as the sets of a recording tell; those that are not evaluated tell a part."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Spans = dict[str, list[tuple[float, float]]]


class AbsenceLog:
    """Turns sets into spans of absence.

    A set that is skipped (`--every`) says which sensors it has samples of, not whether these can be used: that is as in
    the last evaluated set that had samples of the sensor, and for one that was in none as in the next.

    Args:
        sensors: names, in order.
    """

    def __init__(self, sensors: Sequence[str]) -> None:
        self._sensors = tuple(sensors)
        self._since_s: dict[str, float] = {}
        self._is_usable: dict[str, bool] = {}
        self._maybe_back_s: dict[str, float] = {}
        self._spans: Spans = {}
        self.has_begun = False
        """Whether a set was evaluated."""

    def evaluated(self, time_s: float, samples: Collection[str], used: Collection[str]) -> None:
        """A set at a time from the start of the recording: what it has samples of, and what was fused of it."""
        for name in self._sensors:
            back_s = self._maybe_back_s.pop(name, time_s)
            if name in used:
                self._end(name, back_s)
            else:
                self._since_s.setdefault(name, time_s if self.has_begun else 0.0)
            if name in samples:
                self._is_usable[name] = name in used
        self.has_begun = True

    def skipped(self, time_s: float, samples: Collection[str]) -> None:
        """A set that is not evaluated."""
        for name in self._sensors:
            if name not in samples:
                self._since_s.setdefault(name, time_s)
                self._maybe_back_s.pop(name, None)
            elif name not in self._is_usable:
                self._maybe_back_s.setdefault(name, time_s)
            elif self._is_usable[name]:
                self._end(name, time_s)

    def finish(self, end_s: float) -> Spans:
        """All spans, in seconds; what is absent at the end is so until `end_s`."""
        for name, since_s in list(self._since_s.items()):
            self._end(name, self._maybe_back_s.get(name, max(end_s, since_s)))
        return self._spans

    def _end(self, name: str, time_s: float) -> None:
        if name in self._since_s:
            self._spans.setdefault(name, []).append((self._since_s.pop(name), time_s))
