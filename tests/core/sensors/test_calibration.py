"""Calibration files: round trip, and one clear line for every defect."""

from __future__ import annotations

import os

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error
from scipy.spatial.transform import Rotation

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.calibration import Calibration, load_calibration, load_camera_info, save_calibration
from any2seg_core.sensors.camera import UNNAMED_FRAME, CameraModel


def _transform(seed: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    matrix[:3, 3] = np.random.default_rng(seed).normal(size=3)
    return matrix


def _write(tmp_path, **changes):
    data = {
        "version": 1,
        "camera": {"width": 31, "height": 17, "hfov_deg": 91.0},
        "lidar_to_camera": np.eye(4).tolist(),
    }
    data.update(changes)
    path = tmp_path / "calibration.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value != "absent"}))
    return path


def test_value_round_trip_is_exact(tmp_path):
    camera = CameraModel(
        341, 243, [[310.1, 0, 170], [0, 305, 121], [0, 0, 1]], np.arange(8) / 100, "rational_polynomial"
    )
    events = CameraModel.from_fov(304, 240, 91.0, "dvs")
    saved = Calibration(camera, None, events, _transform(1), _transform(2), lidar_frame="velodyne")
    save_calibration(tmp_path / "c.yaml", saved)
    save_calibration(tmp_path / "c.yaml", saved)
    loaded = load_calibration(tmp_path / "c.yaml")
    for name in ("camera", "event_camera"):
        np.testing.assert_array_equal(getattr(loaded, name).K, getattr(saved, name).K)
        np.testing.assert_array_equal(getattr(loaded, name).D, getattr(saved, name).D)
        assert getattr(loaded, name).frame_id == getattr(saved, name).frame_id
    np.testing.assert_array_equal(loaded.lidar_to_camera, saved.lidar_to_camera)
    np.testing.assert_array_equal(loaded.event_to_camera, saved.event_to_camera)
    assert loaded.lidar_frame == "velodyne"
    assert loaded.depth_camera is None and loaded.depth_to_camera is None
    assert [p.name for p in tmp_path.iterdir()] == ["c.yaml"]


def test_smoke_camera_alone_with_field_of_view(tmp_path):
    calibration = load_calibration(_write(tmp_path, lidar_to_camera="absent"))
    assert calibration.lidar_to_camera is None
    assert (calibration.camera.width, calibration.camera.height) == (31, 17)


_SHEARED, _MIRRORED, _BAD = np.eye(4), np.diag([1.0, 1.0, -1.0, 1.0]), np.eye(4)
_SHEARED[0, 1], _BAD[0, 3] = 0.3, np.nan


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"camera": "absent"}, ("key-missing", "camera:")),
        ({"camera": {"width": 31, "height": 17}}, ("value-invalid", "hfov_deg")),
        ({"camera": {"width": 31, "hfov_deg": 90}}, ("key-missing", "camera.height")),
        ({"camera": {"width": 0, "height": 17, "hfov_deg": 90}}, ("camera-size", "camera", "width and height")),
        ({"camera": {"width": 31, "height": 17, "K": [[1, 2], [3, 4]]}}, ("camera-intrinsics", "camera")),
        (
            {"camera": {"width": 31, "height": 17, "hfov_deg": 90, "D": [1]}},
            ("camera-distortion", "camera", "plumb_bob", "takes 5"),
        ),
        ({"camera": {"width": 31, "height": 17, "hfov_deg": float("nan")}}, ("camera-intrinsics", "hfov_deg")),
        ({"lidar2camera": 3}, ("key-unknown", "lidar2camera")),
        ({"lidar_to_camera": _SHEARED.tolist()}, ("transform-invalid", "lidar_to_camera")),
        ({"lidar_to_camera": _MIRRORED.tolist()}, ("transform-invalid", "lidar_to_camera")),
        ({"lidar_to_camera": _BAD.tolist()}, ("not-finite", "NaN")),
        ({"lidar_to_camera": np.eye(3).tolist()}, ("transform-invalid", "lidar_to_camera")),
        ({"lidar_to_camera": [[1, 2], [3]]}, ("transform-invalid", "lidar_to_camera")),
        ({"event_to_camera": "front"}, ("value-type", "event_to_camera")),
        ({"version": 2}, ("value-invalid", "version")),
    ],
)
def test_exception_every_defect_names_file_and_key(tmp_path, changes, told):
    path = _write(tmp_path, **changes)
    with user_error(*told) as caught:
        load_calibration(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file-content"),
        (b"- 1\n", "file-content"),
        (b"a: [", "text-syntax"),
        (b"\xff\xfe\x00", "text-syntax"),
        (b"key: {{{", "text-syntax"),
        (b"5", "file-content"),
    ],
)
def test_exception_not_a_calibration(tmp_path, content, code):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with user_error(code, "c.yaml"):
        load_calibration(path)


def test_exception_missing_file_folder_and_unwritable(tmp_path):
    with user_error("file-missing", "none.yaml"):
        load_calibration(tmp_path / "none.yaml")
    with user_error("file-unreadable"):
        load_calibration(tmp_path)
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe.yaml")
    for place in ("file/c.yaml", "pipe.yaml"):
        with user_error("output-unwritable", place):
            save_calibration(tmp_path / place, Calibration(CameraModel.from_fov(5, 4, 90)))
    assert (tmp_path / "pipe.yaml").is_fifo()


def test_exception_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = _write(tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with user_error("output-unwritable", "calibration.yaml"):
        save_calibration(path, Calibration(CameraModel.from_fov(5, 4, 90)))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80) | st.text(alphabet="camera:width{}[]-\n 0123456789.!&*", max_size=80).map(str.encode))
def test_property_random_bytes_raise_only_user_errors(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError):
        load_calibration(path)


CAMERA_INFO = """
image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [500.5, 0, 320, 0, 501, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.02, 0.001, -0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [480, 0, 318, 0, 0, 481, 239, 0, 0, 0, 1, 0]}
"""


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_value_camera_info_file_of_a_camera_driver(tmp_path, prefix):
    path = tmp_path / "front.yaml"
    path.write_text(CAMERA_INFO)
    camera = load_camera_info(f"{prefix}{path}")
    assert (camera.width, camera.height, camera.frame_id) == (640, 480, UNNAMED_FRAME)
    np.testing.assert_array_equal(camera.K, [[500.5, 0, 320], [0, 501, 240], [0, 0, 1]])
    np.testing.assert_array_equal(camera.D, [-0.1, 0.02, 0.001, -0.002, 0])
    rectified = load_camera_info(f"{prefix}{path}", rectified=True)
    np.testing.assert_array_equal(rectified.K, [[480, 0, 318], [0, 481, 239], [0, 0, 1]])
    assert not rectified.is_distorted


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("image_width: 640", "", ("key-missing", "image_width")),
        ("rows: 3, cols: 3, data: [500.5,", "rows: 3, cols: 3, data: [", ("array-shape", "3 x")),
        ("plumb_bob", "mystery", ("camera-distortion", "distortion_model")),
        ("500.5", "many", ("value-type", "camera_matrix")),
        ("image_height: 480", "image_height: 0", ("camera-size",)),
    ],
)
def test_exception_camera_info_file_names_file_and_key(tmp_path, old, new, told):
    path = tmp_path / "front.yaml"
    path.write_text(CAMERA_INFO.replace(old, new, 1))
    with user_error(*told) as error:
        load_camera_info(str(path))
    assert str(error.value).startswith(f"{path}: ")
