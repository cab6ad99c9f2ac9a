"""Schedule of a demonstration: which sensors are alive when, and in which weather the drive is rendered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from any2seg_core.errors import UserError
from any2seg_core.modalities import MODALITIES, canonical, parse_subset

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


class Outage(BaseModel):
    """Sensors that are silent for a while; seconds from the start of the recording, [start, end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    start_s: float
    end_s: float
    sensors: tuple[str, ...]


_OUTAGES = TypeAdapter(tuple[Outage, ...])


@dataclass(frozen=True)
class Phase:
    """A stretch of the demonstration; seconds from the start of the recording, [start, end)."""

    name: str
    start_s: float
    end_s: float
    alive: tuple[str, ...]
    weather: str

    @property
    def dead(self) -> tuple[str, ...]:
        """Sensors that are taken away in this phase."""
        return tuple(name for name in MODALITIES if name not in self.alive)


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


def outages(phases: Iterable[Phase]) -> tuple[Outage, ...]:
    """What has to be taken away, phase by phase."""
    return tuple(Outage(start_s=p.start_s, end_s=p.end_s, sensors=p.dead) for p in phases if p.dead)


def save_outages(path: Path, plan: Sequence[Outage]) -> None:
    """Write a schedule as JSON."""
    path.write_bytes(_OUTAGES.dump_json(tuple(plan), indent=1))


def load_outages(path: Path) -> tuple[Outage, ...]:
    """Read a schedule; UserError names the file and the defect."""
    try:
        plan = _OUTAGES.validate_json(path.read_bytes())
        for outage in plan:
            canonical(outage.sensors)
    except OSError as error:
        raise UserError(f"{path}: cannot read the schedule ({error.strerror}); check the path") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: schedule, {where or 'file'}: {first['msg']}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return plan


def is_silent(plan: Sequence[Outage], sensor: str, time_s: float) -> bool:
    """Whether a sensor is taken away at a time from the start of the recording."""
    return any(sensor in outage.sensors and outage.start_s <= time_s < outage.end_s for outage in plan)
