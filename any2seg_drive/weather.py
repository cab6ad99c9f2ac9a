"""The five weathers of the drive: what each does to light, to the RGB camera, to depth, LiDAR and events.

A `Weather` is drawn once per drive (visibility, rain rate, sun position vary). Fog follows Koschmieder's law
(extinction = 3.912 / meteorological visibility). Image effects act on linear radiance before the tone curve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_drive.camera import Lighting

FOLDERS = {"cloudy": "cloud", "foggy": "fog", "night": "night", "rainy": "rain", "sunny": "sun"}
"""Weather name -> DELIVER's folder name."""

_CLEAR_VISIBILITY_M = 20_000.0
_KOSCHMIEDER = 3.912
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_DEPTH_PATCH_PX = 2.5
FAR_M = 1000.0
"""Depth of the sky and of everything that the depth camera cannot measure, as CARLA sends it."""


@dataclass(frozen=True)
class Weather:
    """State of the atmosphere and of the light during one drive.

    Lengths in metres, rates in mm/h, `sun_direction` a unit vector towards the sun (world, z up). `max_gain` is the
    largest amplification the camera's automatic exposure may use; `key` the mean grey it aims at.
    """

    name: str
    sun_direction: tuple[float, float, float]
    visibility_m: float = _CLEAR_VISIBILITY_M
    rain_mm_h: float = 0.0
    wetness: float = 0.0
    glare: float = 0.0
    key: float = 0.18
    max_gain: float = 4.0
    noise: float = 1.0
    event_noise_hz: float = 0.15
    depth_range_m: float = 80.0
    depth_noise_factor: float = 1.0
    depth_hole_share: float = 0.002
    lidar_extinction_per_m: float = 0.0002
    lidar_noise_factor: float = 1.0
    scatter_share: float = 0.0
    scatter_range_m: float = 4.0

    @property
    def extinction_per_m(self) -> float:
        return _KOSCHMIEDER / self.visibility_m


def _sun(rng: np.random.Generator, low_deg: float, high_deg: float) -> tuple[float, float, float]:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(low_deg, high_deg))
    east, north = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    return float(east), float(north), float(np.sin(elevation))


def _grey(value: float, blue: float = 1.05) -> tuple[float, float, float]:
    return value * 0.97, value, value * blue


def lighting_of(weather: Weather, seed: int) -> Lighting:
    """Return the light of a drive in this weather; brightness and clouds vary with the seed."""
    rng = np.random.default_rng([seed, 0x116, list(FOLDERS).index(weather.name)])
    light = Lighting(
        sun_direction=weather.sun_direction, cloud_seed=int(rng.integers(1000)), wetness=weather.wetness
    )  # fmt: skip
    level = float(rng.uniform(0.8, 1.2))
    if weather.name == "sunny":
        low = float(1.0 - weather.sun_direction[2])
        colour = 1.0, 0.95 - 0.14 * low, 0.86 - 0.34 * low
        cover = float(rng.uniform(0.0, 0.45))
        return replace(light, sun_colour=colour, sun_strength=2.5 * level, cloud_cover=cover)
    if weather.name == "night":
        return replace(
            light, sun_strength=0.0, sky_zenith=_grey(0.003, 2.0), sky_horizon=_grey(0.009 * level, 1.4),
            ambient=0.6, cloud_cover=0.4, cloud_colour=_grey(0.006, 1.3), headlight_strength=24.0 * level,
            lamp_strength=5.0 * level, glow=0.8,
        )  # fmt: skip
    sky, glow = {"cloudy": (0.80, 0.15), "foggy": (0.75, 0.3), "rainy": (0.45, 0.4)}[weather.name]
    sky *= level
    return replace(
        light, sun_strength=0.0, sky_zenith=_grey(0.8 * sky), sky_horizon=_grey(sky), ambient=1.1, cloud_cover=1.0,
        cloud_colour=_grey(sky), glow=glow,
    )  # fmt: skip


def airlight(lighting: Lighting) -> np.ndarray:
    """Return the colour that fog and rain take from the sky, (3,) float32 linear RGB."""
    horizon, clouds = np.array(lighting.sky_horizon), np.array(lighting.cloud_colour)
    return (horizon + (clouds - horizon) * lighting.cloud_cover).astype(np.float32)


