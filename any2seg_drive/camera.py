"""Camera images of the town: linear light, depth and labels from one cast, plus one shadow cast towards the sun."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from any2seg_core.sensors.camera import CameraModel
from any2seg_drive.materials import GLOSS, value_noise
from any2seg_drive.raycast import FrameScene, Hits

SKY_DEPTH_M = 1000.0
_LAMP_COUNT = 14  # nearest street lamps that light a frame
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709
_HEADLIGHTS_VEHICLE = np.array([[3.6, 0.65, 0.65], [3.6, -0.65, 0.65]])  # x, y, z of the ego's lamps
_SUN_DISC_COS = 0.9994


@dataclass(frozen=True)
class Lighting:
    """Light of one moment; colours are linear RGB. Defaults: a clear afternoon. Fog is not light: it comes afterwards.

    Attributes:
        sun_direction: towards the sun, world, any length > 0.
        sun_colour, sun_strength: direct light; strength 0 = no sun (overcast, night) and no shadow cast.
        sky_zenith, sky_horizon: colours of the sky gradient; they also colour the ambient light.
        ambient: strength of light from the sky.
        cloud_cover: 0 = clear .. 1 = closed; cloud_colour; cloud_seed shifts the clouds.
        headlight_strength: the ego's headlights, about 30 at night.
        lamp_strength: street lamps, about 12 at night.
        glow: strength of lit windows, signals and vehicle lights, about 1 at night and 0.15 by day.
        wetness: 0 dry .. 1 wet: level surfaces darken and mirror sky and lamps.
        shadows: cast sun shadows.
    """

    sun_direction: tuple[float, float, float] = (0.45, 0.35, 0.75)
    sun_colour: tuple[float, float, float] = (1.0, 0.94, 0.84)
    sun_strength: float = 2.4
    sky_zenith: tuple[float, float, float] = (0.18, 0.36, 0.75)
    sky_horizon: tuple[float, float, float] = (0.62, 0.74, 0.88)
    ambient: float = 0.75
    cloud_cover: float = 0.35
    cloud_colour: tuple[float, float, float] = (0.95, 0.95, 0.95)
    cloud_seed: int = 0
    headlight_strength: float = 0.0
    lamp_strength: float = 0.0
    glow: float = 0.15
    wetness: float = 0.0
    shadows: bool = True


@dataclass(frozen=True)
class CameraFrame:
    """rgb_linear (H,W,3) float32 >= 0; depth_m (H,W) float32 along the optical axis, sky 1000; labels (H,W) uint8;
    normal (H,W,3) float32 world; hits: the flat hits of the H*W rays, row by row."""

    rgb_linear: np.ndarray
    depth_m: np.ndarray
    labels: np.ndarray
    normal: np.ndarray
    hits: Hits


@njit(cache=True)
def _sky(dx, dy, dz, zenith, horizon, clouds, cover, cloud_seed, sun, sun_rgb, out):
    """Sky colour in direction (dx, dy, dz) into out (3,)."""
    up = min(1.0, max(0.0, dz))
    blend = up**0.5
    for k in range(3):
        out[k] = horizon[k] * (1 - blend) + zenith[k] * blend
    if cover > 0.01:
        x, y = dx / (up + 0.12) * 1.3 + 0.37 * cloud_seed, dy / (up + 0.12) * 1.3 - 0.71 * cloud_seed
        density = 0.55 * value_noise(x, y, 51) + 0.28 * value_noise(2.1 * x, 2.1 * y, 52)
        density += 0.17 * value_noise(4.7 * x, 4.7 * y, 53)
        amount = min(1.0, max(0.0, (density - 0.85 + 0.85 * cover) * 5.0))
        shade = 0.75 + 0.4 * value_noise(1.7 * x + 9, 1.7 * y, 54)
        for k in range(3):
            out[k] = out[k] * (1 - amount) + clouds[k] * shade * amount
    toward = dx * sun[0] + dy * sun[1] + dz * sun[2]
    if toward > 0.9 and cover < 0.95:
        halo = ((toward - 0.9) * 10.0) ** 6 * 0.6
        if toward > _SUN_DISC_COS:
            halo += 20.0
        for k in range(3):
            out[k] += sun_rgb[k] * halo * (1.0 - cover)


@njit(cache=True)
def _lamp_light(px, py, pz, nx, ny, nz, lamps, strength):
    """Irradiance of downward-looking street lamps at a point."""
    total = 0.0
    for j in range(len(lamps)):
        lx, ly, lz = lamps[j, 0] - px, lamps[j, 1] - py, lamps[j, 2] - pz
        square = lx * lx + ly * ly + lz * lz
        if square > 1600.0:
            continue
        distance = max(0.3, square**0.5)
        facing = (lx * nx + ly * ny + lz * nz) / distance
        down = lz / distance
        if facing > 0.0 and down > 0.1:
            total += facing * (down**1.5) / (square + 4.0)
    return total * strength


@njit(cache=True)
def _headlight(px, py, pz, nx, ny, nz, lights, forward, strength):
    """Irradiance of the ego's two dipped headlights at a point."""
    total = 0.0
    for j in range(len(lights)):
        lx, ly, lz = lights[j, 0] - px, lights[j, 1] - py, lights[j, 2] - pz
        distance = max(0.5, (lx * lx + ly * ly + lz * lz) ** 0.5)
        ahead = -(lx * forward[0] + ly * forward[1] + lz * forward[2]) / distance
        facing = (lx * nx + ly * ny + lz * nz) / distance
        if ahead > 0.5 and facing > 0.0:
            cut = 1.0 if pz < lights[j, 2] else max(0.04, 1.0 - (pz - lights[j, 2]) / (0.05 * distance + 0.3))
            total += facing * ((ahead - 0.5) * 2.0) ** 3 * cut / (distance * distance + 3.0)
    return total * strength


