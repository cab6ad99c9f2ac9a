"""Noise on model input: the NM protocol of the DELIVER robustness benchmark (arXiv 2503.18445).

Salt and pepper first, then Gaussian noise, both after normalisation, on camera, depth and LiDAR; events stay clean.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from any2seg_core.contract import InputContract
from any2seg_core.errors import UserError

NOISY = ("rgb", "depth", "lidar")
"""Modalities that get the noise."""


@dataclass(frozen=True)
class NoiseLevel:
    """Share of pixels that turn to the largest or smallest value, and standard deviation in normalised units."""

    salt_and_pepper: float
    sigma: float


NOISE_LEVELS = MappingProxyType(
    {"low": NoiseLevel(0.05, 0.1), "mid": NoiseLevel(0.1, 0.2), "high": NoiseLevel(0.2, 0.5)}
)


def noise_level(name: str) -> NoiseLevel:
    """Look a level up by name; UserError lists the known ones."""
    if name not in NOISE_LEVELS:
        raise UserError(f"unknown noise level {name!r}: known are {', '.join(NOISE_LEVELS)}")
    return NOISE_LEVELS[name]


def add_noise(
    images: dict[str, Tensor], level: NoiseLevel, contract: InputContract, seed: int, stamp_ns: int
) -> dict[str, Tensor]:
    """Noisy copies of NOISY modalities; the others as they are.

    Args:
        images: per modality (B, 3, H, W) float32, normalised as the contract says.
        seed, stamp_ns: what is drawn depends on these two and the modality alone.
    """
    return {
        name: _noisy(image, level, contract, np.random.default_rng([seed, zlib.crc32(name.encode()), stamp_ns]), name)
        if name in NOISY
        else image
        for name, image in images.items()
    }


def _noisy(image: Tensor, level: NoiseLevel, contract: InputContract, rng: np.random.Generator, name: str) -> Tensor:
    statistics = contract.normalisation[name]
    mean = torch.tensor(statistics.mean, device=image.device).view(1, 3, 1, 1)  # (1, C, 1, 1)
    std = torch.tensor(statistics.std, device=image.device).view(1, 3, 1, 1)  # (1, C, 1, 1)
    B, _, H, W = image.shape
    draw = torch.from_numpy(rng.random((B, 1, H, W), np.float32)).to(image.device)  # one draw per pixel
    gaussian = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32)).to(image.device)
    half = level.salt_and_pepper / 2
    image = torch.where(draw < half, (1.0 - mean) / std, image)
    image = torch.where(draw >= 1.0 - half, -mean / std, image)
    return image + level.sigma * gaussian