def draw_weather(name: str, seed: int) -> Weather:
    """Return the weather of one drive; the same name and seed give the same weather.

    Raises:
        UserError: unknown name.
    """
    if name not in FOLDERS:
        raise UserError(f"weather {name!r} is unknown; choose one of {', '.join(FOLDERS)}", "value-unknown")
    rng = np.random.default_rng([seed, 0x3EA, list(FOLDERS).index(name)])
    if name == "sunny":
        return Weather(name, _sun(rng, 12, 50), visibility_m=8000.0, glare=float(rng.uniform(0.6, 1.2)))
    if name == "cloudy":
        return Weather(name, _sun(rng, 30, 65), visibility_m=6000.0)
    if name == "foggy":
        visibility = float(rng.uniform(22, 55))
        return Weather(
            name, _sun(rng, 30, 65), visibility_m=visibility, wetness=0.3, depth_range_m=1.1 * visibility,
            depth_noise_factor=2.0, depth_hole_share=0.02, lidar_extinction_per_m=3.0 / visibility,
            lidar_noise_factor=1.5, scatter_share=0.10, scatter_range_m=3.5,
        )  # fmt: skip
    if name == "rainy":
        rate = float(rng.uniform(15, 50))
        return Weather(
            name, _sun(rng, 30, 65), visibility_m=6000.0 / rate, rain_mm_h=rate, wetness=1.0, noise=1.5,
            event_noise_hz=0.4, depth_noise_factor=1.5, depth_hole_share=0.01, depth_range_m=70.0,
            lidar_extinction_per_m=0.01 * (rate / 25) ** 0.6, lidar_noise_factor=2.5, scatter_share=0.03 * rate / 25,
            scatter_range_m=6.0,
        )  # fmt: skip
    return Weather(
        name, _sun(rng, 15, 60), visibility_m=8000.0, key=0.045, max_gain=16.0, noise=6.0, event_noise_hz=1.5,
        depth_noise_factor=1.2, depth_hole_share=0.01,
    )  # fmt: skip


def through_air(
    radiance: np.ndarray, range_m: np.ndarray, airlight: np.ndarray | float, weather: Weather
) -> np.ndarray:
    """Attenuate radiance (H,W) or (H,W,3) over range (H,W) metres and add the light of the air itself.

    Koschmieder's law L = L0 t + A (1 - t), t = exp(-extinction * range); what is left of L0 is blurred as the fog
    thickens (forward scattering).
    """
    if weather.visibility_m > 2000.0:
        return radiance
    transmission = np.exp(-weather.extinction_per_m * range_m)
    transmission = transmission[..., None] if radiance.ndim == 3 else transmission
    scattered = cv2.GaussianBlur(radiance, (0, 0), radiance.shape[1] / 140.0)
    direct = radiance + (scattered - radiance) * (1.0 - transmission)
    return direct * transmission + airlight * (1.0 - transmission)


def rain_streaks(height: int, width: int, weather: Weather, exposure_s: float, rng: np.random.Generator) -> np.ndarray:
    """Return how much of each pixel is covered by falling drops, (H,W) float32 0..1.

    Drops fall at about 8 m/s; near drops draw long, wide, faint lines, far ones short and many.
    """
    cover = np.zeros((height, width), np.uint8)
    for share, distance_m, thickness, strength in ((1.0, 0.5, 2, 50), (4.0, 1.2, 1, 90), (8.0, 3.0, 1, 60)):
        count = int(rng.poisson(share * weather.rain_mm_h * width * height / 65536.0))
        length = max(0.5 * width * 8.0 * exposure_s / distance_m, 2.0)
        start = rng.uniform((-0.1 * width, -length), (1.1 * width, height), (count, 2))
        slant = rng.normal(0.12, 0.05, count)
        end = start + np.stack([slant * length, np.full(count, length)], axis=-1)
        lines = np.round(np.stack([start, end], axis=1) * 16).astype(np.int32)  # (count,2,2), 4 fractional bits
        layer = np.zeros_like(cover)
        cv2.polylines(layer, list(lines[:, :, None]), False, strength, thickness, cv2.LINE_AA, 4)
        cv2.add(cover, layer, dst=cover)
    return cover.astype(np.float32) / 255.0


