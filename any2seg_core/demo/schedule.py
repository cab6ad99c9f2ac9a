"""Schedule of a demonstration: which sensors are alive when, and in which weather the drive is rendered.

The simulated drive has the sensors of the suite vehicle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from any2seg_core.faults.kinds import Drop
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_core.vocabulary.subsets import parse_subset

DAY, NIGHT = "sunny", "night"
_PLAN = (
    ("all", "RDEL", DAY),
    ("no camera", "DEL", DAY),
    ("no LiDAR", "RDE", DAY),
    ("only depth and event", "DE", DAY),
    ("only LiDAR", "L", DAY),
    ("only event", "E", DAY),
    ("night with all", "RDEL", NIGHT),
    ("all again", "RDEL", DAY),
)


@dataclass(frozen=True)
class Phase:
    """An interval of the demonstration; seconds from the start of the recording, [start, end)."""

    name: str
    start_s: float
    end_s: float
    alive: tuple[str, ...]
    weather: str

    @property
    def dead(self) -> tuple[str, ...]:
        """Sensors that are taken away in this phase."""
        return tuple(name for name in VEHICLE.members if name not in self.alive)


def demo_phases(seconds_per_phase: float) -> list[Phase]:
    """The eight phases of the demonstration, one after the other."""
    return [
        Phase(name, index * seconds_per_phase, (index + 1) * seconds_per_phase, parse_subset(letters), weather)
        for index, (name, letters, weather) in enumerate(_PLAN)
    ]


def phase_at(phases: Sequence[Phase], time_s: float) -> Phase | None:
    """The phase that a time from the start of the recording falls into."""
    return next((phase for phase in phases if phase.start_s <= time_s < phase.end_s), None)


def segments(phases: Iterable[Phase]) -> list[tuple[float, str]]:
    """(duration in seconds, weather) of the recording that the phases need."""
    return [
        (sum(phase.end_s - phase.start_s for phase in group), weather)
        for weather, group in groupby(phases, key=lambda phase: phase.weather)
    ]


def outages(phases: Iterable[Phase]) -> tuple[Drop, ...]:
    """What has to be taken away, phase by phase."""
    return tuple(Drop(start_s=p.start_s, end_s=p.end_s, sensors=p.dead) for p in phases if p.dead)
