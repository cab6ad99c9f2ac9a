"""One point per pixel of the camera's grid: closed form of a pinhole, OpenCV for a lens, hand counts for clouds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from any2seg_core.sensors.aligned import points_of_cloud, points_of_depth
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rig import SensorRig

K = np.array([[40.0, 0.0, 17.5], [0.0, 50.0, 9.25], [0.0, 0.0, 1.0]])
FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(("height", "width"), [(19, 37), (1, 5), (6, 1)])
def test_value_pinhole_in_closed_form(height, width):
    depth_m = np.random.default_rng(3).uniform(0.5, 80.0, (height, width)).astype(np.float32)
    points = points_of_depth(depth_m, CameraModel(width, height, K))
    v, u = np.mgrid[:height, :width]
    assert points.shape == (height, width, 3) and points.dtype == np.float32
    np.testing.assert_array_equal(points[..., 2], depth_m)
    np.testing.assert_allclose(points[..., 0], (u - 17.5) / 40.0 * depth_m, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(points[..., 1], (v - 9.25) / 50.0 * depth_m, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("nothing", [0.0, -1.0, np.nan, np.inf, 999.0, 1000.0])
def test_value_pixels_without_depth_are_nan_in_all_three(nothing):
    depth_m = np.full((3, 4), 7.0, np.float32)
    depth_m[1, 2] = nothing
    points = points_of_depth(depth_m, CameraModel(4, 3, K))
    assert np.isnan(points[1, 2]).all() and np.isfinite(points).sum() == 3 * 11


@pytest.mark.parametrize(
    ("model", "D"), [("plumb_bob", [-0.2, 0.05, 0.001, -0.002, 0.0]), ("equidistant", [0.05, -0.01, 0.0, 0.0])]
)
def test_value_of_a_lens_come_back_to_their_pixels_by_opencv(model, D):
    height, width = 21, 36
    camera = CameraModel(width, height, K, np.array(D), model)
    points = points_of_depth(np.full((height, width), 4.0, np.float32), camera)
    project = cv2.projectPoints if model == "plumb_bob" else cv2.fisheye.projectPoints
    flat = points.reshape(-1, 1, 3).astype(np.float64)
    if model == "plumb_bob":
        uv, _ = project(flat, np.zeros(3), np.zeros(3), K, np.array(D))
    else:
        uv, _ = project(flat, np.zeros(3), np.zeros(3), K, np.array(D[:4]))
    v, u = np.mgrid[:height, :width]
    np.testing.assert_allclose(uv.reshape(height, width, 2), np.stack([u, v], -1), atol=2e-4)


def test_value_points_of_a_cloud_stand_at_their_pixels_and_the_nearest_wins():
    camera = CameraModel(37, 19, K)
    points = np.array(
        [[10, 0, 0, 0.5], [5, 0, 0, 0.1], [10, -4, 1, 0], [-3, 0, 0, 0], [np.nan, 1, 1, 0], [0, 0, 0, 0]], np.float32
    )
    found = points_of_cloud(points, FORWARD, camera)
    there = np.argwhere(np.isfinite(found).all(axis=2)).tolist()
    assert there == [[4, 34], [9, 18]]  # u = 17.5 + 40 * 4 / 10 = 33.5, v = 9.25 - 50 / 10 = 4.25; and the middle
    np.testing.assert_array_equal(found[9, 18], [0, 0, 5])
    np.testing.assert_array_equal(found[4, 34], [4, -1, 10])
    assert np.isnan(found).sum() == 3 * (37 * 19 - 2)


def test_value_rig_takes_depth_before_a_cloud_and_nothing_of_nothing():
    camera = CameraModel(37, 19, K)
    rig = SensorRig(Calibration(camera, lidar_to_camera=FORWARD))
    cloud, depth = np.array([[10, 0, 0, 0.5]], np.float32), np.full((19, 37), 3.0, np.float32)
    assert rig.aligned_points({"rgb": np.zeros((19, 37, 3), np.uint8)}) is None
    assert np.isfinite(rig.aligned_points({"lidar": cloud})).sum() == 3
    both = rig.aligned_points({"lidar": cloud, "depth": depth}, (38, 74))
    assert both.shape == (38, 74, 3) and (both[..., 2] == 3).all()


def test_value_depth_of_a_camera_at_another_place_is_moved():
    camera = CameraModel.from_fov(61, 41, 90.0)
    depth_to_camera = np.eye(4)
    depth_to_camera[2, 3] = 0.5  # half a metre behind
    rig = SensorRig(Calibration(camera, depth_to_camera=depth_to_camera))
    points = rig.aligned_points({"depth": np.full((41, 61), 4.0, np.float32)})
    known = points[np.isfinite(points[..., 2])]
    assert len(known) > 1000
    np.testing.assert_allclose(known[:, 2], 4.5, rtol=1e-6)
