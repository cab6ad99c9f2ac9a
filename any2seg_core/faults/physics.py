"""The physics of sensor faults on arrays. The simulated drive applies them to light, recordings to 8-bit images."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.sensors.rigid import rigid, rotation_xyz

DISPLAY_GAMMA = 2.2
_SHAKE_DEG, _SHAKE_M, _POINT_M = 1.5, 0.15, 0.04
_SLICE_DEG, _LOWEST_DEG = 0.5, 90.0
_BEAM_NUMBERS = 4096


def smear(light: np.ndarray, length_px: int, slope_rad: float) -> np.ndarray:
    """Motion blur: linear light (H,W,C) float32 averaged along a straight line of `length_px` (odd) through each pixel.

    slope_rad: direction of the line against the image row.
    """
    half = length_px // 2
    kernel = np.zeros((length_px, length_px), np.uint8)
    reach = np.round(half * np.array([np.cos(slope_rad), np.sin(slope_rad)])).astype(int)
    cv2.line(kernel, (half - int(reach[0]), half - int(reach[1])), (half + int(reach[0]), half + int(reach[1])), 255, 1)
    weights = kernel.astype(np.float32)
    return cv2.filter2D(light, -1, weights / weights.sum(), borderType=cv2.BORDER_REPLICATE)


def smear_display(pixels: np.ndarray, length_px: int, slope_rad: float) -> np.ndarray:
    """`smear` on (H,W,C) uint8 display values: light is averaged, not its gamma-coded picture."""
    light = _light_of()[pixels]  # (H,W,C) float32
    smeared = smear(light, length_px, slope_rad).reshape(pixels.shape)
    return (np.clip(smeared, 0.0, 1.0) ** (1 / DISPLAY_GAMMA) * 255.0 + 0.5).astype(np.uint8)


def expose(pixels: np.ndarray, stops: float) -> np.ndarray:
    """uint8 display values of any shape as they were with 2**stops times the light: clipped above, crushed below."""
    exposed = np.clip(_light_of().astype(np.float64) * 2.0**stops, 0.0, 1.0)
    table = (exposed ** (1 / DISPLAY_GAMMA) * 255.0 + 0.5).astype(np.uint8)
    return table[pixels]


@lru_cache(maxsize=1)
def _light_of() -> np.ndarray:
    """(256,) float32: linear light 0..1 of a display value."""
    return (np.arange(256, dtype=np.float64) / 255.0).astype(np.float32) ** np.float32(DISPLAY_GAMMA)


def shake_points(points: np.ndarray, rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    """Shake a sweep (N,3+) float32: one random turn (sd 1.5 deg) and shift (sd 0.15 m) for all, 4 cm per point on top.

    scale multiplies all three.
    """
    turn, shift = rng.normal(0.0, scale * _SHAKE_DEG, 3), rng.normal(0.0, scale * _SHAKE_M, 3)
    shake = rigid(rotation_xyz(*turn), tuple(shift))
    shaken = points.copy()
    shaken[:, :3] = points[:, :3] @ shake[:3, :3].T.astype(np.float32) + shake[:3, 3].astype(np.float32)
    shaken[:, :3] += rng.standard_normal((len(points), 3), np.float32) * np.float32(scale * _POINT_M)
    return shaken


def lost_beams(points: np.ndarray, ring: np.ndarray | None, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which points belong to lost beams: (N,) bool.

    Args:
        points: (N,3+) x, y, z. ring: (N,) beam numbers; None: slices of 0.5 degrees of elevation stand in for beams, of
            azimuth where all points lie in one of them, as those of a radar or a flat scanner.
        share: expected share of beams that are lost; which ones depends on `rng` alone, never on the points.
    """
    is_lost = rng.random(_BEAM_NUMBERS) < share
    if ring is None:
        ring = _slices(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
        if (ring == ring[:1]).all():
            ring = _slices(np.arctan2(points[:, 1], points[:, 0]))
    return is_lost[ring.astype(np.int64) % _BEAM_NUMBERS]


def _slices(angle_rad: np.ndarray) -> np.ndarray:
    """Numbers of the slices that angles of -180 to 180 degrees lie in."""
    return np.floor((np.nan_to_num(np.degrees(angle_rad)) + _LOWEST_DEG) / _SLICE_DEG)


def smear_counts(counts: np.ndarray, length_px: int, slope_rad: float) -> np.ndarray:
    """`smear` on (H,W,C) counts, uint8 or uint16, which are linear already."""
    smeared = smear(counts.astype(np.float32), length_px, slope_rad).reshape(counts.shape)
    return np.rint(smeared).astype(counts.dtype)


def expose_counts(counts: np.ndarray, stops: float) -> np.ndarray:
    """2**stops times the counts, uint8 or uint16 of any shape, clipped at the largest."""
    most = np.iinfo(counts.dtype).max
    return np.rint(np.minimum(counts.astype(np.float64) * 2.0**stops, most)).astype(counts.dtype)


def background_activity(
    height: int, width: int, start_ns: int, end_ns: int, rate_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """Poisson background events (EVENT_DTYPE) of either polarity, uniform in space and time: v2e (Hu et al., 2021).

    rate_hz: per pixel. Not ordered by time.
    """
    count = int(rng.poisson(rate_hz * height * width * (end_ns - start_ns) * 1e-9))
    events = np.empty(count, EVENT_DTYPE)
    events["x"] = rng.integers(0, width, count)
    events["y"] = rng.integers(0, height, count)
    events["t"] = rng.integers(start_ns, end_ns, count)
    events["p"] = rng.integers(0, 2, count) * 2 - 1
    return events
