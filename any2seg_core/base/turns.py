"""How long work takes, measured in turns: a busy moment of the machine then meets all that is compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Clock = Callable[[], float]
_CLOCKS: tuple[Clock, Clock] = (time.process_time, time.perf_counter)


@dataclass(frozen=True)
class Ratio:
    """One time over another, taken within each turn: median, least and largest."""

    median: float
    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.largest:.2f})"


@dataclass(frozen=True)
class Times:
    """Seconds of each turn, as many of both.

    Attributes:
        cpu_s: of the processor, all threads of this process. wall_s: by the clock.
    """

    cpu_s: tuple[float, ...]
    wall_s: tuple[float, ...]

    @property
    def spread(self) -> float:
        """How much longer the median turn took than the shortest, share of the shortest: 0 on a quiet machine."""
        least_s = min(self.cpu_s)
        return statistics.median(self.cpu_s) / least_s - 1.0 if least_s > 0 else 0.0

    @property
    def waiting(self) -> float:
        """Time by the clock over processor time: above 1 a single thread waited, for others or for a device."""
        return sum(self.wall_s) / max(sum(self.cpu_s), 1e-9)


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """One over the other, turn by turn."""
    found = [one / max(other, 1e-9) for one, other in zip(numerator, denominator, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def in_turns(
    works: Mapping[str, Callable[[], object]],
    turns: int,
    warm_up: int = 1,
    before: Callable[[], object] | None = None,
    clocks: tuple[Clock, Clock] = _CLOCKS,
) -> dict[str, Times]:
    """Time several works, one call of each per turn.

    Args:
        works: name -> what is timed. turns: at least 1. warm_up: turns before those that count.
        before: is called before each work, and not timed. clocks: of the processor, and of the wall.
    """
    cpu, wall = clocks
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in range(warm_up + turns):
        for name, work in works.items():
            if before is not None:
                before()
            start = cpu(), wall()
            work()
            seconds = cpu() - start[0], wall() - start[1]
            if turn >= warm_up:
                taken[name].append(seconds)
    return {name: Times(*zip(*seconds, strict=True)) for name, seconds in taken.items()}
