"""Noise on model input: the NM protocol of the DELIVER robustness benchmark (arXiv 2503.18445).

As its evaluation script has it, after normalisation: salt and pepper on every sensor, events included, then Gaussian
noise on all but events. The script draws single values (not pixels) with replacement, sets them to the largest value of
the image and then, drawn anew, others to the smallest, over all channels at once; so a value may be hit twice.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.metrics import as_array
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS


@dataclass(frozen=True)
class NoiseLevel:
    """Draws for salt and pepper together, as a share of all values, and standard deviation in normalised units."""

    salt_and_pepper: float
    sigma: float


NOISE_LEVELS = MappingProxyType(
    {"low": NoiseLevel(0.05, 0.1), "mid": NoiseLevel(0.1, 0.2), "high": NoiseLevel(0.2, 0.5)}
)


def noise_level(name: str) -> NoiseLevel:
    """Look a level up by name; UserError lists the known ones."""
    if name not in NOISE_LEVELS:
        raise UserError(f"unknown noise level {name!r}: known are {', '.join(NOISE_LEVELS)}", "value-unknown")
    return NOISE_LEVELS[name]


def add_noise(
    images: dict[str, Any], level: NoiseLevel, seed: int, stamp_ns: int, suite: SensorSuite = VEHICLE
) -> dict[str, Any]:
    """Noisy copies of all images.

    Args:
        images: per modality (B, 3, H, W) float32, tensor or array, normalised as the contract says.
        seed, stamp_ns: what is drawn depends on these two and the modality alone.
        suite: says which of them are events, which get no Gaussian noise.

    Returns:
        As the images: tensors on their devices, or arrays.
    """
    noisy = {}
    for name, image in images.items():
        own = level if suite.sensor(name).kind != EVENTS else replace(level, sigma=0.0)
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), stamp_ns])
        values = _noisy(as_array(image), own, rng)
        noisy[name] = image.new_tensor(values) if hasattr(image, "new_tensor") else values
    return noisy


def _noisy(image: np.ndarray, level: NoiseLevel, rng: np.random.Generator) -> np.ndarray:
    values = image.reshape(len(image), -1)  # (B, N), N = C * H * W
    drawn = int(np.ceil(level.salt_and_pepper * values.shape[1] / 2))
    noisy = values.copy()
    for extreme in (values.max(axis=1, keepdims=True), values.min(axis=1, keepdims=True)):  # salt, then pepper
        where = rng.integers(0, values.shape[1], (len(values), drawn))
        np.put_along_axis(noisy, where, extreme, axis=1)
    result = noisy.reshape(image.shape)  # (B, C, H, W)
    if level.sigma == 0.0:
        return result
    return result + np.float32(level.sigma) * rng.standard_normal(image.shape, np.float32)
