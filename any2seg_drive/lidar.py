"""The LiDAR of the simulated drive: rays, return power, drop-outs and scatter in fog and rain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from any2seg_core.vocabulary.labels import DELIVER, IGNORE
from any2seg_drive.rig import LidarModel
from any2seg_drive.weather import Weather

if TYPE_CHECKING:
    from any2seg_drive.raycast import FrameScene

# A surface of 10 % reflectivity, hit squarely in clear air at 100 m, is seen half of the time.
_HALF_POWER = 0.1
_REFERENCE_RANGE_M = 100.0
_FLAT_GROUND = np.isin(np.arange(256), [DELIVER.id(name) for name in ("Road", "RoadLine", "SideWalk", "Ground")])


def _return_power(
    reflectivity: np.ndarray, cosine: np.ndarray, range_m: np.ndarray, weather: Weather
) -> tuple[np.ndarray, np.ndarray]:
    """Return (intensity, power), each (N,) float32: the range-corrected intensity 0..1 and the raw signal level."""
    two_way = np.exp(-2.0 * weather.lidar_extinction_per_m * range_m)
    intensity = reflectivity * cosine * two_way
    power = intensity * np.square(_REFERENCE_RANGE_M / np.maximum(range_m, 1.0))
    return intensity, power


def _scatter(
    range_m: np.ndarray, power: np.ndarray, model: LidarModel, weather: Weather, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (is_scatter (N,) bool, scatter_range_m (N,) float32): drops that answer before the surface does.

    Weak surface returns are replaced more often: the receiver reports the strongest echo.
    """
    scatter_range = model.min_range_m + rng.exponential(weather.scatter_range_m, range_m.shape).astype(np.float32)
    chance = weather.scatter_share * np.where(power < 4 * _HALF_POWER, 1.0, 0.25)
    is_scatter = (rng.random(range_m.shape, np.float32) < chance) & (scatter_range < range_m)
    return is_scatter & (scatter_range < model.max_range_m), scatter_range


def scan(
    frame: FrameScene, model: LidarModel, lidar_to_world: np.ndarray, weather: Weather, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sweep the LiDAR once.

    The sweep is instantaneous: all rays belong to the stamp of `frame` (no motion distortion).

    Args:
        frame: scene at one time; lidar_to_world: (4,4) float64.
        weather: sets extinction, scatter and surface wetness; rng: the only source of noise.

    Returns:
        points (N,4) float32, x y z in metres in the LiDAR frame and intensity 0..1, and labels (N,) uint8 train ids
        of DELIVER-25, 255 for echoes from fog and rain. Rays without a return are absent.
    """
    directions = model.directions()
    rotation = lidar_to_world[:3, :3].astype(np.float32)
    origins = np.broadcast_to(lidar_to_world[:3, 3].astype(np.float32), directions.shape)
    world_directions = np.ascontiguousarray(directions @ rotation.T)
    hits = frame.cast(np.ascontiguousarray(origins), world_directions)

    range_m = hits.distance_m.astype(np.float32)
    cosine = np.abs(np.einsum("nc,nc->n", hits.normal, world_directions))
    reflectivity = hits.reflectivity.astype(np.float32)
    if weather.wetness > 0:  # a water film mirrors the beam away at grazing incidence
        film = weather.wetness * _FLAT_GROUND[hits.class_id] * (1.0 - cosine)
        reflectivity = reflectivity * (1.0 - 0.8 * film)
    in_reach = np.isfinite(range_m) & (range_m >= model.min_range_m) & (range_m <= model.max_range_m)
    finite_range = np.where(in_reach, range_m, model.max_range_m)
    intensity, power = _return_power(reflectivity, cosine, finite_range, weather)

    detected = in_reach & (power * rng.lognormal(0.0, 0.35, power.shape) > _HALF_POWER)
    is_scatter, scatter_range = _scatter(finite_range, np.where(detected, power, 0.0), model, weather, rng)
    noise_m = rng.standard_normal(range_m.shape, np.float32) * (model.range_noise_m * weather.lidar_noise_factor)
    measured = np.where(is_scatter, scatter_range, finite_range + noise_m)
    scatter_intensity = rng.uniform(0.02, 0.12, range_m.shape)

    kept = detected | is_scatter
    points = np.empty((np.count_nonzero(kept), 4), np.float32)
    points[:, :3] = directions[kept] * measured[kept, None]
    points[:, 3] = np.clip(np.where(is_scatter, scatter_intensity, intensity)[kept], 0.0, 1.0)
    labels = np.where(is_scatter, IGNORE, hits.class_id)[kept].astype(np.uint8)
    return points, labels
