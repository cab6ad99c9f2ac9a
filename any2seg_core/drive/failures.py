"""DELIVER's five sensor failures: motion blur, over- and under-exposure, LiDAR jitter, low-resolution events."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from any2seg_core.cases import FAILURES
from any2seg_core.drive.events import EventModel
from any2seg_core.drive.rig import rigid, rotation_xyz
from any2seg_core.errors import UserError


def checked_failure(name: str | None) -> str | None:
    """Return `name` if it is one of FAILURES or None; UserError otherwise."""
    if name is not None and name not in FAILURES:
        raise UserError(f"failure {name!r} is unknown; choose one of {', '.join(FAILURES)} or none")
    return name


def motion_blur(radiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smear linear radiance (H,W,3) along a mostly horizontal line of 4 to 8 % of the width: a shaken camera."""
    length = int(radiance.shape[1] * rng.uniform(0.04, 0.08)) | 1
    half, slope = length // 2, np.radians(rng.normal(0.0, 20.0))
    kernel = np.zeros((length, length), np.uint8)
    reach = np.round(half * np.array([np.cos(slope), np.sin(slope)])).astype(int)
    cv2.line(kernel, (half - int(reach[0]), half - int(reach[1])), (half + int(reach[0]), half + int(reach[1])), 255, 1)
    weights = kernel.astype(np.float32)
    return cv2.filter2D(radiance, -1, weights / weights.sum(), borderType=cv2.BORDER_REPLICATE)


def exposure_factor(failure: str | None, rng: np.random.Generator) -> float:
    """Return by how much a stuck exposure misses the right one: 1 without failure."""
    if failure == "overexposure":
        return float(rng.uniform(5.0, 9.0))
    if failure == "underexposure":
        return float(rng.uniform(0.03, 0.07))
    return 1.0


def jitter_lidar(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shake a sweep (N,4): one random rotation (sd 1.5 deg) and shift (sd 0.15 m) for all, 4 cm per point on top."""
    shake = rigid(rotation_xyz(*rng.normal(0.0, 1.5, 3)), tuple(rng.normal(0.0, 0.15, 3)))
    shaken = points.copy()
    shaken[:, :3] = points[:, :3] @ shake[:3, :3].T.astype(np.float32) + shake[:3, 3].astype(np.float32)
    shaken[:, :3] += rng.standard_normal((len(points), 3), np.float32) * np.float32(0.04)
    return shaken


def low_resolution(model: EventModel) -> EventModel:
    """Return an event camera of a quarter of the resolution; each coarse pixel answers for its 4x4 block.

    DELIVER enlarges its low-resolution events with nearest neighbours: the same picture.
    """
    return replace(model, block_px=4)
