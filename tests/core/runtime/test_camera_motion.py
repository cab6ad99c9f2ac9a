"""Motion of a picture against closed forms of a pinhole camera, and depth that is read back from planes."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.messages.transforms import WorldPose
from any2seg_core.runtime.camera_motion import CameraView, View, grid_depth_m, picture_motion, view_of
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.depth import MAX_DEPTH_M, encode_hha
from any2seg_core.sensors.lidar import project_points
from any2seg_core.vocabulary.modalities import VEHICLE

GRID = (24, 40)
CAMERA = CameraModel.from_fov(40, 24, 90.0)
LARGE = CAMERA.scaled(160, 96)


def pose(x: float = 0.0, z: float = 0.0, yaw_deg: float = 0.0, world: str = "odom") -> WorldPose:
    turn = np.radians(yaw_deg)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    matrix[:3, 3] = x, 0.0, z
    return WorldPose(world, matrix)


def wall(distance_m: float, at: WorldPose | None) -> View:
    return View(np.full(GRID, distance_m, np.float32), CAMERA, at)


def test_value_a_wall_that_comes_nearer_grows_from_the_middle():
    motion = picture_motion(wall(10.0, pose(z=1.0)), wall(11.0, pose()))
    columns, rows = np.meshgrid(np.arange(40.0), np.arange(24.0))
    (_, _, cx), (_, _, cy) = CAMERA.K[:2]
    np.testing.assert_allclose(motion.column, cx + (columns - cx) * 10 / 11, atol=1e-4)
    np.testing.assert_allclose(motion.row, cy + (rows - cy) * 10 / 11, atol=1e-4)
    assert motion.is_same.all()


def test_value_what_was_out_of_the_picture_or_behind_something_is_not_the_same():
    away = picture_motion(wall(10.0, pose(x=5.0)), wall(10.0, pose()))
    np.testing.assert_allclose(away.column[5, :30], np.arange(30.0) + 5.0 * CAMERA.K[0, 0] / 10, atol=1e-4)
    assert away.is_same[:, :30].all() and not away.is_same[:, 30:].any()
    before = wall(10.0, pose())
    before.depth_m[5:9, 7:11] = 6.0
    hidden = picture_motion(wall(10.0, pose()), before).is_same
    assert not hidden[5:9, 7:11].any() and hidden.sum() == hidden.size - 16


def test_value_far_things_move_by_rotation_alone():
    motion = picture_motion(wall(MAX_DEPTH_M, pose(yaw_deg=3.0)), wall(MAX_DEPTH_M, pose()))
    rays = CAMERA.rays() @ pose(yaw_deg=3.0).to_world[:3, :3].T
    expected = CAMERA.K[0, 0] * rays[..., 0] / rays[..., 2] + CAMERA.K[0, 2]
    inside = motion.is_same
    assert inside.mean() > 0.8
    np.testing.assert_allclose(motion.column[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize("other", [None, pose(z=3.0, world="map")], ids=["no pose", "another world"])
def test_value_without_poses_of_one_world_nothing_moves(other):
    motion = picture_motion(wall(10.0, pose()), wall(10.1, other))
    np.testing.assert_array_equal(motion.column[3], np.arange(40))
    np.testing.assert_array_equal(motion.row[:, 3], np.arange(24))
    assert motion.is_same.all()


def test_value_values_are_moved_bilinearly():
    values = np.random.default_rng(0).normal(size=(*GRID, 3)).astype(np.float32)
    motion = picture_motion(wall(10.0, pose(x=10.0 * 1.5 / CAMERA.K[0, 0])), wall(10.0, pose()))
    expected = 0.5 * (values[:, 1:-1] + values[:, 2:])  # 1.5 cells to the right
    np.testing.assert_allclose(motion.moved(values)[:, : expected.shape[1]], expected, atol=1e-2)


def test_value_depth_is_read_back_from_the_plane_of_a_depth_image():
    depth_m = np.linspace(3.0, 60.0, 96, dtype=np.float32)[:, None].repeat(160, 1)
    depth_m[:20] = 1000.0
    found = grid_depth_m({"depth": encode_hha(depth_m, LARGE)}, VEHICLE, GRID, CAMERA)
    centres = depth_m[2::4, 2::4]
    step_m = (10.0 + centres) ** 2 / 2550.0  # of one code
    assert (np.abs(found - centres)[5:] <= 0.6 * step_m[5:]).all()
    assert (found[:5] == MAX_DEPTH_M).all()


def test_value_a_cloud_fills_the_cells_between_its_points_and_not_the_sky():
    random = np.random.default_rng(1)
    points = np.stack([random.uniform(-30, 30, 900), random.uniform(0.0, 20, 900), np.full(900, 20.0),
                       np.ones(900)], axis=1).astype(np.float32)  # fmt: skip
    plane = project_points(points, np.eye(4), LARGE)
    found = grid_depth_m({"lidar": plane, "rgb": plane}, VEHICLE, GRID, CAMERA)
    np.testing.assert_allclose(found[14:], 20.0, rtol=0.09)
    assert (found[:10] > 500.0).all()


def test_value_no_sensor_that_measures_distance_gives_no_view():
    plane = np.full((*GRID, 3), 9, np.uint8)
    assert view_of({"rgb": plane, "event": plane}, VEHICLE, GRID, CameraView(LARGE, pose())) is None
    empty = grid_depth_m({"lidar": np.zeros_like(plane)}, VEHICLE, GRID, None)
    assert (empty == MAX_DEPTH_M).all()
