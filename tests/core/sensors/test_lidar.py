"""LiDAR planes against OpenCV's projection and a z-buffer written out in Python."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from raised import user_error
from scipy.spatial.transform import Rotation

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.lidar import footprint_centres, label_points, project_labels, project_points

TO_OPTICAL = np.array([[0.0, -1, 0, 0.05], [0, 0, -1, -0.3], [1, 0, 0, -0.8], [0, 0, 0, 1]])
TO_OPTICAL[:3, :3] = Rotation.from_euler("xyz", [1.0, -2.0, 1.5], degrees=True).as_matrix() @ TO_OPTICAL[:3, :3]
CAMERAS = {
    "pinhole": CameraModel.from_fov(83, 57, 91.0),
    "plumb_bob": CameraModel(83, 57, CameraModel.from_fov(83, 57, 91.0).K, [-0.1, 0.02, 0.001, -0.002, 0.0]),
    "equidistant": CameraModel(83, 57, CameraModel.from_fov(83, 57, 91.0).K, [-0.02, 0.003, 0, 0], "equidistant"),
}


def _cloud(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform([-20, -20, -3, 0], [40, 20, 5, 1], (n, 4))
    return points.astype(np.float32)


def _oracle(points, camera, splat):
    """Pixels, z-buffer and codes the slow way; returns (plane, index of the nearest point per pixel or -1)."""
    cam = points[:, :3].astype(np.float64) @ TO_OPTICAL[:3, :3].T + TO_OPTICAL[:3, 3]
    K, zero = np.asarray(camera.K), np.zeros(3)
    if camera.distortion_model == "equidistant":
        uv = cv2.fisheye.projectPoints(cam[:, None], zero, zero, K, np.asarray(camera.D))[0][:, 0]
    else:
        uv = cv2.projectPoints(cam, zero, zero, K, np.asarray(camera.D))[0][:, 0]
    widest = 1.6 if camera.distortion_model == "plumb_bob" else np.inf  # beyond, the polynomial folds back
    tangent = np.hypot(cam[:, 0], cam[:, 1]) / np.maximum(cam[:, 2], 1e-9)
    plane = np.zeros((camera.height, camera.width, 3), np.uint8)
    nearest = np.full((camera.height, camera.width), np.inf)
    index = np.full((camera.height, camera.width), -1)
    for i in range(len(points)):
        u, v = np.floor(uv[i] + 0.5)
        if cam[i, 2] <= 0 or tangent[i] > widest or not (0 <= u < camera.width and 0 <= v < camera.height):
            continue
        r = np.linalg.norm(cam[i])
        code = [np.floor(2550 / (10 + r) + 0.5), np.floor(points[i, 3] * 255 + 0.5),
                np.floor(np.clip((-cam[i, 1] + 4) * 20 + 1, 1, 255) + 0.5)]  # fmt: skip
        for dv in range(-splat, splat + 1):
            for du in range(-splat, splat + 1):
                a, b = int(v) + dv, int(u) + du
                if 0 <= a < camera.height and 0 <= b < camera.width and r < nearest[a, b]:
                    nearest[a, b], plane[a, b], index[a, b] = r, code, i
    return plane, index


@pytest.mark.parametrize("name", CAMERAS)
def test_value_plane_equals_a_slow_z_buffer_on_opencv_projection(name):
    points = _cloud()
    expected, _ = _oracle(points, CAMERAS[name], 1)
    got = project_points(points, TO_OPTICAL, CAMERAS[name])
    assert got.dtype == np.uint8 and (expected[..., 0] > 0).mean() > 0.3
    different = np.abs(got.astype(int) - expected) > 1  # codes may round the other way in float32
    assert different.any(axis=2).mean() < 0.003
    assert (got[..., 0] > 0).any() and np.array_equal(got.any(axis=2), got[..., 0] > 0)


@pytest.mark.parametrize("name", CAMERAS)
def test_value_labels_are_those_of_the_nearest_point_unless_a_neighbour_hides_it(name):
    points = _cloud(2000, 5)
    labels = np.random.default_rng(0).integers(0, 25, 2000).astype(np.uint8)
    _, index = _oracle(points, CAMERAS[name], 0)
    _, nearest_around = _oracle(points, CAMERAS[name], 1)
    distance = np.linalg.norm(points[:, :3] @ TO_OPTICAL[:3, :3].T + TO_OPTICAL[:3, 3], axis=1)
    hidden = distance[index] > 1.03 * distance[nearest_around] + 0.3
    expected = np.where((index >= 0) & ~hidden, labels[index], 255)
    got = project_labels(points, labels, TO_OPTICAL, CAMERAS[name])
    assert (got == expected).mean() > 0.998 and (got != 255).sum() > 200
    assert (hidden & (index >= 0)).sum() > 50


def test_value_one_centre_for_every_point_that_is_drawn():
    """Points on a grid four pixels apart, then two, where each footprint hides a part of its neighbour's."""
    camera = CAMERAS["pinhole"]
    for spacing in (4, 2):
        rows, columns = np.mgrid[2 : camera.height - 2 : spacing, 2 : camera.width - 2 : spacing]
        rng = np.random.default_rng(spacing)
        points = camera.rays()[rows, columns] * rng.uniform(3.0, 60.0, (*rows.shape, 1))  # (h, w, 3)
        points = np.concatenate([points, rng.random((*rows.shape, 1))], axis=2).reshape(-1, 4)
        plane = project_points(points.astype(np.float32), np.eye(4), camera)
        found = footprint_centres(plane)
        if spacing == 4:
            assert np.array_equal(np.argwhere(found), np.stack([rows.ravel(), columns.ravel()], axis=1))
        assert 0.9 * rows.size <= found.sum() <= 1.02 * rows.size
    assert not footprint_centres(np.zeros_like(plane)).any()


