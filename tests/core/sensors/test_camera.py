"""Camera geometry against OpenCV and hand-made cases."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from raised import user_error

from any2seg_core.sensors.camera import CameraModel

K = np.array([[310.0, 0.0, 170.3], [0.0, 305.0, 121.7], [0.0, 0.0, 1.0]])
LENSES = {
    "plumb_bob": [-0.28, 0.09, 0.001, -0.002, -0.01],
    "rational_polynomial": [0.41, -0.12, 0.0007, -0.0004, 0.02, 0.75, -0.05, 0.01],
    "equidistant": [-0.03, 0.008, -0.004, 0.0007],
}


def _points(n: int = 500, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1.0, 60.0, n)
    return np.stack([rng.uniform(-0.6, 0.6, n) * depth, rng.uniform(-0.45, 0.45, n) * depth, depth], axis=1)


def _camera_info(**changes):
    fields = {
        "header": SimpleNamespace(frame_id="rgb_front"), "width": 640, "height": 480, "distortion_model": "plumb_bob",
        "d": np.array(LENSES["plumb_bob"]), "k": K.ravel().copy(), "r": np.eye(3).ravel(),
        "p": np.hstack([K * [[0.9], [0.9], [1.0]], np.zeros((3, 1))]).ravel(), "binning_x": 0, "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def _opencv(points, matrix, D, model):
    if model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(D))[0][:, 0]
    return cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(D))[0][:, 0]


@pytest.mark.parametrize("model", LENSES)
def test_value_projection_equals_opencv(model):
    camera = CameraModel(341, 243, K, LENSES[model], model)
    points = _points()
    uv, valid = camera.project(points)
    expected = _opencv(points, K, LENSES[model], model)
    assert np.abs(uv - expected).max() < 0.01
    inside = (expected[:, 0] >= -0.5) & (expected[:, 0] < 340.5) & (expected[:, 1] >= -0.5) & (expected[:, 1] < 242.5)
    assert 50 < inside.sum() < 500
    np.testing.assert_array_equal(valid, inside)


@pytest.mark.parametrize("model", LENSES)
def test_value_rays_invert_the_projection(model):
    camera = CameraModel(341, 243, K, LENSES[model], model)
    rays = camera.rays()
    assert rays.shape == (243, 341, 3)
    uv, _ = camera.project(rays.reshape(-1, 3) * 7.0)
    v, u = np.mgrid[:243, :341]
    assert np.abs(uv - np.stack([u.ravel(), v.ravel()], 1)).max() < 0.001


def test_value_points_behind_or_outside_are_invalid():
    camera = CameraModel.from_fov(31, 17, 90.0)
    uv, valid = camera.project(np.array([[0.0, 0, 5], [0, 0, -5], [0, 0, 0], [100, 0, 1], [np.nan, 0, 1]]))
    assert valid.tolist() == [True, False, False, False, False]
    np.testing.assert_allclose(uv[0], [15.0, 8.0])


def test_value_far_points_do_not_fold_back_into_a_distorted_image():
    camera = CameraModel(341, 243, K, LENSES["plumb_bob"])
    direction = np.linspace(0.0, 6.0, 200)
    uv, valid = camera.project(np.stack([direction, 0 * direction, np.ones(200)], 1))
    last = np.flatnonzero(valid).max()
    assert valid[: last + 1].all() and direction[last] < 1.2
    assert ((uv[:, 0] > 0) & (uv[:, 0] < 340) & (direction > 2)).any()  # the fold is real


def test_value_from_fov_spans_the_field_of_view():
    camera = CameraModel.from_fov(256, 192, 91.0)
    edge = np.tan(np.radians(45.5))
    uv, _ = camera.project(np.array([[edge, 0, 1.0], [-edge, 0, 1.0]]))
    np.testing.assert_allclose(uv[:, 0], [255.5, -0.5])


@pytest.mark.parametrize("size", [(128, 96), (521, 333), (341, 243)])
def test_value_scaled_matches_pixel_areas(size):
    camera = CameraModel(341, 243, K, LENSES["plumb_bob"])
    points = _points(50)
    factor = np.array(size) / [341, 243]
    uv, _ = camera.project(points)
    scaled, _ = camera.scaled(*size).project(points)
    np.testing.assert_allclose(scaled, (uv + 0.5) * factor - 0.5, atol=1e-9)


@pytest.mark.parametrize("model", LENSES)
def test_value_camera_info_with_binning_and_roi_equals_opencv_on_the_full_image(model):
    roi = SimpleNamespace(x_offset=40, y_offset=20, width=320, height=200, do_rectify=False)
    msg = _camera_info(d=LENSES[model], distortion_model=model, binning_x=2, binning_y=4, roi=roi)
    camera = CameraModel.from_camera_info(msg)
    assert (camera.width, camera.height, camera.frame_id) == (160, 50, "rgb_front")
    points = _points(80)
    full = _opencv(points, K, LENSES[model], model)
    assert np.abs(camera.project(points)[0] - (full - [40, 20]) / [2, 4]).max() < 0.01


def test_value_camera_info_uses_k_raw_and_p_rectified():
    assert CameraModel.from_camera_info(_camera_info()).is_distorted
    rectified = CameraModel.from_camera_info(_camera_info(), rectified=True)
    assert not rectified.is_distorted and rectified.K[0, 0] == pytest.approx(279.0)
    fallback = CameraModel.from_camera_info(_camera_info(p=np.zeros(12)), rectified=True)
    np.testing.assert_array_equal(fallback.K, K)
    assert fallback.is_distorted


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"k": np.zeros(9)}, ("message-value",)),
        ({"k": np.zeros(4)}, ("message-field", "9 numbers")),
        ({"k": np.full(9, np.nan)}, ("message-value", "NaN")),
        ({"k": np.array([289307.0, 0, 320, 0, 289307.0, 240, 0, 0, 1])}, ("message-value", "CARLA")),
        ({"d": np.zeros(3)}, ("message-value", "5 distortion")),
        ({"distortion_model": "magic"}, ("message-value", "magic")),
        ({"width": 0}, ("message-size",)),
        ({"width": "wide"}, ("message-field",)),
        ({"roi": None}, ("message-field", "x_offset")),
    ],
)
def test_exception_bad_camera_info_is_one_clear_line(changes, told):
    with user_error(*told) as caught:
        CameraModel.from_camera_info(_camera_info(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((0, 5, K), ("camera-size", "0 x 5")),
        ((5, 5, np.eye(4)), ("camera-intrinsics", "(4, 4)")),
        ((5, 5, -K), ("camera-uncalibrated", "fx=-")),
        ((5, 5, K, np.ones(7)), ("camera-distortion", "(7,)")),
        ((5.5, 5, K), ("camera-size", "5.5 x 5")),
    ],
)
def test_exception_bad_model_is_refused(arguments, told):
    with user_error(*told):
        CameraModel(*arguments)