def lens_drops(
    height: int, width: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return map_x, map_y (H,W) float32 for cv2.remap and the mask (H,W) float32 0..1 of drops on the glass.

    A drop is a strong lens: inside it the scene appears turned over and small.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    map_x, map_y, mask = x.copy(), y.copy(), np.zeros((height, width), np.float32)
    centre = rng.uniform((0, 0), (width, height), (count, 2)).astype(np.float32)
    radius = (width * rng.uniform(0.012, 0.05, count)).astype(np.float32)
    for (cx, cy), r in zip(centre, radius, strict=True):
        dx, dy = x - cx, (y - cy) / 1.2
        inside = np.clip(1.25 - (dx * dx + dy * dy) / (r * r), 0.0, 1.0)
        map_x = np.where(inside > 0, cx - 3.0 * dx, map_x)
        map_y = np.where(inside > 0, cy - 3.0 * dy, map_y)
        mask = np.maximum(mask, np.minimum(inside * 3.0, 1.0))
    return np.clip(map_x, 0, width - 1), np.clip(map_y, 0, height - 1), mask


def apply_rain(
    radiance: np.ndarray, airlight: np.ndarray, weather: Weather, drops: tuple[np.ndarray, np.ndarray, np.ndarray],
    exposure_s: float, rng: np.random.Generator,
) -> np.ndarray:
    """Draw falling streaks and drops on the glass into radiance (H,W,3); `drops` comes from `lens_drops`."""
    height, width = radiance.shape[:2]
    cover = rain_streaks(height, width, weather, exposure_s, rng)[..., None]
    streaked = radiance * (1.0 - 0.5 * cover) + (0.5 * airlight + 0.3 * radiance.mean()) * cover
    map_x, map_y, mask = drops
    refracted = cv2.GaussianBlur(cv2.remap(streaked, map_x, map_y, cv2.INTER_LINEAR), (0, 0), 1.5)
    return streaked + (refracted - streaked) * mask[..., None]


def sun_glare(rays: np.ndarray, sun_in_camera: np.ndarray, strength: float) -> np.ndarray:
    """Return the veiling light of the sun in the lens, (H,W) float32 in units of a sunlit white surface.

    A core around the sun, a wide 1/angle^2 veil (Stiles-Holladay) and an even haze; a sun just outside the view counts.

    Args:
        rays: (H,W,3) unit directions in the camera frame; sun_in_camera: (3,) unit; strength: 0 turns it off.
    """
    cosine = np.clip(rays @ sun_in_camera.astype(np.float32), -1.0, 1.0)
    angle_deg = np.degrees(np.arccos(cosine))
    core = 30.0 * np.exp(-np.square(angle_deg / 3.0))
    veil = 3.0 / (1.0 + np.square(angle_deg / 9.0))
    facing = np.clip((float(sun_in_camera[2]) - 0.45) / 0.5, 0.0, 1.0)
    return ((core + veil + 0.25) * facing * strength).astype(np.float32)


def auto_exposure(radiance: np.ndarray, weather: Weather) -> float:
    """Return the gain that brings the log mean of radiance (H,W,3) to the weather's key, within its limits."""
    luminance = radiance @ LUMINANCE
    log_mean = float(np.exp(np.mean(np.log(luminance + 1e-3))))
    return float(np.clip(weather.key / log_mean, 0.05, weather.max_gain))


def sensor_noise(signal: np.ndarray, gain: float, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Add photon and read noise to a linear signal (H,W,3) where 1 saturates; both grow with the gain."""
    amplification = weather.noise * max(gain, 0.25)
    variance = 2e-4 * amplification * np.maximum(signal, 0.0) + np.square(8e-4 * amplification)
    return signal + rng.standard_normal(signal.shape, np.float32) * np.sqrt(variance)


def measure_depth(depth_m: np.ndarray, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Return what a stereo-like depth camera reports for true z depth (H,W): float32 metres, 1000 for nothing.

    The error grows with z^2 (constant disparity noise, alike in neighbouring pixels); beyond its range and in random
    holes there is no value.
    """
    noise = rng.standard_normal(depth_m.shape, np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), _DEPTH_PATCH_PX) * (2 * np.sqrt(np.pi) * _DEPTH_PATCH_PX)  # unit variance
    noise = smooth + 0.15 * noise
    measured = depth_m + noise * (4e-4 * weather.depth_noise_factor) * np.square(np.minimum(depth_m, FAR_M))
    lost = rng.random(depth_m.shape, np.float32) < weather.depth_hole_share
    lost |= (depth_m > weather.depth_range_m) | (measured <= 0.1)
    return np.where(lost, np.float32(FAR_M), np.minimum(measured, FAR_M)).astype(np.float32)
