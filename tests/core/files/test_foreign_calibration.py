"""Calibrations of other programs: pixels by their own formulas, rotations by scipy, and what cannot be taken."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from raised import user_error
from scipy.spatial.transform import Rotation

from any2seg_core.base.shipped import shipped_file
from any2seg_core.files.foreign_calibration import from_camera_info, from_kalibr, from_kitti, from_nuscenes
from any2seg_core.sensors.calibration import load_calibration, save_calibration

POINTS = np.array([[12.0, 1.5, -0.7], [30.0, -4.0, 0.4], [7.5, 0.2, 1.1]])
AXES = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)  # LiDAR to optical
TILT = Rotation.from_euler("xyz", [1.5, -0.8, 0.6], degrees=True).as_matrix()


def pixels(calibration, points=POINTS) -> np.ndarray:
    matrix = calibration.lidar_to_camera
    return calibration.camera.project(points @ matrix[:3, :3].T + matrix[:3, 3])[0]


def homogeneous(points):
    return np.column_stack([points, np.ones(len(points))])


P2 = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
TR = np.column_stack([TILT @ AXES, [-0.004, -0.076, -0.27]])
RECTIFY = Rotation.from_euler("xyz", [0.4, -0.5, 0.3], degrees=True).as_matrix()


def row(key, values):
    return f"{key}: {' '.join(f'{value:.12e}' for value in np.ravel(values))}\n"


def devkit_pixels() -> np.ndarray:
    """KITTI's readme: y = P_rect R_rect Tr x."""
    rectify = np.eye(4)
    rectify[:3, :3] = RECTIFY
    seen = homogeneous(POINTS) @ (P2 @ rectify @ np.vstack([TR, [0, 0, 0, 1]])).T
    return seen[:, :2] / seen[:, 2:]


def raw_folder(path):
    path.mkdir(exist_ok=True)
    (path / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.95e-02\n" + row("R_rect_00", RECTIFY)
        + row("S_rect_02", [1242, 375]) + row("P_rect_02", P2)
    )  # fmt: skip
    velo = "calib_time: 15-Mar-2012 11:37:16\n" + row("R", TR[:, :3]) + row("T", TR[:, 3]) + "delta_f: 0.0 0.0\n"
    (path / "calib_velo_to_cam.txt").write_text(velo)
    return path


@pytest.mark.parametrize("by_file", [False, True])
def test_value_kitti_raw_is_the_devkits_formula(tmp_path, by_file):
    folder = raw_folder(tmp_path / "2011_09_26")
    found = from_kitti(folder / "calib_cam_to_cam.txt" if by_file else folder)
    assert (found.camera.width, found.camera.height) == (1242, 375)
    np.testing.assert_allclose(pixels(found), devkit_pixels(), atol=0.05)  # P[2, 3] of 3 mm is put in front of the lens


def test_value_kitti_object_and_odometry(tmp_path):
    P = P2.copy()
    P[2, 3] = 0.0
    both = row("P0", P) + row("P2", P)
    (tmp_path / "object.txt").write_text(both + row("R0_rect", RECTIFY) + row("Tr_velo_to_cam", TR))
    (tmp_path / "calib.txt").write_text(both + row("Tr", np.column_stack([RECTIFY @ TR[:, :3], RECTIFY @ TR[:, 3]])))
    for name in ("object.txt", "calib.txt"):
        found = from_kitti(tmp_path / name, size=(1241, 376))
        assert (found.camera.width, found.camera.height) == (1241, 376)
        seen = homogeneous(POINTS) @ (P @ np.vstack([np.column_stack([RECTIFY @ TR[:, :3], RECTIFY @ TR[:, 3]]),
                                                     [0, 0, 0, 1]])).T  # fmt: skip
        np.testing.assert_allclose(pixels(found), seen[:, :2] / seen[:, 2:], atol=1e-6)
        with user_error("key-missing", name, "--size"):
            from_kitti(tmp_path / name)


def test_exception_kitti_without_what_is_needed(tmp_path):
    (tmp_path / "a.txt").write_text(row("P2", P2))
    with user_error("key-missing", "Tr", 12):
        from_kitti(tmp_path / "a.txt", size=(1242, 375))
    with user_error("key-missing", "P3"):
        from_kitti(tmp_path / "a.txt", camera=3, size=(1242, 375))
    with user_error("file-missing", "calib_cam_to_cam.txt"):
        from_kitti(tmp_path)