@njit(cache=True)
def _shade(directions, distance, normal, point, albedo, material, emission, lit, gloss_of, sun, sun_rgb, zenith,
           horizon, ambient, clouds, cover, cloud_seed, lamps, lamp_strength, headlights, forward, headlight_strength,
           glow, wetness, out):
    """Linear radiance (N,3) of every ray; lit (N,) is 1 where the sun reaches."""
    sky = np.zeros(3)
    lamp_rgb = (1.0, 0.78, 0.5)
    for i in range(len(distance)):
        dx, dy, dz = directions[i, 0], directions[i, 1], directions[i, 2]
        if not np.isfinite(distance[i]):
            _sky(dx, dy, dz, zenith, horizon, clouds, cover, cloud_seed, sun, sun_rgb, sky)
            for k in range(3):
                out[i, k] = sky[k]
            continue
        nx, ny, nz = normal[i, 0], normal[i, 1], normal[i, 2]
        px, py, pz = point[i, 0], point[i, 1], point[i, 2]
        direct = max(0.0, nx * sun[0] + ny * sun[1] + nz * sun[2]) * lit[i]
        open_sky = 0.5 + 0.5 * nz
        lamp = _lamp_light(px, py, pz, nx, ny, nz, lamps, lamp_strength) if lamp_strength > 0 else 0.0
        head = 0.0
        if headlight_strength > 0:
            head = _headlight(px, py, pz, nx, ny, nz, headlights, forward, headlight_strength)
        mirror = gloss_of[material[i]]
        darken = 1.0
        if wetness > 0.0 and nz > 0.7:
            puddle = value_noise(px * 0.35, py * 0.35, 61)
            film = wetness * (0.35 + 0.65 * min(1.0, max(0.0, (puddle - 0.35) * 4.0)))
            darken = 1.0 - 0.55 * film
            mirror = max(mirror, 0.8 * film)
        cos = -(dx * nx + dy * ny + dz * nz)
        fresnel = mirror * (0.12 + 0.88 * (1.0 - max(0.0, cos)) ** 4)
        if fresnel > 0.004:
            rx, ry, rz = dx + 2 * cos * nx, dy + 2 * cos * ny, dz + 2 * cos * nz
            # streets mirror mostly facades: below 20 degrees only half of the sky is seen
            _sky(rx, ry, max(0.02, rz), zenith, horizon, clouds, cover, cloud_seed, sun, sun_rgb, sky)
            seen = min(1.0, 0.45 + 1.5 * max(0.0, rz)) * (0.3 + 0.7 * lit[i])
            for k in range(3):
                sky[k] = min(sky[k] * seen, 3.0) + lamp * lamp_rgb[k] * 0.6
        for k in range(3):
            bounce = 0.35 * (horizon[k] * 0.5 + 0.1)
            skylight = (0.5 * (zenith[k] + horizon[k]) * (1 - cover) + clouds[k] * cover) * open_sky
            light = sun_rgb[k] * direct + ambient * (skylight + bounce * (1 - open_sky)) + lamp * lamp_rgb[k] + head
            value = albedo[i, k] * darken * light * (1.0 - fresnel) + albedo[i, k] * emission[i] * glow
            out[i, k] = value + (sky[k] * fresnel if fresnel > 0.004 else 0.0)


