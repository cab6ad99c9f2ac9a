"""Depth planes on scenes whose geometry is known."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raised import user_error

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.depth import _angle_code, decode_carla_depth, encode_hha, register_depth, resample_depth

CAMERA = CameraModel.from_fov(97, 61, 80.0)


def _plane_depth(camera: CameraModel, normal, offset_m: float) -> np.ndarray:
    """Depth of the plane {p: normal . p = offset} along each ray; sky where the ray misses it."""
    along = camera.rays().astype(np.float64) @ np.asarray(normal, np.float64)
    with np.errstate(divide="ignore"):
        depth = offset_m / along
    return np.where((depth > 0) & (depth < 500), depth, 1000.0).astype(np.float32)


def test_value_ground_wall_and_ceiling():
    ground = encode_hha(_plane_depth(CAMERA, (0, 1, 0), 1.5), CAMERA)  # y points down
    seen = ground[40:60, 5:90]
    assert np.abs(seen[..., 1].astype(int) - round((-1.5 + 4) * 20 + 1)).max() <= 1
    assert seen[..., 2].max() <= 2
    ceiling = encode_hha(_plane_depth(CAMERA, (0, -1, 0), 3.0), CAMERA)[2:20, 5:90]
    assert np.abs(ceiling[..., 1].astype(int) - round((3 + 4) * 20 + 1)).max() <= 1
    assert ceiling[..., 2].min() >= 254
    wall = encode_hha(_plane_depth(CAMERA, (0, 0, 1), 12.0), CAMERA)
    np.testing.assert_array_equal(wall[..., 0], round(255 * 10 / 22))
    assert np.abs(wall[..., 2].astype(int) - 128).max() <= 1


@pytest.mark.parametrize("degrees", [20.0, 45.0, 70.0])
def test_value_angle_of_a_ramp(degrees):
    a = np.radians(degrees)
    plane = encode_hha(_plane_depth(CAMERA, (0, np.cos(a), np.sin(a)), 3.0), CAMERA)
    seen = plane[45:58, 10:80, 2].astype(float)
    np.testing.assert_allclose((seen - 1) * 180 / 254, degrees, atol=1.0)


def test_value_inverse_depth_falls_and_never_reaches_zero():
    depth = np.linspace(0.05, 998.9, 97 * 61).astype(np.float32).reshape(61, 97)
    code = encode_hha(depth, CAMERA)[..., 0]
    assert (np.diff(code.ravel().astype(int)) <= 0).all() and code.min() >= 1
    np.testing.assert_array_equal(code, np.floor(2550 / (10 + depth) + 0.5))


def test_value_invalid_depth_is_all_zero():
    depth = np.full((61, 97), 8.0, np.float32)
    depth[0, :6] = [np.nan, np.inf, -np.inf, 0.0, -3.0, 999.0]
    plane = encode_hha(depth, CAMERA)
    assert not plane[0, :6].any() and (plane[1:] > 0).all()
    lonely = np.zeros((61, 97), np.float32)
    lonely[30, 40] = 5.0
    assert encode_hha(lonely, CAMERA)[30, 40].tolist() == [170, 81, 0]
    assert not encode_hha(np.zeros((61, 97), np.float32), CAMERA).any()


def test_value_normals_do_not_mix_a_near_and_a_far_wall():
    depth = np.full((61, 97), 30.0, np.float32)
    depth[:, :40] = 5.0
    assert np.abs(encode_hha(depth, CAMERA)[..., 2].astype(int) - 128).max() <= 1


@pytest.mark.parametrize("lens", [(), (-0.2, 0.03, 0.001, 0.002, 0.0)])
@pytest.mark.parametrize("size", [(61, 97), (130, 83)])
def test_value_equals_the_definition_in_plain_numpy(size, lens):
    """The peer of the benchmark shares no code with the kernel; only rounding at the edge of a code may differ."""
    path = Path(__file__).parents[3] / "benchmarks" / "hha.py"
    spec = importlib.util.spec_from_file_location("benchmark_hha", path)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    camera = replace(CameraModel.from_fov(size[1], size[0], 91.0), D=np.array(lens))
    depth = peer.street(camera)
    depth[::7, ::5] = np.nan
    ours, plain = encode_hha(depth, camera), peer.plain_hha(np.nan_to_num(depth), camera)
    apart = np.abs(ours.astype(int) - plain)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
    assert (ours[..., 2] > 0).mean() > 0.4


def test_value_angle_codes_are_those_of_the_arc_cosine():
    """Close to both sides of every limit between two codes, and in between."""
    limits = np.cos(np.pi * (np.arange(2, 256) - 1.5) / 254.0)
    between = np.random.default_rng(0).uniform(-1.0, 1.0, 3000)
    between = between[np.abs(between[:, None] - limits).min(axis=1) > 1e-6]
    cosines = np.concatenate([limits - 1e-6, limits + 1e-6, between, [-1.0, 0.0, 1.0]]).clip(-1.0, 1.0)
    expected = np.floor(1.5 + 254.0 * np.arccos(cosines) / np.pi)
    codes = [_angle_code(np.float32(abs(cosine)), cosine >= 0) for cosine in cosines]
    np.testing.assert_array_equal(codes, expected)


def test_shape_float64_and_strided_input():
    depth = np.full((61, 194), 8.0)[:, ::2]
    assert encode_hha(depth, CAMERA).shape == (61, 97, 3)


@pytest.mark.parametrize("lens", [(), (-0.2, 0.03, 0.001, 0.002, 0.0)])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 1)])
def test_value_one_row_or_column_has_distances_and_no_normal(size, lens):
    camera = replace(CameraModel.from_fov(size[1], size[0], 60.0), D=np.array(lens))
    plane = encode_hha(np.full(size, 15.0, np.float32), camera)
    assert (plane[..., 0] == 102).all() and (plane[..., 1] > 0).all()  # 255 * 10 / (10 + 15)
    assert not plane[..., 2].any()


def test_exception_wrong_shape_and_type():
    with user_error("calibration-size", "(61, 97)"):
        encode_hha(np.ones((61, 96), np.float32), CAMERA)
    with user_error("array-shape", "BGRA"):
        decode_carla_depth(np.ones((4, 4, 3), np.uint8))
    with user_error("calibration-size", "depth_camera"):
        resample_depth(np.ones((5, 5)), CAMERA, CAMERA)
    with user_error("calibration-size", "depth_camera"):
        register_depth(np.ones((5, 5)), CAMERA, np.eye(4), CAMERA)


def test_value_carla_packing():
    bgra = np.array([[[0, 0, 0, 9], [255, 255, 255, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]], np.uint8)
    scale = 1000.0 / (2**24 - 1)
    np.testing.assert_allclose(decode_carla_depth(bgra)[0], [0, 1000, scale, 256 * scale, 65536 * scale], rtol=1e-6)


def test_value_resample_looks_along_the_same_rays():
    source = CameraModel.from_fov(40, 33, 95.0)
    normal = (0.2, 0.7, 0.4)
    got = resample_depth(_plane_depth(source, normal, 4.0), source, CAMERA)
    expected = _plane_depth(CAMERA, normal, 4.0)
    near = (expected < 15) & (got > 0)
    assert near.mean() > 0.4
    assert np.median(np.abs(got[near] / expected[near] - 1)) < 0.02
    np.testing.assert_array_equal(resample_depth(expected, CAMERA, CAMERA), expected)
    narrow = CameraModel.from_fov(40, 33, 30.0)
    assert resample_depth(np.ones((33, 40)), narrow, CAMERA)[0, 0] == 0.0


def test_value_register_moves_a_wall_and_fills_it():
    to_camera = np.eye(4)
    to_camera[:3, 3] = [0.3, 0.0, 0.5]  # the depth camera sits half a metre in front
    got = register_depth(np.full((61, 97), 9.5, np.float32), CAMERA, to_camera, CAMERA)
    np.testing.assert_allclose(got[5:55, 12:90], 10.0, rtol=1e-6)


def test_value_register_keeps_the_nearest():
    depth = np.full((61, 97), 20.0, np.float32)
    depth[:, 48:] = 4.0
    to_camera = np.eye(4)
    to_camera[0, 3] = -1.0
    got = register_depth(depth, CAMERA, to_camera, CAMERA)
    pixels = 1.0 / 4.0 * CAMERA.K[0, 0]
    np.testing.assert_allclose(got[30, int(50 - pixels) : int(95 - pixels)], 4.0)
