"""InputOptions: how the messages of a set are read, for the node and for recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite


def _option(default: Any, description: str, low: float | None = None, high: float | None = None) -> Any:
    """A field that is a parameter of the node too: with its text, and the inclusive range of a number."""
    return field(default=default, metadata={"description": description, "low": low, "high": high})


@dataclass(frozen=True)
class InputOptions:
    """How messages are read; the node's parameters of these names are made of it.

    Attributes:
        intensity_max: see `IntensityScale`. image_bits: see `PixelBits`.
        check_frames: the LiDAR's is compared with its pose in the calibration, the others with their intrinsics.
        health: when a sensor that sends well-formed messages counts as ill.
    """

    intensity_max: float = _option(0.0, "Value of the LiDAR's intensity that means 1; 0: found per stream.", 0.0, 1e6)
    check_frames: bool = _option(True, "Leave out images and clouds whose frame_id is not that of their calibration.")
    rectified: bool = _option(False, "Images are rectified: use P of camera_info; false: K and the distortion.")
    image_bits: int = _option(
        0, "Significant bits of 16-bit camera images, 8 to 16; 0: found per stream.", 0, 16
    )
    health: HealthConfig = field(default_factory=HealthConfig)


_PLAIN = MappingProxyType({entry.name: entry for entry in fields(InputOptions) if entry.metadata})
INPUT_OPTION_NAMES = (*_PLAIN, *(f"health.{entry.name}" for entry in fields(HealthConfig)))
"""The node's parameters that `input_options` reads."""


def input_options(parameters: Mapping[str, Any], suite: SensorSuite = VEHICLE) -> InputOptions:
    """Options from the node's parameters by name (``intensity_max``, ``health.min_points`` ...); others are ignored.

    Raises:
        UserError: a value of another type than its default, outside its range, or a sensor that is not in the suite.
    """
    defaults: dict[str, Any] = {name: entry.default for name, entry in _PLAIN.items()}
    own = HealthConfig.of({}, suite)
    defaults.update({f"health.{entry.name}": getattr(own, entry.name) for entry in fields(HealthConfig)})
    values = {}
    for name, default in defaults.items():
        value = parameters.get(name, default)
        kinds = {float: (int, float), tuple: (list, tuple)}.get(type(default), (type(default),))
        if type(value) not in kinds:
            raise UserError(f"parameter {name} is {value!r}: expected {type(default).__name__}", "value-type")
        low, high = (_PLAIN[name].metadata[side] if name in _PLAIN else None for side in ("low", "high"))
        if low is not None and not low <= value <= high:
            raise UserError(f"parameter {name} is {value}: must lie in {low:g} to {high:g}", "value-range")
        values[name] = type(default)(value)
    health = {name.partition(".")[2]: values[name] for name in values if name.startswith("health.")}
    return InputOptions(**{name: values[name] for name in _PLAIN}, health=HealthConfig.of(health, suite))