def test_property_order_of_points_does_not_matter():
    points = np.repeat(_cloud(400), 3, axis=0)
    points[1::3, 3] *= 0.5  # ties in range, other intensity
    plane = project_points(points, TO_OPTICAL, CAMERAS["pinhole"])
    for seed in range(5):
        shuffled = points[np.random.default_rng(seed).permutation(len(points))]
        np.testing.assert_array_equal(project_points(shuffled, TO_OPTICAL, CAMERAS["pinhole"]), plane)


def test_value_single_point_covers_three_by_three_and_is_cut_at_the_border():
    camera = CAMERAS["pinhole"]
    to_optical = np.eye(4)
    point = np.array([[0, 0, 10, 1.0]], np.float32)
    plane = project_points(point, to_optical, camera)
    expected = np.zeros_like(plane)
    expected[27:30, 40:43] = [128, 255, 81]
    np.testing.assert_array_equal(plane, expected)
    corner = camera.rays()[0, 0] * 10
    plane = project_points(np.array([[*corner, 0.0]], np.float32), to_optical, camera)
    assert plane[:2, :2, 0].all() and (plane[..., 0] > 0).sum() == 4


def test_value_bad_rows_and_empty_clouds():
    camera = CAMERAS["pinhole"]
    points = np.array(
        [[np.nan, 0, 10, 1], [0, np.inf, 10, 1], [0, 0, -10, 1], [0, 0, 0, 1], [0, 0, 2000, 1]], np.float32
    )
    assert not project_points(points, np.eye(4), camera).any()
    assert not project_points(np.zeros((0, 4), np.float32), np.eye(4), camera).any()
    assert (project_labels(points, np.zeros(5, np.uint8), np.eye(4), camera) == 255).all()
    no_intensity = np.array([[0, 0, 10, np.nan]], np.float32)
    assert project_points(no_intensity, np.eye(4), camera)[28, 41].tolist() == [128, 0, 81]


