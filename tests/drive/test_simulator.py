"""The drive as a whole: LiDAR against depth and labels, reproducibility, weathers and failures on a real town."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from raised import user_error

pytest.importorskip("open3d")

from small_rig import small_rig

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.labels import DELIVER, IGNORE
from any2seg_drive.simulator import Drive

SMALL = small_rig()
TIMES_S = (4.0, 33.3, 70.0)


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive(0, "train", "cloudy")


@pytest.fixture(scope="module")
def small(drive: Drive) -> Drive:
    return drive.with_conditions("cloudy", None, SMALL)


def digest(drive: Drive, t_s: float = 12.3) -> str:
    """One hash over every sensor."""
    total = hashlib.sha256()
    others = drive.depth(t_s + 0.003), drive.events(t_s - 0.05, t_s)
    for array in (*drive.camera(t_s), *drive.lidar(t_s - 0.015), *others):
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def projected(drive: Drive, t_s: float):
    """LiDAR points of time t in the image at t: column, row, z and label of those inside it."""
    points, labels = drive.lidar(t_s)
    calibration = drive.rig.calibration()
    transform = calibration.lidar_to_camera
    in_camera = points[:, :3].astype(np.float64) @ transform[:3, :3].T + transform[:3, 3]
    z = in_camera[:, 2]
    front = z > 0.2
    rvec = tvec = np.zeros(3)
    pixels = cv2.projectPoints(in_camera[front], rvec, tvec, calibration.camera.K, calibration.camera.D)[0][:, 0]
    column, row = np.floor(pixels + 0.5).astype(int).T
    inside = (column >= 0) & (column < calibration.camera.width) & (row >= 0) & (row < calibration.camera.height)
    return column[inside], row[inside], z[front][inside], labels[front][inside]


def away_from_edges(depth_m: np.ndarray, labels: np.ndarray) -> np.ndarray:
    window = np.ones((5, 5), np.uint8)
    measured = cv2.dilate(depth_m, window) < 999
    steady = cv2.dilate(depth_m, window) < 1.2 * cv2.erode(depth_m, window)
    return measured & steady & (cv2.dilate(labels, window) == cv2.erode(labels, window))


@pytest.mark.parametrize("t_s", TIMES_S)
def test_property_lidar_agrees_with_depth_and_labels(drive: Drive, t_s: float):
    perfect = drive.with_conditions("cloudy")
    perfect.weather = replace(perfect.weather, depth_noise_factor=0.0, depth_hole_share=0.0, depth_range_m=1000.0)
    _, depth_m, truth = perfect.camera(t_s)
    column, row, z, labels = projected(drive, t_s)
    checked = away_from_edges(depth_m, truth)[row, column]
    column, row, z, labels = column[checked], row[checked], z[checked], labels[checked]
    assert len(z) > 1500
    error = z - depth_m[row, column]
    tolerance = np.maximum(0.25, 0.04 * z)
    assert np.median(np.abs(error)) < 0.1
    # The LiDAR sits higher and further back: it may see what the camera cannot, but nothing in front of its surface.
    assert (error < -tolerance).mean() < 0.003
    visible = np.abs(error) < tolerance
    assert visible.mean() > 0.85
    assert (labels[visible] == truth[row, column][visible]).mean() >= 0.97


def test_property_depth_camera_agrees_with_lidar_through_its_noise(drive: Drive):
    _, depth_m, truth = drive.camera(12.0)
    column, row, z, _ = projected(drive, 12.0)
    checked = away_from_edges(depth_m, truth)[row, column]
    assert np.median(np.abs(z - depth_m[row, column])[checked]) < 0.1


def test_shape_of_every_sensor(small: Drive):
    rgb, depth_m, labels = small.camera(5.0)
    assert rgb.shape == (75, 97, 3) and rgb.dtype == np.uint8
    assert depth_m.shape == (75, 97) and depth_m.dtype == np.float32 and depth_m.min() > 0 and depth_m.max() <= 1000
    assert labels.shape == (75, 97) and labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*range(len(DELIVER)), IGNORE}
    points, point_labels = small.lidar(5.0)
    assert points.dtype == np.float32 and points.shape == (len(point_labels), 4)
    assert points[:, 3].min() >= 0 and points[:, 3].max() <= 1
    assert np.linalg.norm(points[:, :3], axis=1).max() < 100.5
    assert small.depth(5.003).shape == (75, 97)
    raw, truth = small.sample(5.0)
    assert set(raw) == {"rgb", "depth", "event", "lidar"}
    np.testing.assert_array_equal(truth, labels)
    np.testing.assert_array_equal(raw["rgb"], rgb)


def test_property_events_stay_in_their_window_and_forget_nothing_else(small: Drive):
    asked_later = small.events(6.05, 6.1)
    fresh = small.with_conditions("cloudy")
    fresh.events(6.0, 6.05)
    again = fresh.events(6.05, 6.1)
    assert asked_later.tobytes() == again.tobytes() and len(again) > 50
    assert again["t"].min() >= 6_050_000_000 and again["t"].max() < 6_100_000_000
    assert again["x"].max() < 88 and again["y"].max() < 60


def test_property_same_seed_same_bytes_in_another_process(small: Drive):
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import test_simulator as t; "
        "print(t.digest(t.Drive(0, 'train', 'rainy', 'lidarjitter', t.SMALL)))"
    )
    folder = Path(__file__).resolve().parent
    command = [sys.executable, "-c", code, str(folder), str(folder.parent)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == digest(small.with_conditions("rainy", "lidarjitter"))
    assert digest(small.with_conditions("rainy")) != answer.stdout.strip()


def test_value_night_is_dark_and_noisy(small: Drive):
    day, night = (small.with_conditions(name).camera(8.0)[0].astype(float) for name in ("cloudy", "night"))
    assert night.mean() < 0.75 * day.mean()

    def grain(image):
        return np.abs(image - cv2.medianBlur(image.astype(np.uint8), 3)).mean() / image.mean()

    assert grain(night) > 1.5 * grain(day)


def test_value_fog_takes_contrast_and_range(small: Drive):
    clear, fog = small, small.with_conditions("foggy")
    assert fog.camera(8.0)[0].std() < 0.6 * clear.camera(8.0)[0].std()
    far = [np.count_nonzero(np.linalg.norm(d.lidar(8.0)[0][:, :3], axis=1) > 30) for d in (clear, fog)]
    assert far[1] < 0.3 * far[0]
    valid = [(d.camera(8.0)[1] < 999).mean() for d in (clear, fog)]
    assert valid[1] < valid[0]
    assert len(fog.events(7.95, 8.0)) < len(clear.events(7.95, 8.0))


def test_value_glare_when_the_camera_faces_the_sun(small: Drive):
    sunny = small.with_conditions("sunny")
    forward = sunny._world.ego_pose(8.0)[:3, 0]
    contrast = []
    for direction in (forward + [0, 0, 0.5], -forward + [0, 0, 0.5]):
        unit = tuple(float(v) for v in direction / np.linalg.norm(direction))
        facing = sunny.with_conditions("sunny")
        facing.weather = replace(facing.weather, sun_direction=unit, glare=1.0)
        ground = facing.camera(8.0)[0][45:].astype(float)
        contrast.append(ground.std() / ground.mean())
    assert contrast[0] < 0.8 * contrast[1]


@pytest.mark.parametrize("failure, stronger", [("overexposure", True), ("underexposure", False)])
def test_value_exposure_failures(small: Drive, failure: str, stronger: bool):
    good, bad = (small.with_conditions("cloudy", name).camera(9.0)[0].mean() for name in (None, failure))
    assert (bad > 1.3 * good) if stronger else (bad < 0.5 * good)


def test_value_motion_blur_takes_sharpness_but_not_truth(small: Drive):
    good, bad = small.camera(9.0), small.with_conditions("cloudy", "motionblur").camera(9.0)
    sharpness = [cv2.Laplacian(image[0], cv2.CV_64F).std() for image in (good, bad)]
    assert sharpness[1] < 0.5 * sharpness[0]
    np.testing.assert_array_equal(good[2], bad[2])


def test_value_lidar_jitter_moves_points_and_keeps_labels(small: Drive):
    (points, labels), shaken = small.lidar(9.0), small.with_conditions("cloudy", "lidarjitter").lidar(9.0)
    assert not np.array_equal(points, shaken[0]) and len(shaken[0]) == pytest.approx(len(points), rel=0.02)
    assert np.bincount(shaken[1], minlength=25).argmax() == np.bincount(labels, minlength=25).argmax()


def test_value_low_resolution_events_come_in_blocks(small: Drive):
    events = small.with_conditions("cloudy", "eventlowres").events(8.95, 9.0)
    counts = np.zeros((60, 88), int)
    np.add.at(counts, (events["y"], events["x"]), 1)
    blocks = counts.reshape(15, 4, 22, 4).transpose(0, 2, 1, 3).reshape(330, 16)
    lively = blocks[blocks.sum(axis=1) > 16]
    assert len(lively) > 3 and (lively > 0).mean() > 0.8


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"weather": "hail"}, ("value-unknown", "hail")),
        ({"failure": "flat tyre"}, ("value-unknown",)),
        ({"split": "exam"}, ("value-unknown", "exam")),
    ],
)
def test_exception_names_the_bad_argument(arguments: dict, told: tuple[str, ...]):
    with user_error(*told):
        Drive(0, **arguments)


def test_exception_times_outside_the_drive(small: Drive):
    with user_error("value-range"):
        small.camera(-1.0)
    with user_error("value-range"):
        small.events(2.0, 2.0)


def test_exception_rig_with_two_depth_grids():
    with user_error("value-conflict", "depth_camera"):
        replace(SMALL, depth_camera=CameraModel.from_fov(50, 40, 91.0))
