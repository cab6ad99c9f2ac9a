"""Depth and other cameras against the camera's picture: scenes in closed form, seen by both."""

from __future__ import annotations

import numpy as np
import pytest
from raised import user_error
from scipy.spatial.transform import Rotation

from any2seg_core.sensors.alignment import Alignment, pooled
from any2seg_core.sensors.alignment_views import compare_with_picture, require_showable
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.places import SensorPlace
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

CAMERA = CameraModel.from_fov(321, 201, 70.0)
OTHER = CameraModel.from_fov(161, 121, 60.0)
VAN = SensorSuite.of_document({
    "name": "van",
    "sensors": {
        "front": {"kind": "image", "letter": "F"},
        "left": {"kind": "image", "letter": "S", "format": "grey"},
        "thermal": {"kind": "image", "letter": "T", "format": "thermal16", "range": [1000, 2000]},
        "depth": {"kind": "depth", "letter": "D"},
        "event": {"kind": "events", "letter": "E"},
    },
})  # fmt: skip


def turn(axis: str, degrees: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return matrix


def is_tower(rays: np.ndarray) -> np.ndarray:
    """(..., 3) directions in the frame of the camera -> whether one of two distant towers is there."""
    x, y = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
    return (((x > -0.3) & (x < -0.1)) | ((x > 0.12) & (x < 0.2))) & (y > -0.2) & (y < 0.3)


def seen_by(camera: CameraModel, to_camera: np.ndarray) -> np.ndarray:
    return is_tower(camera.rays().astype(float) @ to_camera[:3, :3].T)


PICTURE = np.where(seen_by(CAMERA, np.eye(4)), 60, 200).astype(np.uint8)[..., None].repeat(3, axis=2)


@pytest.mark.parametrize("name", ["left", "thermal"])
def test_value_another_camera_meets_edges_best_with_the_right_rotation(name):
    true = turn("y", 7.0)
    towers = seen_by(OTHER, true)
    sample = np.where(towers, 30, 90).astype(np.uint8) if name == "left" else np.where(towers, 1900, 1200).astype("u2")
    rig = SensorRig(Calibration(CAMERA, sensors={name: SensorPlace(OTHER, true)}), suite=VAN)
    right, drawn = compare_with_picture(PICTURE, sample, name, rig)
    assert right.closeness > 0.9 and (right.best_move, right.shifted) == ("", ())
    assert right.points == 321 * 201 and 0.5 < right.inside / right.points < 0.8
    is_own = (drawn == PICTURE).all(axis=2)
    side = 321 // 12
    assert is_own[4 * side : 5 * side, 6 * side : 7 * side].all()
    assert is_own[4 * side : 5 * side, 5 * side : 6 * side].mean() < 0.05
    for degrees, way in ((2.0, "-1 degree about the camera's y"), (-2.0, "+1 degree about the camera's y")):
        wrong_rig = rig.with_place(name, SensorPlace(OTHER, turn("y", degrees) @ true))
        wrong, _ = compare_with_picture(PICTURE, sample, name, wrong_rig)
        assert wrong.closeness < right.closeness - 0.1
        assert wrong.best_move == f"turned by {way}"


def test_value_a_camera_that_looks_away_sees_nothing():
    rig = SensorRig(Calibration(CAMERA, sensors={"left": SensorPlace(OTHER, turn("y", 180.0))}), suite=VAN)
    found, drawn = compare_with_picture(PICTURE, np.full((121, 161), 77, np.uint8), "left", rig)
    assert (found.inside, found.edges, found.closeness) == (0, 0, None)
    np.testing.assert_array_equal(drawn, PICTURE)


def test_value_depth_meets_edges_at_its_jumps():
    depth_m = np.where(seen_by(CAMERA, np.eye(4)), 6.0, 25.0).astype(np.float32)
    right, drawn = compare_with_picture(PICTURE, depth_m, "depth", SensorRig(Calibration(CAMERA)))
    assert (right.points, right.inside) == (321 * 201, 321 * 201)
    assert right.closeness > 0.8 and right.best_move == ""
    coloured = (drawn != PICTURE // 2 + 32).any(axis=2)
    columns = np.flatnonzero(coloured.any(axis=0))
    walls = 160 + CAMERA.K[0, 0] * np.array([-0.3, -0.1, 0.12, 0.2])
    assert np.abs(columns[:, None] - walls).min(axis=1).max() <= 6  # a cell and the size of a dot
    wrong = SensorRig(Calibration(CAMERA, depth_to_camera=turn("y", 2.0)))
    moved, _ = compare_with_picture(PICTURE, depth_m, "depth", wrong)
    assert moved.closeness < right.closeness - 0.1 and moved.better_when_turned > 0


def test_value_several_looks_weigh_by_their_edges():
    one = Alignment(100, 50, 40, 0.5, (0.4, 0.6), (0.1,))
    two = Alignment(10, 5, 120, 0.9, (0.8, 0.2), (0.5,))
    none = Alignment(7, 1, 3, None, ())
    found = pooled([one, none, two])
    assert (found.points, found.inside, found.edges) == (117, 56, 163)
    np.testing.assert_allclose([found.closeness, *found.turned, *found.shifted], [0.8, 0.7, 0.3, 0.4])
    assert pooled([none]) == none


@pytest.mark.parametrize("name", ["front", "event"])
def test_exception_sensors_without_a_picture_to_compare(name):
    with user_error("option-unsupported", name):
        require_showable(name, VAN)
    require_showable("lidar", VEHICLE)
