"""Calibrations of data sets: the pixel of a point is the one that the devkits' formulas give by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from raised import user_error

from any2seg_core.files.dataset_calibration import from_cityscapes, from_k_matrix, from_kitti360, from_stanford

SIZE = (161, 97)


def _row(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.12e}" for value in np.asarray(matrix, float).ravel())


@pytest.fixture
def kitti360(tmp_path: Path) -> Path:
    """Camera 0 looks along the vehicle's x and lies 0.5 m before and 0.2 m below the Velodyne; camera 1 0.6 m right."""
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # of the camera, in the LiDAR's frame
    to_lidar = np.column_stack([axes, [0.5, 0.0, -0.2]])
    to_pose = np.column_stack([axes, [1.0, 0.3, 0.9]])
    beside = np.column_stack([axes, [1.0, -0.3, 0.9]])
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a rectification that nobody can overlook
    projection = np.column_stack([[[100.0, 0, 80], [0, 110.0, 48], [0, 0, 1]], [0.0, 0, 0]])
    (tmp_path / "calib_cam_to_velo.txt").write_text(_row(to_lidar) + "\n")
    (tmp_path / "calib_cam_to_pose.txt").write_text(
        "".join(f"image_0{number}: {_row(pose)}\n" for number, pose in enumerate((to_pose, beside, to_pose, beside)))
    )
    lines = ["calib_time: 09-Jan-2012 13:57:47", "corner_dist: 9.95e-02"]
    for number, turn in enumerate((quarter, np.eye(3))):
        lines += [
            f"S_rect_0{number}: 161 97",
            f"R_rect_0{number}: {_row(turn)}",
            f"P_rect_0{number}: {_row(projection)}",
        ]
    (tmp_path / "perspective.txt").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize(
    ("camera", "pixel"),
    [
        (0, (100 * 0.5 / 4 + 80, 110 * 1.0 / 4 + 48)),  # (1, -0.5, 4) in the camera, turned by the quarter
        (1, (100 * 0.4 / 4 + 80, 110 * -0.5 / 4 + 48)),  # 0.6 m further right
    ],
)
def test_value_kitti360_goes_from_the_velodyne_through_the_rectification(kitti360: Path, camera: int, pixel):
    calibration = from_kitti360(kitti360, SIZE, camera)
    point = np.array([4.5, -1.0, 0.3, 1.0])  # 4 m before camera 0, 1 m to its right, 0.5 m above it
    u, v, w = calibration.camera.K @ (calibration.lidar_to_camera @ point)[:3]
    assert w == pytest.approx(4.0)
    assert (u / w, v / w) == pytest.approx(pixel)
    assert (calibration.camera.width, calibration.camera.height) == SIZE


def test_exception_kitti360_names_the_file_and_the_key(kitti360: Path):
    (kitti360 / "calib_cam_to_velo.txt").write_text("1 0 0\n")
    with user_error("file-content", "calib_cam_to_velo.txt", "12 numbers", "3"):
        from_kitti360(kitti360, SIZE)
    (kitti360 / "calib_cam_to_velo.txt").write_text("one two\n")
    with user_error("file-content", "calib_cam_to_velo.txt", "one"):
        from_kitti360(kitti360, SIZE)
    (kitti360 / "perspective.txt").write_text("P_rect_01: 1 2 3\n")
    with user_error("key-missing", "perspective.txt", "P_rect_00"):
        from_kitti360(kitti360, SIZE)
    (kitti360 / "perspective.txt").unlink()
    with user_error("file-missing", "perspective.txt"):
        from_kitti360(kitti360, SIZE)


def test_value_cityscapes_camera_and_baseline(tmp_path: Path):
    path = tmp_path / "ulm_000000_000019_camera.json"
    extrinsic = {"baseline": 0.209313, "pitch": 0.038, "roll": 0, "x": 1.7, "y": 0.1, "yaw": -0.0195, "z": 1.22}
    path.write_text(json.dumps({"extrinsic": extrinsic, "intrinsic": {"fx": 100, "fy": 101.5, "u0": 80, "v0": 47.5}}))
    calibration, baseline_m = from_cityscapes(path, SIZE)
    assert baseline_m == 0.209313
    assert calibration.camera.K.tolist() == [[100.0, 0.0, 80.0], [0.0, 101.5, 47.5], [0.0, 0.0, 1.0]]
    path.write_text(json.dumps({"intrinsic": {"fx": 100, "fy": "101", "u0": 80, "v0": 47.5}}))
    with user_error("key-missing", path, "intrinsic.fy"):
        from_cityscapes(path, SIZE)
    path.write_text(json.dumps({"intrinsic": {"fx": 100, "fy": 101, "u0": 80, "v0": 47.5}}))
    with user_error("key-missing", path, "extrinsic.baseline"):
        from_cityscapes(path, SIZE)


def test_value_stanford_and_sun_say_k(tmp_path: Path):
    K = [[120.0, 0.0, 81.0], [0.0, 121.0, 47.0], [0.0, 0.0, 1.0]]
    pose, text = tmp_path / "pose.json", tmp_path / "intrinsics.txt"
    pose.write_text(json.dumps({"camera_k_matrix": K, "field_of_view_rads": 1.0}))
    text.write_text("120 0 81 0 121 47 0 0 1 \n")
    assert from_stanford(pose, SIZE).camera.K.tolist() == K
    assert from_k_matrix(text, SIZE).camera.K.tolist() == K
    pose.write_text(json.dumps({"camera_k_matrix": K[:2]}))
    with user_error("key-missing", pose, "camera_k_matrix"):
        from_stanford(pose, SIZE)
    text.write_text("120 0 81 0 121 47")
    with user_error("file-content", text, "6 numbers"):
        from_k_matrix(text, SIZE)
    text.write_text("-120 0 81 0 121 47 0 0 1")
    with user_error("camera-uncalibrated", text):
        from_k_matrix(text, SIZE)
