"""Camera frames: geometry against the pinhole model, light against the lighting that was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("open3d")

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive.camera import (
    SKY_DEPTH_M,
    Lighting,
    camera_rays,
    render_camera,
    render_luminance,
    tonemap,
)
from any2seg_drive.raycast import SKY_ID

CAMERA = CameraModel.from_fov(97, 65, 91.0)
NIGHT = Lighting(sun_strength=0.0, sky_zenith=(0.004, 0.006, 0.015), sky_horizon=(0.01, 0.01, 0.02), ambient=0.8,
                 cloud_cover=0.2, cloud_colour=(0.01, 0.01, 0.01), headlight_strength=30.0, lamp_strength=12.0,
                 glow=1.0)


@pytest.fixture(scope="module")
def frame(world):
    return world.frame(10.0)


@pytest.fixture(scope="module")
def pose(frame, camera_to_vehicle) -> np.ndarray:
    return frame.ego_pose @ camera_to_vehicle


@pytest.fixture(scope="module")
def shot(frame, pose):
    return render_camera(frame, CAMERA, pose, Lighting())


def test_shape_frame(shot) -> None:
    assert shot.rgb_linear.shape == (65, 97, 3) and shot.rgb_linear.dtype == np.float32
    assert shot.depth_m.shape == (65, 97) and shot.depth_m.dtype == np.float32
    assert shot.labels.shape == (65, 97) and shot.labels.dtype == np.uint8
    assert shot.normal.shape == (65, 97, 3)
    assert np.isfinite(shot.rgb_linear).all() and shot.rgb_linear.min() >= 0
    assert shot.labels.max() < len(DELIVER)


def test_value_depth_is_ray_length_times_cosine(shot, pose) -> None:
    origin, directions, _ = camera_rays(CAMERA, pose)
    forward = pose[:3, 2]
    hit = np.isfinite(shot.hits.distance_m)
    expected = shot.hits.distance_m[hit] * (directions[hit] @ forward)
    np.testing.assert_allclose(shot.depth_m.reshape(-1)[hit], expected, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(shot.hits.point[hit] - origin, axis=1), shot.hits.distance_m[hit],
                               rtol=1e-4)


def test_value_hit_points_project_to_their_own_pixels(shot, pose) -> None:
    hit = np.isfinite(shot.hits.distance_m)
    world_to_camera = np.linalg.inv(pose)
    points = shot.hits.point[hit].astype(np.float64) @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    uv, valid = CAMERA.project(points)
    v, u = np.divmod(np.flatnonzero(hit), CAMERA.width)
    assert valid.all()
    np.testing.assert_allclose(uv, np.column_stack([u, v]), atol=0.01)


def test_value_road_below_the_camera_has_plane_depth(shot) -> None:
    """Row v of a level camera 1.7 m over flat road sees it at depth 1.7 * fy / (v - cy)."""
    road = shot.labels == DELIVER.id("Road")
    v, u = np.nonzero(road)
    expected = 1.7 * CAMERA.K[1, 1] / (v - CAMERA.K[1, 2])
    np.testing.assert_allclose(shot.depth_m[v, u], expected, rtol=2e-3)
    assert road.mean() > 0.1


def test_value_sky_is_where_nothing_was_hit(shot) -> None:
    sky = shot.labels == SKY_ID
    assert sky.any()
    assert (shot.depth_m[sky] == SKY_DEPTH_M).all()
    assert (shot.depth_m[~sky] < SKY_DEPTH_M).all()


def test_value_sun_shadow_only_darkens(frame, pose, shot) -> None:
    free = render_camera(frame, CAMERA, pose, Lighting(shadows=False))
    difference = free.rgb_linear - shot.rgb_linear
    assert difference.min() > -1e-6
    assert (difference.max(axis=2) > 0.05).mean() > 0.01  # something does stand in the sun
    np.testing.assert_array_equal(free.labels, shot.labels)


def test_value_luminance_matches_camera_without_shadows(frame, pose) -> None:
    lighting = Lighting(shadows=False)
    rgb = render_camera(frame, CAMERA, pose, lighting).rgb_linear
    luminance = render_luminance(frame, CAMERA, pose, lighting)
    np.testing.assert_allclose(luminance, rgb @ [0.2126, 0.7152, 0.0722], rtol=1e-4, atol=1e-5)


def test_property_night_is_dark_but_headlights_reach_the_road(frame, pose, shot) -> None:
    night = render_camera(frame, CAMERA, pose, NIGHT)
    assert night.rgb_linear.mean() < 0.25 * shot.rgb_linear.mean()
    unlit = render_camera(frame, CAMERA, pose, replace(NIGHT, headlight_strength=0.0))
    near_road = (night.labels == DELIVER.id("Road")) & (night.depth_m > 3) & (night.depth_m < 8)
    assert night.rgb_linear[near_road].mean() > 1.3 * unlit.rgb_linear[near_road].mean()


def test_property_wet_road_changes_while_labels_stay(frame, pose, shot) -> None:
    wet = render_camera(frame, CAMERA, pose, Lighting(wetness=1.0))
    road = shot.labels == DELIVER.id("Road")
    assert np.abs(wet.rgb_linear[road] - shot.rgb_linear[road]).mean() > 0.02
    np.testing.assert_array_equal(wet.labels, shot.labels)
    np.testing.assert_array_equal(wet.depth_m, shot.depth_m)


def test_property_same_frame_same_bytes(world, pose, shot) -> None:
    again = render_camera(world.frame(10.0), CAMERA, pose, Lighting())
    assert again.rgb_linear.tobytes() == shot.rgb_linear.tobytes()
    assert again.labels.tobytes() == shot.labels.tobytes()


def test_value_tonemap_is_monotonic_and_bounded() -> None:
    ramp = np.repeat(np.linspace(0, 20, 50, dtype=np.float32)[None, :, None], 3, axis=2)
    image = tonemap(ramp, 1.0)
    assert image.dtype == np.uint8 and image.shape == (1, 50, 3)
    assert image[0, 0, 0] == 0 and image[0, -1, 0] == 255
    assert (np.diff(image[0, :, 0].astype(int)) >= 0).all()
    assert (tonemap(ramp, 4.0) >= image).all()
