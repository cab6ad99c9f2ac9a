"""Where the points of a cloud lie in a camera's picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel, project_into, read_only
from any2seg_core.sensors.depth import MAX_DEPTH_M
from any2seg_core.sensors.returns import NO_RETURN_M2

CHUNK = 256
"""Points that are projected at a time."""
_KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def checked_points(points: np.ndarray) -> np.ndarray:
    """(N, 3 or 4) as float32 in C order, read-only; UserError for another shape."""
    array = np.ascontiguousarray(points, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] not in (3, 4):
        raise UserError(f"points: expected shape (N, 4) with x, y, z, intensity, got {array.shape}", "array-shape")
    return read_only(array)


def visible_pixels(
    points: np.ndarray, lidar_to_camera: np.ndarray, camera: CameraModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Column, row (-1: not visible), range and height over the camera, each (N,)."""
    return _pixels(points, checked_matrix(lidar_to_camera), camera.lens)


def checked_matrix(lidar_to_camera: np.ndarray) -> np.ndarray:
    """(4, 4) as float64 in C order, read-only; UserError for another shape."""
    transform = np.asarray(lidar_to_camera, dtype=np.float64)
    if transform.shape != (4, 4):
        raise UserError(f"lidar_to_camera: expected shape (4, 4), got {transform.shape}", "array-shape")
    return read_only(np.ascontiguousarray(transform))


# A cloud is projected chunk by chunk, each of them by one simple loop after the other: the compiler makes vector
# instructions of a loop without branches over few arrays, and a chunk stays in the nearest cache.


@compiled(**_KERNEL)
def _transform(points, matrix, x, y, z):
    """Points (n, 3 or 4) into the camera's frame; NaN for what is no return, so that nobody sees it.

    Returns whether any is in front of the camera.
    """
    is_ahead = False
    (xx, xy, xz, xt), (yx, yy, yz, yt), (zx, zy, zz, zt) = matrix[0], matrix[1], matrix[2]
    for i in range(x.size):  # a loop of its own: points do not lie side by side, which vector instructions need
        x[i], y[i], z[i] = points[i, 0], points[i, 1], points[i, 2]
    for i in range(x.size):
        a, b, c = x[i], y[i], z[i]
        x[i] = xx * a + xy * b + xz * c + xt
        y[i] = yx * a + yy * b + yz * c + yt
        depth = zx * a + zy * b + zz * c + zt
        z[i] = depth if a * a + b * b + c * c >= NO_RETURN_M2 else np.nan
        is_ahead |= z[i] > 0.0
    return is_ahead


@compiled(**_KERNEL)
def _round_into(u, v, x, y, z, valid, column, row, distance, above):
    """Whole pixels of what the camera sees, -1 for the rest; range and height of each point."""
    for i in range(u.size):
        r = np.sqrt(x[i] * x[i] + y[i] * y[i] + z[i] * z[i])
        is_seen = valid[i] & (r < MAX_DEPTH_M)
        column[i] = np.int32(np.floor((u[i] if is_seen else -1.0) + 0.5))
        row[i] = np.int32(np.floor((v[i] if is_seen else -1.0) + 0.5))
        distance[i], above[i] = r, -y[i]


@compiled(**_KERNEL)
def project_chunk(points, matrix, lens, rooms, flags, column, row, distance, above):
    """Column, row (-1: not visible), range and height over the camera of at most CHUNK points.

    rooms, flags: (5, CHUNK) and (CHUNK,) to work in. Returns whether any point is in front of the camera; else
    nothing is filled.
    """
    n = column.size
    x, y, z, u, v = rooms[0, :n], rooms[1, :n], rooms[2, :n], rooms[3, :n], rooms[4, :n]
    if not _transform(points, matrix, x, y, z):  # most of a turn of a LiDAR
        return False
    K, D, equidistant, is_distorted, max_squared_radius, width, height = lens
    project_into(x, y, z, K, D, equidistant, is_distorted, max_squared_radius, width, height, u, v, flags[:n])
    _round_into(u, v, x, y, z, flags[:n], column, row, distance, above)
    return True


@compiled(**_KERNEL)
def _pixels(points, matrix, lens):
    n = points.shape[0]
    column, row = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    distance, above = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
    rooms, flags = np.empty((5, CHUNK)), np.empty(CHUNK, dtype=np.bool_)
    for start in range(0, n, CHUNK):
        end = min(start + CHUNK, n)
        here = column[start:end], row[start:end], distance[start:end], above[start:end]
        if not project_chunk(points[start:end], matrix, lens, rooms, flags, *here):
            column[start:end], row[start:end] = -1, -1
            distance[start:end], above[start:end] = 0.0, 0.0
    return column, row, distance, above
