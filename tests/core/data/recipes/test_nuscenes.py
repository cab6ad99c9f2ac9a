"""nuScenes' tables: which files belong together, and where the LiDAR was for the camera's moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nuscenes_tree import DRIVEN_M, token, write_nuscenes
from raised import user_error
from street_trees import CENTRE, CLOUD, FOCAL, PIXELS

from any2seg_core.data.nuscenes import read_key_frames

LABELS = (24, 17, 28, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_nuscenes(tmp_path, "v1.0-mini", {"scene-0103": 2, "scene-0061": 1}, LABELS)


def test_value_key_frames_are_those_of_the_scenes_in_order_and_sweeps_are_none(root: Path):
    frames = read_key_frames(root / "v1.0-mini", ["CAM_FRONT"])
    expected = [("scene-0061", 0), ("scene-0103", 0), ("scene-0103", 1)]
    assert [(frame.scene, frame.sample) for frame in frames] == [(scene, token(scene, n)) for scene, n in expected]
    assert all((root / name).is_file() for frame in frames for name in (frame.image, frame.lidar, frame.lidarseg))
    assert all(frame.image.startswith("samples/CAM_FRONT/") for frame in frames)
    both = read_key_frames(root / "v1.0-mini", ["CAM_FRONT", "CAM_BACK"])
    assert [frame.camera for frame in both] == ["CAM_FRONT", "CAM_BACK"] * 3


def test_value_a_point_falls_where_it_is_when_the_picture_is_taken(root: Path):
    """The vehicle drives on between sweep and picture: without its poses a point at 5 m would be 1 m too far."""
    frame = read_key_frames(root / "v1.0-mini", ["CAM_FRONT"])[2]
    stored = np.fromfile(root / frame.lidar, "<f4").reshape(-1, 5)[:3]
    homogeneous = np.column_stack([stored[:, :3], np.ones(3)])
    seen = (frame.calibration.lidar_to_camera @ homogeneous.T).T  # (3, 4)
    np.testing.assert_allclose(seen[:, 2], CLOUD[:3, 0], atol=1e-5)
    np.testing.assert_allclose(stored[:, 1] - DRIVEN_M, CLOUD[:3, 0])
    u = FOCAL * seen[:, 0] / seen[:, 2] + CENTRE[0]
    v = FOCAL * seen[:, 1] / seen[:, 2] + CENTRE[1]
    np.testing.assert_allclose(np.column_stack([v, u]), PIXELS, atol=1e-4)
    back = read_key_frames(root / "v1.0-mini", ["CAM_BACK"])[2]
    assert (back.calibration.lidar_to_camera @ homogeneous.T)[2].max() < 0.0


def test_value_without_lidarseg_the_file_is_where_it_would_be(tmp_path: Path):
    root = write_nuscenes(tmp_path, "v1.0-test", {"scene-0077": 1}, None)
    frame = read_key_frames(root / "v1.0-test", ["CAM_FRONT"])[0]
    assert frame.lidarseg == f"lidarseg/v1.0-test/{token(frame.lidar)}_lidarseg.bin"


def test_value_tables_are_read_in_pieces(root: Path, monkeypatch: pytest.MonkeyPatch):
    expected = read_key_frames(root / "v1.0-mini", ["CAM_FRONT"])
    monkeypatch.setattr("any2seg_core.data.nuscenes._CHUNK", 7)
    found = read_key_frames(root / "v1.0-mini", ["CAM_FRONT"])
    assert [frame[:6] for frame in found] == [frame[:6] for frame in expected]


@pytest.mark.parametrize(
    ("table", "change", "code", "named"),
    [
        ("ego_pose", lambda rows: rows.clear(), "frame-incomplete", "sample_data.json names"),
        ("sample_data", lambda rows: rows.pop(0), "frame-incomplete", "LIDAR_TOP"),
        ("sample_data", lambda rows: rows[-1].pop("filename"), "key-missing", "filename"),
        ("sample_data", lambda rows: rows[2].update(width=None), "key-missing", "calibrated_sensor.json"),
        ("calibrated_sensor", lambda rows: rows[0].update(rotation=[1, 1, 1, 1]), "file-content", "quaternion"),
        ("calibrated_sensor", lambda rows: rows[1].update(translation=[1, 1]), "file-content", "translation"),
        ("calibrated_sensor", lambda rows: rows[1].update(camera_intrinsic=[]), "key-missing", "camera_intrinsic"),
        ("scene", lambda rows: rows[0].pop("name"), "key-missing", "name"),
        ("scene", lambda rows: rows[0].update(token=["a"]), "key-missing", "token of a record is ['a']"),
        ("sample", lambda rows: rows[0].update(timestamp="1"), "key-missing", "timestamp"),
        ("sample_data", lambda rows: rows[0].update(filename=None), "key-missing", "filename"),
    ],
)
def test_exception_a_broken_table_is_named(root: Path, table: str, change, code: str, named: str):
    path = root / "v1.0-mini" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
    with user_error(code, root / "v1.0-mini", named):
        read_key_frames(root / "v1.0-mini", ["CAM_FRONT"])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[{"token": "a", "name": "b"}', "text-syntax"),
        ('[{"token": "a", "name": ', "text-syntax"),
        ('[{"token": nonsense}]', "text-syntax"),
        ("[1, 2]", "text-syntax"),
        ("", "text-syntax"),
        ('{"token": 1}', "file-content"),
        (None, "file-missing"),
    ],
)
def test_exception_what_is_no_table_is_named(root: Path, text: str | None, code: str):
    path = root / "v1.0-mini" / "scene.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with user_error(code, path):
        read_key_frames(root / "v1.0-mini", ["CAM_FRONT"])