def test_value_points_at_the_origin_are_no_returns():
    """Drivers write a ray without a return as (0, 0, 0); here the LiDAR is 0.8 m ahead of the camera, in its view."""
    camera = CAMERAS["pinhole"]
    ahead = np.eye(4)
    ahead[2, 3] = 0.8
    scene = np.random.default_rng(3).uniform([-4, -3, 5, 0], [4, 3, 40, 1], (500, 4)).astype(np.float32)
    with_holes = np.repeat(scene, 2, axis=0)
    with_holes[::2, :3] = np.random.default_rng(4).uniform(-0.005, 0.005, (500, 3))
    with_holes[::6, :3], with_holes[2::6, :3] = 0, np.nan
    plane = project_points(scene, ahead, camera)
    assert plane.any()
    np.testing.assert_array_equal(project_points(with_holes, ahead, camera), plane)
    ids = np.arange(500).astype(np.uint8) % 20
    labels = project_labels(scene, ids, ahead, camera)
    np.testing.assert_array_equal(project_labels(with_holes, np.repeat(ids, 2), ahead, camera), labels)
    image = np.full(labels.shape, 3, np.uint8)
    found, certainty = label_points(with_holes, image, np.ones(labels.shape, np.float32), ahead, camera)
    assert (found[::2] == 255).all() and not certainty[::2].any()
    np.testing.assert_array_equal(found[1::2], label_points(scene, image, image / np.float32(3), ahead, camera)[0])


def test_exception_wrong_shapes():
    with user_error("array-shape", "(N, 4)"):
        project_points(np.zeros((3, 5)), np.eye(4), CAMERAS["pinhole"])
    with user_error("array-shape", "lidar_to_camera"):
        project_points(np.zeros((3, 4)), np.eye(3), CAMERAS["pinhole"])
    with user_error("array-shape"):
        project_labels(np.zeros((3, 4)), np.zeros(2), np.eye(4), CAMERAS["pinhole"])


@pytest.mark.parametrize("name", CAMERAS)
def test_value_labels_come_back_to_the_points_that_the_camera_sees(name):
    """Pixel of each point by OpenCV; hidden points by a search over all others, written out."""
    camera, points = CAMERAS[name], _cloud(1500, seed=4)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 25, (camera.height, camera.width)).astype(np.uint8)
    confidence = rng.random((camera.height, camera.width)).astype(np.float32)
    found, certainty = label_points(points, labels, confidence, TO_OPTICAL, camera)
    cam = points[:, :3].astype(np.float64) @ TO_OPTICAL[:3, :3].T + TO_OPTICAL[:3, 3]
    uv, valid = camera.project(cam)
    column, row = np.where(valid[:, None], np.floor(uv + 0.5), -9).astype(int).T
    distance = np.linalg.norm(cam, axis=1)
    checked = 0
    for i in range(len(points)):
        if not valid[i]:
            assert (found[i], certainty[i]) == (255, 0)
            continue
        around = valid & (abs(column - column[i]) <= 1) & (abs(row - row[i]) <= 1)
        limit = distance[around].min()
        limit += 0.3 + 0.03 * limit
        if abs(distance[i] - limit) < 1e-3:
            continue
        checked += 1
        seen = distance[i] <= limit
        assert found[i] == (labels[row[i], column[i]] if seen else 255)
        assert certainty[i] == (confidence[row[i], column[i]] if seen else 0)
    assert checked > 100
    assert 0 < (found != 255).sum() < valid.sum()  # some are hidden


def test_value_label_points_keeps_wide_labels_and_takes_no_points():
    camera = CAMERAS["pinhole"]
    labels = np.full((camera.height, camera.width), 300, np.uint16)
    confidence = np.ones(labels.shape, np.float32)
    points = np.array([[0, 0, 10, 1], [0, 0, -10, 1]], np.float32)
    assert label_points(points, labels, confidence, np.eye(4), camera)[0].tolist() == [300, 65535]
    assert label_points(points[:0], labels, confidence, np.eye(4), camera)[0].shape == (0,)
    with user_error("array-shape"):
        label_points(points, labels[1:], confidence, np.eye(4), camera)
