"""Planes of points and events made for the pixels alone that a smaller network reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS, EVENT_DTYPE
from any2seg_core.sensors.picks import picks
from any2seg_core.sensors.rig import SensorRig

LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, -0.1], [1, 0, 0, -0.3], [0, 0, 0, 1]])
STAMP_NS = 10**18
GRIDS = [((128, 128), (32, 32)), ((61, 97), (32, 64)), ((90, 160), (64, 64)), ((33, 20), (1, 1)), ((40, 50), (39, 50))]


def cloud(count: int, random: np.random.Generator) -> np.ndarray:
    """Around the car, with rays without a return and broken ones, and points in one place."""
    points = random.uniform([-20, -20, -3, 0], [30, 20, 5, 1], (count, 4)).astype(np.float32)
    points[::9, :3], points[4::17, 1], points[5::23, 3], points[7::29, 2] = 0.0, np.nan, np.nan, np.inf
    points[1::11, :3] = [10.0, 0.5, 0.2]
    return points


def some_events(count: int, camera: CameraModel, random: np.random.Generator) -> np.ndarray:
    """Some outside the window, some outside the sensor."""
    found = np.zeros(count, EVENT_DTYPE)
    found["x"], found["y"] = random.integers(0, camera.width + 3, count), random.integers(0, camera.height + 3, count)
    found["t"] = STAMP_NS - random.integers(-1000, DEFAULT_WINDOW_NS + 1000, count)
    found["p"] = random.choice([-1, 1], count)
    return found


def picked_by_torch(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    channels = torch.from_numpy(plane).permute(2, 0, 1)[None].float()  # (1, C, H, W)
    found = F.interpolate(channels, size, mode="nearest-exact")[0]
    return found.permute(1, 2, 0).to(torch.uint8).numpy()


@pytest.mark.parametrize("count", [0, 1, 3000])
@pytest.mark.parametrize("event_scale", ["the same camera", "a coarser one", "a finer one"])
@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_value_pixels_are_those_that_torch_picks_of_the_whole_plane(grid, size, event_scale, count):
    random = np.random.default_rng(count)
    camera = CameraModel.from_fov(grid[1], grid[0], 91.0)
    factor = {"the same camera": 1, "a coarser one": 0.5, "a finer one": 2}[event_scale]
    events = camera if factor == 1 else CameraModel.from_fov(round(factor * grid[1]), round(factor * grid[0]), 80.0)
    rig = SensorRig(Calibration(camera, camera, events, LIDAR_TO_CAMERA, np.eye(4), np.eye(4)))
    raw = {"event": some_events(count, events, random), "lidar": cloud(count, random)}
    whole = rig.planes(raw, STAMP_NS)
    found = rig.planes(raw, STAMP_NS, picked=dict.fromkeys(raw, size))
    for name in raw:
        assert found[name].dtype == np.uint8 and found[name].shape == (*size, 3)
        np.testing.assert_array_equal(found[name], picked_by_torch(whole[name], size))
    assert count < 2 or all(plane.any() for plane in found.values())


def test_value_a_network_that_reads_all_of_a_plane_gets_all_of_it():
    camera = CameraModel.from_fov(30, 20, 91.0)
    rig = SensorRig(Calibration(camera, lidar_to_camera=LIDAR_TO_CAMERA))
    points = cloud(500, np.random.default_rng(0))
    whole = rig.planes({"lidar": points}, STAMP_NS)["lidar"]
    for size in ((20, 30), (40, 30), (20, 31), (64, 64)):
        assert picks((20, 30), size) is None
        found = rig.planes({"lidar": points}, STAMP_NS, picked={"lidar": size})["lidar"]
        np.testing.assert_array_equal(found, whole)