def camera_rays(camera: CameraModel, camera_to_world: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origin (3,), unit directions (H*W,3) in the world, and z of each unit ray in the camera (H*W,), all float32."""
    rays = camera.rays().reshape(-1, 3).astype(np.float64)
    length = np.linalg.norm(rays, axis=1)
    directions = (rays / length[:, None]) @ camera_to_world[:3, :3].T
    return camera_to_world[:3, 3].astype(np.float32), directions.astype(np.float32), (1.0 / length).astype(np.float32)


def _radiance(frame: FrameScene, hits: Hits, directions: np.ndarray, lit: np.ndarray, lighting: Lighting) -> np.ndarray:
    """(N,3) float32 linear radiance of cast rays."""
    pose = frame.ego_pose
    sun = np.asarray(lighting.sun_direction, np.float64)
    sun = sun / np.linalg.norm(sun)
    near = np.argsort(np.linalg.norm(frame.lamps[:, :2] - (pose[:2, 3] + 12.0 * pose[:2, 0]), axis=1), kind="stable")
    out = np.empty((len(directions), 3), np.float32)
    _shade(
        directions, hits.distance_m, hits.normal, hits.point, hits.albedo, np.minimum(hits.material, len(GLOSS) - 1),
        hits.emission, lit, GLOSS, sun, np.asarray(lighting.sun_colour) * lighting.sun_strength,
        np.asarray(lighting.sky_zenith), np.asarray(lighting.sky_horizon), lighting.ambient,
        np.asarray(lighting.cloud_colour), lighting.cloud_cover, lighting.cloud_seed,
        frame.lamps[near[:_LAMP_COUNT]].astype(np.float64), lighting.lamp_strength,
        _HEADLIGHTS_VEHICLE @ pose[:3, :3].T + pose[:3, 3], pose[:3, 0].copy(), lighting.headlight_strength,
        lighting.glow, lighting.wetness, out,
    )
    return out


def render_camera(
    frame: FrameScene, camera: CameraModel, camera_to_world: np.ndarray, lighting: Lighting
) -> CameraFrame:
    """One camera frame: light, depth and labels of the same rays, one through the centre of each pixel.

    Args:
        frame: the world at one moment.
        camera: H x W pinhole or any model whose `rays()` are known.
        camera_to_world: (4,4), optical camera frame to world.
        lighting: light of the moment.
    """
    origin, directions, ray_z = camera_rays(camera, camera_to_world)
    hits = frame.cast(origin, directions)
    hit = np.isfinite(hits.distance_m)
    lit = np.ones(len(hit), np.float32)
    if lighting.shadows and lighting.sun_strength > 0:
        sun = np.asarray(lighting.sun_direction, np.float32)
        sun = sun / np.linalg.norm(sun)
        facing = np.flatnonzero(hit & (hits.normal @ sun > 0))
        # start a little off the surface: float32 hits at 100 m are a centimetre uncertain
        start = hits.point[facing] + hits.normal[facing] * (0.01 + 3e-4 * hits.distance_m[facing, None])
        lit[facing] = 1.0 - frame.occluded(start, sun)
    rgb = _radiance(frame, hits, directions, lit, lighting)
    shape = (camera.height, camera.width)
    depth = np.where(hit, hits.distance_m * ray_z, SKY_DEPTH_M).astype(np.float32)
    return CameraFrame(rgb.reshape(*shape, 3), depth.reshape(shape), hits.class_id.reshape(shape),
                       hits.normal.reshape(*shape, 3), hits)


def render_luminance(
    frame: FrameScene, camera: CameraModel, camera_to_world: np.ndarray, lighting: Lighting
) -> np.ndarray:
    """(H,W) float32 linear luminance for the event camera's sub-frames: `render_camera` without sun shadows."""
    origin, directions, _ = camera_rays(camera, camera_to_world)
    hits = frame.cast(origin, directions)
    rgb = _radiance(frame, hits, directions, np.ones(len(directions), np.float32), lighting)
    return (rgb @ _LUMINANCE).reshape(camera.height, camera.width)


def tonemap(rgb_linear: np.ndarray, exposure: float) -> np.ndarray:
    """(H,W,3) float32 linear light times exposure -> uint8 display values: soft shoulder, gamma 2.2."""
    exposed = np.maximum(rgb_linear * exposure, 0.0)
    soft = exposed * (1.0 + exposed / 9.0) / (1.0 + exposed)  # Reinhard et al. 2002, eq. 4, white point 3
    return (np.clip(soft, 0.0, 1.0) ** (1 / 2.2) * 255.0 + 0.5).astype(np.uint8)