def camchain(**changes):
    lens = {"camera_model": "pinhole", "intrinsics": [461.6, 460.2, 362.7, 248.1], "distortion_model": "radtan",
            "distortion_coeffs": [-0.28, 0.07, 0.0002, 1.7e-05], "resolution": [752, 480]}  # fmt: skip
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = TILT, [-0.11, 0.002, -0.001]
    return {
        "cam0": dict(lens),
        "cam1": lens | {"T_cn_cnm1": step.tolist(), "distortion_model": "equidistant"},
        "cam2": lens | {"T_cn_cnm1": step.tolist(), "distortion_model": "none", "distortion_coeffs": []} | changes,
    }


def test_value_kalibr_chains_transforms(tmp_path):
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(camchain()))
    found = from_kalibr(tmp_path / "camchain.yaml", {"rgb": "cam0", "event": "cam2"})
    assert found.camera.K.tolist() == [[461.6, 0, 362.7], [0, 460.2, 248.1], [0, 0, 1]]
    assert found.camera.distortion_model == "plumb_bob"
    assert found.camera.D.tolist() == [-0.28, 0.07, 0.0002, 1.7e-05, 0.0]
    assert not found.event_camera.D.any()
    offset, turn = np.array([-0.11, 0.002, -0.001]), Rotation.from_matrix(TILT)
    event = np.array([0.3, -0.2, 4.0])  # a point in the frame of cam2: back through cam1 to cam0
    back = turn.inv().apply(turn.inv().apply(event - offset) - offset)
    np.testing.assert_allclose((found.event_to_camera @ [*event, 1])[:3], back, atol=1e-12)
    other = from_kalibr(tmp_path / "camchain.yaml", {"rgb": "cam1", "depth": "cam0"})
    np.testing.assert_allclose((other.depth_to_camera @ [*event, 1])[:3], turn.apply(event) + offset, atol=1e-12)
    assert other.camera.distortion_model == "equidistant"


def test_exception_kalibr(tmp_path):
    path = tmp_path / "c.yaml"
    cases = [
        (camchain(), {"rgb": "cam7"}, "key-missing", "cam7"),
        (camchain(camera_model="omni"), {"rgb": "cam2"}, "camera-distortion", "omni"),
        (camchain(distortion_model="fov"), {"rgb": "cam2"}, "camera-distortion", "fov"),
        (camchain(T_cn_cnm1=[1, 2]), {"rgb": "cam0"}, "key-missing", "cam2.T_cn_cnm1"),
        (camchain(intrinsics=[1, 2]), {"rgb": "cam2"}, "key-missing", "cam2"),
        (camchain(T_cn_cnm1=(2 * np.eye(4)).tolist()), {"rgb": "cam0", "event": "cam2"}, "transform-invalid", "event"),
        ([1, 2], {"rgb": "cam0"}, "key-missing", "no camera"),
    ]
    for document, names, code, words in cases:
        path.write_text(yaml.safe_dump(document))
        with user_error(code, "c.yaml", words):
            from_kalibr(path, names)


def nuscenes(path, records):
    (path / "calibrated_sensor.json").write_text(json.dumps(records))
    channels = [{"token": "s1", "channel": "CAM_FRONT"}, {"token": "s2", "channel": "LIDAR_TOP"}]
    (path / "sensor.json").write_text(json.dumps(channels))
    return path


