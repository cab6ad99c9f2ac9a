"""Pictures of all formats on the camera plane: thermal ranges by hand, rotations against OpenCV's homography."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from raised import user_error

from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.images import image_codes, warp_image
from any2seg_core.sensors.places import SensorPlace
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.sensors.rigid import rotation_xyz
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

CAMERA = CameraModel.from_fov(101, 67, 70.0)
LEFT = CameraModel.from_fov(83, 61, 60.0)
THERMAL16 = Sensor("thermal", "T", "image", "thermal16", value_range=(28000, 32000))
SUITE = SensorSuite(
    "van",
    (
        Sensor("left", "S", "image", "grey"),
        Sensor("front", "F", "image"),
        THERMAL16,
        Sensor("hot", "H", "image", "thermal8", value_range=(50, 100)),
        Sensor("near", "N", "image"),
    ),
    camera="front",
)
TURN = np.eye(4)
TURN[:3, :3] = rotation_xyz(2.0, -9.0, 4.0)


def rig(**places: SensorPlace) -> SensorRig:
    return SensorRig(Calibration(CAMERA, sensors=places), suite=SUITE)


def smooth(height: int, width: int) -> np.ndarray:
    """(H, W) uint8 without edges, where interpolation is nearly exact."""
    y, x = np.mgrid[:height, :width]
    return np.round(127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.uint8)


def test_value_thermal_counts_become_shares_of_their_range():
    counts = np.array([[0, 27999, 28000, 28008], [29000, 30000, 32000, 65535]], np.uint16)
    assert image_codes(counts, THERMAL16).tolist() == [[0, 0, 0, 1], [64, 128, 255, 255]]  # 1000/4000*255 = 63.75
    eight = np.array([[0, 50, 75, 100, 255]], np.uint8)
    assert image_codes(eight, SUITE.sensor("hot")).tolist() == [[0, 0, 128, 255, 255]]  # 127.5 goes to the even code
    whole = Sensor("whole", "W", "image", "thermal8")
    assert np.array_equal(image_codes(eight, whole), eight)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("left", np.zeros((4, 5, 3), np.uint8)),
        ("left", np.zeros((4, 5), np.uint16)),
        ("front", np.zeros((4, 5), np.uint8)),
        ("front", np.zeros((4, 5, 4), np.uint8)),
        ("thermal", np.zeros((4, 5), np.uint8)),
        ("hot", np.zeros((4, 5), np.uint16)),
        ("thermal", np.zeros((4, 5), np.float32)),
    ],
)
def test_exception_pictures_of_another_format(name, array):
    with user_error("array-shape", name, array.dtype, array.shape):
        image_codes(array, SUITE.sensor(name))


def test_value_a_turned_camera_is_the_homography_of_opencv():
    picture = smooth(61, 83)
    found = warp_image(picture, LEFT, CAMERA, TURN[:3, :3])
    homography = CAMERA.K @ TURN[:3, :3] @ np.linalg.inv(LEFT.K)
    expected = cv2.warpPerspective(picture, homography, (101, 67), flags=cv2.INTER_LINEAR)
    covered = cv2.warpPerspective(np.full_like(picture, 255), homography, (101, 67), flags=cv2.INTER_LINEAR) == 255
    inside = cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert 0.3 < inside.mean() < 0.95
    assert np.abs(found.astype(int) - expected)[inside].max() <= 2
    outside = ~(cv2.dilate(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
    assert outside.any() and not found[outside].any()


def test_value_a_whole_turn_about_the_axis_moves_pixels_exactly():
    square = CameraModel.from_fov(41, 41, 90.0)
    picture = np.random.default_rng(0).integers(0, 256, (41, 41, 3), dtype=np.uint8)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert np.array_equal(warp_image(picture, square, square, quarter), np.rot90(picture, -1))


def test_value_a_distorted_camera_sees_each_point_where_the_plane_has_it():
    bent = CameraModel(83, 61, LEFT.K, np.array([-0.2, 0.05, 0.001, -0.002, 0.0]))
    target = CameraModel.from_fov(101, 67, 40.0)  # all of it lies in the bent camera's view
    columns = np.tile(np.arange(83, dtype=np.uint8) * 3, (61, 1))  # the code says the column
    found = warp_image(columns, bent, target, np.eye(3))
    rays = target.rays().reshape(-1, 3).astype(float)
    uv, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), bent.K, bent.D)
    assert np.abs(found.reshape(-1) - 3 * uv[:, 0, 0]).max() < 1.0


def test_value_rig_brings_every_picture_to_the_grid_of_the_camera():
    left, counts = smooth(61, 83), (28000 + 15 * smooth(61, 83).astype(np.uint16)).astype(np.uint16)
    made = rig(left=SensorPlace(LEFT, TURN), thermal=SensorPlace(LEFT)).planes({"thermal": counts, "left": left}, 0)
    assert tuple(made) == ("left", "thermal")
    assert all(plane.shape == (67, 101, 3) for plane in made.values())
    assert np.array_equal(made["left"][..., 1], warp_image(left, LEFT, CAMERA, TURN[:3, :3]))
    straight = warp_image(image_codes(counts, THERMAL16), LEFT, CAMERA, np.eye(3))
    assert np.array_equal(made["thermal"], np.repeat(straight[..., None], 3, axis=2))


def test_value_without_an_entry_a_sensor_has_the_camera_s_view():
    picture = np.random.default_rng(1).integers(0, 256, (67, 101, 3), dtype=np.uint8)
    assert np.array_equal(rig().planes({"near": picture}, 0)["near"], picture)
    doubled = rig().planes({"near": cv2.resize(picture, (202, 134), interpolation=cv2.INTER_NEAREST)}, 0)["near"]
    assert np.abs(doubled.astype(int) - picture).max() <= 1  # the mean of four equal pixels
    with user_error("calibration-size", "near", "67x67", "sensors.near.camera"):
        rig().planes({"near": picture[:, :67]}, 0)


def test_value_a_finer_camera_is_averaged_not_picked():
    fine = CAMERA.scaled(404, 268)
    noise = np.random.default_rng(2).integers(0, 256, (268, 404, 3), dtype=np.uint8)
    plane = rig(near=SensorPlace(fine)).planes({"near": noise}, 0)["near"]
    assert np.abs(plane.astype(int) - cv2.resize(noise, (101, 67), interpolation=cv2.INTER_AREA)).max() <= 1


def test_value_a_camera_that_looks_elsewhere_gives_an_empty_plane():
    back = np.eye(4)
    back[:3, :3] = np.diag([-1.0, 1.0, -1.0])
    plane = rig(near=SensorPlace(LEFT, back)).planes({"near": np.full((61, 83, 3), 200, np.uint8)}, 0)["near"]
    assert plane.shape == (67, 101, 3)
    assert not plane.any()


@pytest.mark.parametrize("format_", ["grey", "thermal8", "thermal16"])
def test_value_the_camera_itself_may_have_one_channel(format_):
    value_range, dtype = ((0, 65535), np.uint16) if format_ == "thermal16" else (None, np.uint8)
    suite = SensorSuite("eye", (Sensor("eye", "E", "image", format_, value_range=value_range),))
    picture = np.full((67, 101), np.iinfo(dtype).max, dtype)
    plane = SensorRig(Calibration(CAMERA), suite=suite).planes({"eye": picture}, 0)["eye"]
    assert np.array_equal(plane, np.full((67, 101, 3), 255))
