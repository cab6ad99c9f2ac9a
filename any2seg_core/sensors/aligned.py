"""Where in space the pixels of the camera's grid lie: one point per pixel, from depth or from a LiDAR."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.sensors.camera import CameraModel, read_only
from any2seg_core.sensors.depth import MAX_DEPTH_M
from any2seg_core.sensors.lidar import nearest_points


def points_of_depth(depth_m: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Point that each pixel of a depth image sees.

    Args:
        depth_m: (H, W) float32 along the optical axis, metres, on the grid of `camera`.

    Returns:
        (H, W, 3) float32 x, y, z in metres, optical frame of `camera`; NaN where the depth is not finite, not positive
        or 999 m and more.
    """
    return _unproject(read_only(np.ascontiguousarray(depth_m, dtype=np.float32)), *camera.ray_grid())


def points_of_cloud(points: np.ndarray, lidar_to_camera: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Points of a cloud at their pixels, the nearest one where several meet; without those that the camera cannot see.

    Args:
        points: (N, 3 or 4) float32, LiDAR frame, metres.
        lidar_to_camera: (4, 4) float64, p_camera = lidar_to_camera @ p_lidar.

    Returns:
        (H, W, 3) float32 x, y, z in metres, optical frame of `camera`; NaN where no point is, as in most pixels.
    """
    winner = nearest_points(points, lidar_to_camera, camera)  # (H,W)
    found = np.full((*winner.shape, 3), np.nan, np.float32)
    seen = winner >= 0
    transform = np.asarray(lidar_to_camera, dtype=np.float64)
    found[seen] = points[winner[seen], :3] @ transform[:3, :3].T + transform[:3, 3]
    return found


@compiled(cache=True, error_model="numpy")
def _unproject(depth, ray_x, ray_y):
    height, width = depth.shape
    points = np.empty((height, width, 3), dtype=np.float32)
    for row in range(height):
        along, down = ray_x[min(row, ray_x.shape[0] - 1)], ray_y[row]
        for column in range(width):
            d = depth[row, column]
            z = d if (d > 0.0) & (d < MAX_DEPTH_M) else np.float32(np.nan)  # NaN and infinity are neither
            points[row, column, 0] = along[column] * z
            points[row, column, 1] = down[column if down.size > 1 else 0] * z
            points[row, column, 2] = z
    return points
