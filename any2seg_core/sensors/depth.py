"""Depth images: the HHA plane, CARLA's packed depth, and resampling onto the camera plane."""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np

from any2seg_core.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only

MAX_DEPTH_M = 999.0
"""CARLA writes 1000 m for sky and the far plane; from here on a pixel has no depth."""

HALF_CODE_DISTANCE_M = 10.0
"""Distance at which the inverse-distance code of depth and LiDAR planes has fallen to one half."""

LOWEST_HEIGHT_M = -4.0
HEIGHT_CODES_PER_M = 20.0
"""Heights over the camera from -4 m to +8.7 m are coded in steps of 5 cm."""


def encode_hha(depth_m: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Horizontal disparity, height and angle (Gupta et al. 2014, "Learning Rich Features from RGB-D", section 3).

    Differs from the paper in scale only: street distances, and gravity is taken along the camera's y axis.

    Args:
        depth_m: (H, W) float32 depth along the optical axis, metres, on the pixel grid of `camera`.
        camera: intrinsics of that grid.

    Returns:
        (H, W, 3) uint8: [0] inverse depth 255 * 10 / (10 + depth); [1] height over the camera (-4 m -> 1, 5 cm steps);
        [2] angle of the surface normal to "up" (0 degrees -> 1, 180 -> 255). Channels [0] and [1] are at least 1 where
        depth is valid. All zero where depth is invalid (not finite, <= 0, >= 999 m); [2] is zero where no neighbour
        allows a normal.

    Raises:
        UserError: `depth_m` is not (H, W) of the camera's size.
    """
    depth = np.asarray(depth_m, dtype=np.float32)
    if depth.shape != (camera.height, camera.width):
        raise UserError(
            f"depth_m: expected shape {(camera.height, camera.width)} as the camera says, got {depth.shape}; "
            "resample it first or correct the calibration"
        )
    return _hha(read_only(np.ascontiguousarray(depth)), camera.rays())


def decode_carla_depth(bgra: np.ndarray) -> np.ndarray:
    """CARLA's 24-bit packed depth, (H, W, 4) uint8 in B G R A order, to (H, W) float32 metres (sky is 1000 m)."""
    pixels = np.asarray(bgra)
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise UserError(f"packed depth: expected (H, W, 4) uint8 in BGRA order, got {pixels.shape} {pixels.dtype}")
    return _unpack_carla(read_only(np.ascontiguousarray(pixels)))


def resample_depth(depth_m: np.ndarray, depth_camera: CameraModel, camera: CameraModel) -> np.ndarray:
    """Nearest-neighbour lookup of a depth image through the rays of another camera on the same mount.

    Returns (H, W) float32 on the grid of `camera`; 0 (invalid) where the depth camera does not look.
    """
    depth = np.asarray(depth_m, dtype=np.float32)
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise UserError(
            f"depth_m: expected shape {(depth_camera.height, depth_camera.width)} as the calibration says for the "
            f"depth camera, got {depth.shape}; correct depth_camera in the calibration"
        )
    source = ray_lookup(camera, depth_camera)
    return np.append(depth.ravel(), np.float32(0.0))[source]  # (H,W); index -1 reads the appended zero


def register_depth(
    depth_m: np.ndarray, depth_camera: CameraModel, depth_to_camera: np.ndarray, camera: CameraModel
) -> np.ndarray:
    """Moves a depth image into a camera on another mount: points, transform, z-buffer with a 3x3 footprint.

    Args:
        depth_m: (H', W') float32 metres, grid of `depth_camera`.
        depth_to_camera: (4, 4) float64, optical frame to optical frame.

    Returns:
        (H, W) float32 depth along the optical axis of `camera`; 0 where nothing was seen.
    """
    depth = np.asarray(depth_m, dtype=np.float32)
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise UserError(
            f"depth_m: expected shape {(depth_camera.height, depth_camera.width)} as the calibration says for the "
            f"depth camera, got {depth.shape}; correct depth_camera in the calibration"
        )
    valid = (depth > 0.0) & (depth < MAX_DEPTH_M)
    points = depth_camera.rays()[valid] * depth[valid][:, None]  # (N,3)
    points = points @ depth_to_camera[:3, :3].T + depth_to_camera[:3, 3]
    uv, inside = camera.project(points)
    pixels = np.rint(uv[inside]).astype(np.int64)
    return _splat_nearest(pixels, points[inside, 2].astype(np.float32), camera.height, camera.width)


@lru_cache(maxsize=16)
def ray_lookup(camera: CameraModel, source_camera: CameraModel) -> np.ndarray:
    """(H, W) int64 flat index of the source pixel that sees each camera pixel's ray (same mount); -1 where none."""
    uv, valid = source_camera.project(camera.rays().reshape(-1, 3))
    index = np.full(valid.shape, -1, dtype=np.int64)
    column, row = np.rint(uv[valid]).astype(np.int64).T
    index[valid] = row * source_camera.width + column
    return index.reshape(camera.height, camera.width)


@numba.njit(cache=True)
def _is_valid(depth: float) -> bool:
    return 0.0 < depth < MAX_DEPTH_M  # NaN and infinity fail both


@numba.njit(cache=True)
def _difference(depth, rays, row, column, d_row, d_column):
    """Tangent to the surface from the neighbour on the side with the smaller depth step: edges stay sharp."""
    height, width = depth.shape
    here = depth[row, column]
    best, sign = np.float32(np.inf), 0
    for side in (-1, 1):
        r, c = row + side * d_row, column + side * d_column
        if 0 <= r < height and 0 <= c < width and _is_valid(depth[r, c]):
            step = abs(depth[r, c] - here)
            if step < best:
                best, sign = step, side
    if sign == 0:
        return np.float32(0.0), np.float32(0.0), np.float32(0.0)
    r, c = row + sign * d_row, column + sign * d_column
    there = depth[r, c]
    return (
        sign * (rays[r, c, 0] * there - rays[row, column, 0] * here),
        sign * (rays[r, c, 1] * there - rays[row, column, 1] * here),
        sign * (there - here),
    )


@numba.njit(cache=True)
def _hha(depth, rays):
    height, width = depth.shape
    plane = np.zeros((height, width, 3), dtype=np.uint8)
    for row in range(height):
        for column in range(width):
            z = depth[row, column]
            if not _is_valid(z):
                continue
            plane[row, column, 0] = inverse_distance_code(z)
            plane[row, column, 1] = height_code(-rays[row, column, 1] * z)
            ax, ay, az = _difference(depth, rays, row, column, 0, 1)
            bx, by, bz = _difference(depth, rays, row, column, 1, 0)
            # right x down = away from the camera on a wall; the outward normal is its negative
            nx, ny, nz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            if length > 0.0:
                cosine = min(max(-ny / length, -1.0), 1.0)
                plane[row, column, 2] = np.uint8(1.5 + 254.0 * np.arccos(cosine) / np.pi)
    return plane


@numba.njit(cache=True)
def inverse_distance_code(distance_m):
    """255 at 0 m, 128 at 10 m, 23 at 100 m, never 0 below 999 m."""
    return np.uint8(255.0 * HALF_CODE_DISTANCE_M / (HALF_CODE_DISTANCE_M + distance_m) + 0.5)


@numba.njit(cache=True)
def height_code(height_m):
    """Height over the camera in metres to 1..255."""
    return np.uint8(min(max((height_m - LOWEST_HEIGHT_M) * HEIGHT_CODES_PER_M + 1.0, 1.0), 255.0) + 0.5)


@numba.njit(cache=True)
def _unpack_carla(pixels):
    height, width, _ = pixels.shape
    depth = np.empty((height, width), dtype=np.float32)
    for row in range(height):
        for column in range(width):
            blue = np.int64(pixels[row, column, 0])
            green = np.int64(pixels[row, column, 1])
            red = np.int64(pixels[row, column, 2])
            depth[row, column] = (red + 256 * green + 65536 * blue) * (1000.0 / 16777215.0)
    return depth


@numba.njit(cache=True)
def _splat_nearest(pixels, depth, height, width):
    image = np.zeros((height, width), dtype=np.float32)
    for index in range(pixels.shape[0]):
        for row in range(max(pixels[index, 1] - 1, 0), min(pixels[index, 1] + 2, height)):
            for column in range(max(pixels[index, 0] - 1, 0), min(pixels[index, 0] + 2, width)):
                if image[row, column] == 0.0 or depth[index] < image[row, column]:
                    image[row, column] = depth[index]
    return image
