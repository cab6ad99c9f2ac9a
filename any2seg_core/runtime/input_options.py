"""InputOptions: how the messages of a set are read, for the node and for recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.health_config import HealthConfig

_PLAIN_OPTIONS = ("intensity_max", "check_frames", "rectified", "image_bits")


@dataclass(frozen=True)
class InputOptions:
    """How messages are read.

    Attributes:
        intensity_max: LiDAR intensity that means 1; 0 finds it per stream (see `IntensityScale`).
        check_frames: a message whose frame_id is not that of its camera's intrinsics, or of its LiDAR's pose in the
            calibration, is left out.
        rectified: images are rectified: camera_info's P holds, not its K and D.
        image_bits: significant bits of 16-bit camera images; 0 finds them per stream (see `PixelBits`).
        health: when a sensor that sends well-formed messages counts as ill.
    """

    intensity_max: float = 0.0
    check_frames: bool = True
    rectified: bool = False
    image_bits: int = 0
    health: HealthConfig = field(default_factory=HealthConfig)


INPUT_OPTION_NAMES = (*_PLAIN_OPTIONS, *(f"health.{entry.name}" for entry in fields(HealthConfig)))
"""The node's parameters that `input_options` reads."""


def input_options(parameters: Mapping[str, Any]) -> InputOptions:
    """Options from the node's parameters by name (``intensity_max``, ``health.min_points`` ...); others are ignored.

    Raises:
        UserError: a value of another type than its default.
    """
    defaults: dict[str, Any] = {name: getattr(InputOptions(), name) for name in _PLAIN_OPTIONS}
    defaults.update({f"health.{entry.name}": getattr(HealthConfig(), entry.name) for entry in fields(HealthConfig)})
    values = {}
    for name, default in defaults.items():
        value = parameters.get(name, default)
        kinds = {float: (int, float), tuple: (list, tuple)}.get(type(default), (type(default),))
        if type(value) not in kinds:
            raise UserError(f"parameter {name} is {value!r}: expected {type(default).__name__}", "value-type")
        values[name] = type(default)(value)
    health = HealthConfig(**{name.partition(".")[2]: values[name] for name in values if name.startswith("health.")})
    return InputOptions(**{name: values[name] for name in _PLAIN_OPTIONS}, health=health)
