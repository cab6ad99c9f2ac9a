"""Faults planted into the planes of training samples: what a sensor shows when it, or the weather, is bad."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from any2seg_core.faults import physics
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import COLOUR, DEPTH, EVENTS, GREY, IMAGE, POINTS, Sensor

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""plane (H, W, 3) uint8 or float32 0..255, severity above 0 and up to 1, random numbers -> a new plane."""

_FOG = 200.0  # display value of thick fog
_DARKEST_STOPS, _DARK_NOISE = 6.0, 15.0
_LONGEST_BLUR, _WIDEST_GLARE = 0.1, 0.5  # of the image's width and height
_STRONGEST_NOISE = 50.0  # standard deviation in display values
_MOST_LOST, _MOST_ADDED, _OLDEST_ZOOM = 0.95, 0.1, 0.4  # shares: of beams or pixels, of pixels, of the sides
_BEAMS, _HOLES = 64, 8


def _night(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    dark = physics.expose(_display(plane), -_DARKEST_STOPS * severity)
    return _display(dark + _gaussian(plane, _DARK_NOISE * severity, rng))


def _glare(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    height, width = plane.shape[:2]
    row, column, reach = rng.uniform(0, height), rng.uniform(0, width), severity * _WIDEST_GLARE * height
    down, across = (np.arange(height) - row)[:, None] / reach, (np.arange(width) - column)[None] / reach
    return _display(plane + 255.0 * np.exp(-0.5 * (down**2 + across**2)).astype(np.float32)[..., None])


def _fog(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Thickest from the middle of the picture upward, where things are far."""
    near = np.clip(np.linspace(-1.0, 1.0, len(plane), dtype=np.float32), 0.0, 1.0)[:, None, None]  # (H, 1, 1)
    clear = (1.0 - severity * rng.uniform(0.7, 0.95)) ** (1.0 - 0.7 * near)
    return _display(_FOG + clear * (plane - np.float32(_FOG)))


def _blur(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    length_px = int(severity * _LONGEST_BLUR * plane.shape[1]) | 1
    return physics.smear_display(_display(plane), max(length_px, 3), np.radians(rng.normal(0.0, 20.0)))


def _picture_noise(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    return _display(plane + _gaussian(plane, _STRONGEST_NOISE * severity, rng))


def _beams(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Rows of the picture stand in for beams."""
    is_lost = rng.random(_BEAMS) < _MOST_LOST * severity
    rows = np.arange(len(plane)) * _BEAMS // len(plane)
    return np.where(is_lost[rows][:, None, None], plane.dtype.type(0), plane)


def _thinned(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    is_lost = rng.random(plane.shape[:2], np.float32) < _MOST_LOST * severity
    return np.where(is_lost[..., None], plane.dtype.type(0), plane)


def _holes(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Depth is missing in blocks, as on wet, dark or shiny surfaces."""
    lost = (rng.random((_HOLES, _HOLES)) < _MOST_LOST * severity).astype(np.uint8)
    where = cv2.resize(lost, (plane.shape[1], plane.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.where(where[..., None] > 0, plane.dtype.type(0), plane)


def _background_events(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Single events at random pixels, as bright as those that are there."""
    added = plane.copy()
    where = rng.random(plane.shape[:2], np.float32) < _MOST_ADDED * severity
    added[where] = rng.integers(1, 256, (int(where.sum()), 3))
    return added


def _freeze(plane: np.ndarray, severity: float, rng: np.random.Generator, method: int) -> np.ndarray:
    """An older view: a part of the picture fills it all, so that nothing lies where the other sensors have it."""
    height, width = plane.shape[:2]
    rows, columns = (max(1, round(side * (1.0 - _OLDEST_ZOOM * severity))) for side in (height, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    return cv2.resize(plane[top : top + rows, left : left + columns], (width, height), interpolation=method)


def _frozen(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    return _freeze(plane, severity, rng, cv2.INTER_LINEAR)


def _frozen_sparse(plane: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    return _freeze(plane, severity, rng, cv2.INTER_NEAREST_EXACT)


def _gaussian(plane: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.float32(sigma) * rng.standard_normal(plane.shape, np.float32)


def _display(values: np.ndarray) -> np.ndarray:
    """Values of any type as uint8 0..255."""
    return values if values.dtype == np.uint8 else np.clip(np.rint(values), 0, 255).astype(np.uint8)


_OF_PICTURES: dict[str, Change] = {
    "night": _night, "glare": _glare, "fog": _fog, "blur": _blur, "noise": _picture_noise
}  # fmt: skip
_OF_KINDS: Mapping[str, Mapping[str, Change]] = MappingProxyType(
    {
        IMAGE: {"freeze": _frozen},
        DEPTH: {"fog": _holes, "freeze": _frozen},
        EVENTS: {"noise": _background_events, "freeze": _frozen_sparse},
        POINTS: {"beams": _beams, "fog": _thinned, "freeze": _frozen_sparse},
    }
)
PLANE_FAULTS = ("night", "glare", "fog", "blur", "noise", "beams", "freeze")
"""Faults that can be planted; a sensor has those that its kind knows."""


def plane_faults(sensor: Sensor) -> dict[str, Change]:
    """Name -> what it does to a plane (H, W, 3) uint8 of this sensor; pictures that are no display values have few."""
    pictures = _OF_PICTURES if sensor.format in (COLOUR, GREY) else {}
    return {**pictures, **_OF_KINDS[sensor.kind]}


class DegradationConfig(BaseModel):
    """Faults planted into training samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    probability: float = Field(0.0, ge=0, le=1, description="of a sample to have a sensor with a fault; 0: none has")
    further: float = Field(0.3, ge=0, le=1, description="of each further sensor of such a sample to have one too")
    severity: tuple[float, float] = Field((0.2, 1.0), description="drawn evenly between these; above 0, up to 1")
    kinds: tuple[str, ...] = Field(PLANE_FAULTS, min_length=1, description="which faults can be drawn")

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [kind for kind in kinds if kind not in PLANE_FAULTS]:
            raise ValueError(f"unknown fault {unknown[0]!r}: known are {', '.join(PLANE_FAULTS)}")
        return kinds

    @model_validator(mode="after")
    def _rising(self) -> DegradationConfig:
        if not 0 < self.severity[0] <= self.severity[1] <= 1:
            raise ValueError(f"severity must be 0 < least <= most <= 1, got {self.severity}")
        return self


class Degradation:
    """Plants faults into the planes of a sample.

    Args:
        config: how often, how many and which. suite: says of which kind a plane is.
    """

    def __init__(self, config: DegradationConfig, suite: SensorSuite = VEHICLE) -> None:
        self.config = config
        able = {sensor.name: plane_faults(sensor) for sensor in suite.sensors}
        self._changes = {
            name: [change for kind, change in changes.items() if kind in config.kinds] for name, changes in able.items()
        }

    def __call__(self, planes: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """planes (H, W, 3) uint8 or float32 0..255 -> the same, or with new ones for sensors that have a fault."""
        able = [name for name in planes if self._changes[name]]
        if not able or rng.random() >= self.config.probability:
            return planes
        order = rng.permutation(len(able))
        hit = [able[number] for place, number in enumerate(order) if place == 0 or rng.random() < self.config.further]
        return planes | {name: self._changed(name, planes[name], rng) for name in hit}

    def _changed(self, name: str, plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        change = self._changes[name][int(rng.integers(len(self._changes[name])))]
        severity = float(rng.uniform(*self.config.severity))
        return change(plane, severity, rng).astype(plane.dtype, copy=False)
