"""Time of drawing a LiDAR cloud on the camera plane, against Open3D, which draws the depth alone.

    OMP_NUM_THREADS=1 python benchmarks/lidar.py

120 000 points of 64 beams on 1024x1024 pixels, by a whole turn (a quarter of it is in the picture) and by a LiDAR that
looks forward (all of it is). `project_points` gives range, intensity and height with a footprint of 3x3 pixels;
Open3D's `project_to_depth_image` gives the depth of single pixels. Processor time, in turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import open3d
import open3d.core

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.lidar import project_points

TURNS, COLUMNS, BEAMS = 41, 1875, 64
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, -0.1], [1, 0, 0, -0.3], [0, 0, 0, 1]], np.float64)


def cloud(half_angle_rad: float) -> np.ndarray:
    """(120000, 4) float32: a road 1.8 m below the LiDAR and a wavy wall, column by column as a LiDAR turns."""
    azimuth = np.repeat(np.linspace(-half_angle_rad, half_angle_rad, COLUMNS, endpoint=False), BEAMS)
    elevation = np.tile(np.radians(np.linspace(-25, 15, BEAMS)), COLUMNS)
    road_m = np.minimum(1.8 / np.maximum(np.sin(-elevation), 1e-3), 60)
    range_m = np.where(elevation < -0.02, road_m, 20 + 15 * np.sin(5 * azimuth))
    flat = range_m * np.cos(elevation)
    intensity = np.random.default_rng(0).random(azimuth.size)
    return np.stack(
        [flat * np.cos(azimuth), flat * np.sin(azimuth), range_m * np.sin(elevation), intensity], axis=1
    ).astype(np.float32)


def compare(points: np.ndarray, camera: CameraModel) -> tuple[float, float]:
    """Median milliseconds of ours, and the median of ours / Open3D."""
    positions, lens, pose = map(open3d.core.Tensor.from_numpy, (points[:, :3].copy(), camera.K, LIDAR_TO_CAMERA))
    peer = open3d.t.geometry.PointCloud(positions)
    runs: tuple[Callable[[], object], ...] = (
        lambda: project_points(points, LIDAR_TO_CAMERA, camera),
        lambda: peer.project_to_depth_image(camera.width, camera.height, lens, pose, depth_scale=1.0, depth_max=1e3),
    )
    times_s = np.empty((TURNS, 2))
    for turn in range(TURNS):
        for place, run in enumerate(runs):
            start_s = time.process_time()
            run()
            times_s[turn, place] = time.process_time() - start_s
    return float(np.median(times_s[1:, 0]) * 1e3), float(np.median(times_s[1:, 0] / times_s[1:, 1]))


def main() -> None:
    camera = CameraModel.from_fov(1024, 1024, 90.0)
    for name, half_angle_rad in (("whole turn", np.pi), ("forward", 0.7)):
        own_ms, ratio = compare(cloud(half_angle_rad), camera)
        print(f"{name:10s} {own_ms:5.2f} ms, {ratio:.2f} of Open3D's time")


if __name__ == "__main__":
    main()
