"""When a sensor counts as ill: the thresholds, without what measures them, so that launch files read them quickly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import IMAGE, POINTS
from any2seg_core.vocabulary.subsets import parse_suite


@dataclass(frozen=True)
class HealthConfig:
    """When a sensor counts as ill. 0 switches a check off.

    Attributes:
        enabled: False switches everything off.
        black_level: camera; black when 99 % of the pixels have no channel above this (0..255). A street at night with
            lamps or headlights has its brightest percent at 100 and more, a covered lens at its noise.
        saturated_share: camera; saturated when this share of the pixels has all channels at 250 or more.
        frozen_frames: so many messages in a row with the bytes of one of the four before. A real sensor's noise never
            repeats, not even while the car stands.
        frozen_sensors: names of the sensors that are checked for it; `of` gives those of any suite. A simulated depth
            camera repeats itself exactly before a standing car, so it is left out.
        min_depth_share: depth; least share of pixels with a depth (finite, > 0, < 999 m).
        min_points: LiDAR; least number of points of a cloud, without those at the origin. Fog and rain leave thousands.
            A radar, whose suite says a range of its intensity, needs one.
        max_event_rate_hz: events per pixel and second, averaged over sensor and window. Busy scenes stay below 20.
        event_silence_s: messages come and are looked at, but not one event for so long; the time begins anew when
            nobody looked for half of it. Simulated event cameras have no noise: set 0 if the car stands for long.
    """

    enabled: bool = True
    black_level: int = 8
    saturated_share: float = 0.9
    frozen_frames: int = 50
    frozen_sensors: tuple[str, ...] = (VEHICLE.camera,)
    min_depth_share: float = 0.001
    min_points: int = 20
    max_event_rate_hz: float = 100.0
    event_silence_s: float = 10.0

    @classmethod
    def of(cls, values: Mapping[str, Any], suite: SensorSuite = VEHICLE) -> HealthConfig:
        """Thresholds by name; sensors as people write them (`parse_suite`), by default images and radars of the suite.

        UserError for a sensor that is not in it, or a value out of its range.
        """
        frozen = values.get("frozen_sensors")
        names = frozen_by_default(suite) if frozen is None else parse_suite(frozen, suite)
        return cls(**{**values, "frozen_sensors": names})

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if part.name not in ("enabled", "frozen_sensors") and not value >= 0:
                raise UserError(
                    f"health: {part.name} must not be negative (0 switches the check off), got {value}", "value-range"
                )
        for name, largest in (("black_level", 255), ("saturated_share", 1.0), ("min_depth_share", 1.0)):
            if getattr(self, name) > largest:
                raise UserError(f"health: {name} must be at most {largest}, got {getattr(self, name)}", "value-range")


def frozen_by_default(suite: SensorSuite) -> tuple[str, ...]:
    """Sensors whose noise never repeats: images, and radars, which have a range of their intensity."""
    radars = [each.name for each in suite.sensors if each.kind == POINTS and each.value_range is not None]
    return suite.canonical([*suite.of_kind(IMAGE), *radars])
