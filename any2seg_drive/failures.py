"""DELIVER's sensor failures: motion blur, over- and under-exposure, low-resolution events; jitter is `shake_points`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.faults.physics import smear
from any2seg_core.vocabulary.cases import FAILURES
from any2seg_drive.events import EventModel


def checked_failure(name: str | None) -> str | None:
    """Return `name` if it is one of FAILURES or None; UserError otherwise."""
    if name is not None and name not in FAILURES:
        raise UserError(f"failure {name!r} is unknown; choose one of {', '.join(FAILURES)} or none", "value-unknown")
    return name


def motion_blur(radiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smear linear radiance (H,W,3) along a mostly horizontal line of 4 to 8 % of the width: a shaken camera."""
    length = int(radiance.shape[1] * rng.uniform(0.04, 0.08)) | 1
    return smear(radiance, length, np.radians(rng.normal(0.0, 20.0)))


def exposure_factor(failure: str | None, rng: np.random.Generator) -> float:
    """Return by how much a stuck exposure misses the right one: 1 without failure."""
    if failure == "overexposure":
        return float(rng.uniform(5.0, 9.0))
    if failure == "underexposure":
        return float(rng.uniform(0.03, 0.07))
    return 1.0


def low_resolution(model: EventModel) -> EventModel:
    """Return an event camera of a quarter of the resolution; each coarse pixel answers for its 4x4 block.

    DELIVER enlarges its low-resolution events with nearest neighbours: the same picture.
    """
    return replace(model, block_px=4)
