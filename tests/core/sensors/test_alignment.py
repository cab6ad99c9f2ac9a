"""A LiDAR over a picture: a scene whose edges are known, under the right and under turned calibrations."""

from __future__ import annotations

import dataclasses

import numpy as np
from raised import user_error
from scipy.spatial.transform import Rotation

from any2seg_core.sensors.alignment import draw_points, measure_alignment
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel

LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, -0.1], [1, 0, 0, -0.3], [0, 0, 0, 1]], float)
CAMERA = CameraModel.from_fov(321, 201, 70.0)
CALIBRATION = Calibration(CAMERA, lidar_to_camera=LIDAR_TO_CAMERA)
BOXES = [(-2.0, -0.8, -1.2, 0.9), (0.4, 1.7, -0.4, 1.3)]  # left, right, top, bottom in metres, 6 m ahead of the camera


def scene() -> tuple[np.ndarray, np.ndarray]:
    """(picture, points in the LiDAR frame): dark boxes 6 m ahead of a bright wall at 20 m, seen by both."""
    v, u = np.mgrid[0:201, 0:321]
    rays = np.stack([(u - 160) / CAMERA.K[0, 0], (v - 100) / CAMERA.K[1, 1], np.ones(u.shape)], -1)  # (H,W,3)
    depth_m = np.full(u.shape, 20.0)
    for left, right, top, bottom in BOXES:
        inside = (rays[..., 0] * 6 > left) & (rays[..., 0] * 6 < right)
        depth_m[inside & (rays[..., 1] * 6 > top) & (rays[..., 1] * 6 < bottom)] = 6.0
    picture = np.where(depth_m < 10, 60, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    xyz = (rays * depth_m[..., None])[::4, ::2].reshape(-1, 3)
    inverse = np.linalg.inv(LIDAR_TO_CAMERA)
    return picture, (xyz @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.float32)


def turned(axis: str, degrees: float) -> Calibration:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return dataclasses.replace(CALIBRATION, lidar_to_camera=turn @ LIDAR_TO_CAMERA)


def test_value_the_right_calibration_meets_edges_best():
    picture, points = scene()
    right = measure_alignment(picture, points, CALIBRATION)
    assert (right.points, right.inside) == (len(points), len(points))
    assert right.closeness > 0.9
    assert (right.better_when_turned, right.better_when_shifted, right.best_move) == (0, 0, "")
    for axis, degrees in (("y", 3), ("y", -3), ("z", 8)):
        wrong = measure_alignment(picture, points, turned(axis, degrees))
        assert wrong.closeness < right.closeness - 0.1
        assert wrong.better_when_turned > 0


def test_value_a_lidar_too_far_to_one_side_meets_better_when_moved_back():
    """The scene has upright edges alone: what is left or right of it shows, what is above does not."""
    picture, points = scene()
    for metres, way in ((0.15, "to the left"), (-0.15, "to the right")):
        moved = LIDAR_TO_CAMERA.copy()
        moved[0, 3] += metres
        wrong = measure_alignment(picture, points, dataclasses.replace(CALIBRATION, lidar_to_camera=moved))
        left, right, _, _ = wrong.shifted
        assert (left > right) == (metres > 0) and wrong.better_when_shifted > 0
        assert way in wrong.best_move or max(wrong.turned) >= max(left, right)


def test_value_a_wrong_calibration_has_no_point_in_the_picture():
    picture, points = scene()
    behind = measure_alignment(picture, points, turned("y", 180))
    assert (behind.inside, behind.edges, behind.closeness) == (0, 0, None)
    assert behind.better_when_turned == 0
    np.testing.assert_array_equal(draw_points(picture, points, turned("y", 180)), picture // 2 + 32)
    nothing = measure_alignment(picture, np.empty((0, 4), np.float32), CALIBRATION)
    assert (nothing.points, nothing.inside) == (0, 0)


def test_value_points_are_drawn_where_they_project():
    picture = np.zeros((201, 321, 3), np.uint8)
    near, far = (np.linalg.inv(LIDAR_TO_CAMERA) @ [x, 0, z, 1] for x, z in ((0, 3.0), (10.0, 50.0)))
    drawn = draw_points(picture, np.array([near[:3], far[:3]]), CALIBRATION)
    assert drawn.shape == picture.shape
    rows, columns = np.nonzero((drawn != 32).any(axis=2))
    focal = CAMERA.K[0, 0]
    assert set(np.round(columns / 3).astype(int)) >= {round(160 / 3), round((160 + focal * 0.2) / 3)}
    assert abs(rows - 100).max() <= 2
    assert drawn[100, 160, 0] > drawn[100, 160, 2]  # near: red
    place = round(160 + focal * 0.2)
    assert drawn[100, place, 2] > drawn[100, place, 0]


def test_exception_no_pose_of_the_lidar():
    with user_error("extrinsics-missing", "lidar_to_camera"):
        measure_alignment(*scene(), Calibration(CAMERA))