CAMERA_POSE = {"translation": [1.7, 0.016, 1.511], "rotation": [0.4998, -0.5030, 0.4997, -0.4974]}
LIDAR_POSE = {"translation": [0.943, 0.0, 1.84], "rotation": [0.7077, -0.0064, 0.0105, -0.7063]}
K = [[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]


def records():
    return [
        {"token": "a", "sensor_token": "s1", "camera_intrinsic": K} | CAMERA_POSE,
        {"token": "b", "sensor_token": "s2", "camera_intrinsic": []} | LIDAR_POSE,
    ]


@pytest.mark.parametrize("tokens", [("CAM_FRONT", "LIDAR_TOP"), ("a", "b")])
def test_value_nuscenes_through_the_vehicle(tmp_path, tokens):
    found = from_nuscenes(nuscenes(tmp_path, records()), {"camera": tokens[0], "lidar": tokens[1]})
    assert (found.camera.width, found.camera.height) == (1600, 900)
    camera = Rotation.from_quat(np.roll(CAMERA_POSE["rotation"], -1))
    lidar = Rotation.from_quat(np.roll(LIDAR_POSE["rotation"], -1))
    vehicle = lidar.apply(POINTS) + LIDAR_POSE["translation"]
    expected = camera.inv().apply(vehicle - CAMERA_POSE["translation"])
    matrix = found.lidar_to_camera
    np.testing.assert_allclose(POINTS @ matrix[:3, :3].T + matrix[:3, 3], expected, atol=1e-9)


def test_exception_nuscenes(tmp_path):
    tokens = {"camera": "CAM_FRONT", "lidar": "LIDAR_TOP"}
    twice = [*records(), {"token": "c", "sensor_token": "s2", "camera_intrinsic": []} | CAMERA_POSE]
    with user_error("value-conflict", "LIDAR_TOP", "2 ways", "b, c"):
        from_nuscenes(nuscenes(tmp_path, twice), tokens)
    with user_error("value-unknown", "CAM_BACK", "CAM_FRONT"):
        from_nuscenes(tmp_path, tokens | {"camera": "CAM_BACK"})
    with user_error("file-content", "no camera"):
        from_nuscenes(tmp_path, {"camera": "b", "lidar": "a"})
    broken = [records()[0], records()[1] | {"rotation": [2.0, 0, 0, 0]}]
    with user_error("file-content", "unit quaternion"):
        from_nuscenes(nuscenes(tmp_path, broken), tokens)
    (tmp_path / "calibrated_sensor.json").write_text("{}")
    with user_error("file-content", "no list"):
        from_nuscenes(tmp_path, tokens)


def camera_info(width=97, focal=80.5):
    return {
        "image_width": width, "image_height": 61, "camera_name": "left",
        "camera_matrix": {"rows": 3, "cols": 3, "data": [focal, 0, 48, 0, focal, 30, 0, 0, 1]},
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, 0.01, 0, 0, 0]},
        "projection_matrix": {"rows": 3, "cols": 4, "data": [79, 0, 47, 0, 0, 79, 30, 0, 0, 0, 1, 0]},
    }  # fmt: skip


def test_value_camera_info_of_several_sensors(tmp_path):
    (tmp_path / "rgb.yaml").write_text(yaml.safe_dump(camera_info()))
    (tmp_path / "event.yaml").write_text(yaml.safe_dump(camera_info(65, 50.0)))
    found = from_camera_info({"rgb": tmp_path / "rgb.yaml", "event": tmp_path / "event.yaml"})
    assert (found.camera.K[0, 0], found.event_camera.K[0, 0], found.event_camera.width) == (80.5, 50.0, 65)
    assert found.camera.D[0] == 0.1
    rectified = from_camera_info({"rgb": tmp_path / "rgb.yaml"}, rectified=True)
    assert rectified.camera.K[0, 0] == 79 and not rectified.camera.D.any()
    with user_error("sensor-none", "colour camera"):
        from_camera_info({"event": tmp_path / "event.yaml"})


def test_exception_foreign_files_are_recognised_with_the_way_out(tmp_path):
    raw_folder(tmp_path)
    nuscenes(tmp_path, records())
    (tmp_path / "ost.yaml").write_text(yaml.safe_dump(camera_info()))
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump(camchain()))
    (tmp_path / "000000.txt").write_text(row("P0", P2) + row("P2", P2) + row("Tr_velo_to_cam", TR))
    expected = {
        "ost.yaml": "from-camera-info", "chain.yaml": "from-kalibr", "calibrated_sensor.json": "from-nuscenes",
        "000000.txt": "from-kitti", "calib_cam_to_cam.txt": "from-kitti", "calib_velo_to_cam.txt": "from-kitti",
    }  # fmt: skip
    for name, command in expected.items():
        with user_error("calibration-foreign", name, f"any2seg calib {command} {tmp_path / name}"):
            load_calibration(tmp_path / name)


def test_value_the_example_is_a_calibration_and_comes_back_from_its_own_file(tmp_path):
    example = load_calibration(shipped_file("any2seg_core", "sensors", "calibration_example.yaml"))
    assert (example.camera.width, example.event_camera.width, example.lidar_frame) == (1280, 640, "lidar")
    # A point 10 m ahead of a LiDAR that sits 0.3 m behind and 0.1 m above the camera.
    np.testing.assert_allclose(example.lidar_to_camera @ [10, 0, 0, 1], [0, -0.1, 9.7, 1])
    save_calibration(tmp_path / "c.yaml", example)
    again = load_calibration(tmp_path / "c.yaml")
    np.testing.assert_array_equal(again.lidar_to_camera, example.lidar_to_camera)
    np.testing.assert_array_equal(again.event_camera.K, example.event_camera.K)
