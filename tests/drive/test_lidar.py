"""LiDAR: analytic scenes as oracle (a flat ground, a wall), return power, fog, wetness."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from any2seg_core.vocabulary.labels import DELIVER, IGNORE
from any2seg_drive.lidar import scan
from any2seg_drive.rig import LidarModel
from any2seg_drive.weather import draw_weather

CLEAR = draw_weather("cloudy", 0)
ROAD, WALL, SKY = (DELIVER.id(name) for name in ("Road", "Wall", "Sky"))


class FlatGround:
    """World z = 0 is road; everything above is sky."""

    def __init__(self, reflectivity=0.5):
        self.reflectivity = reflectivity

    def cast(self, origins, directions):
        down = directions[:, 2] < -1e-6
        distance = np.where(down, -origins[:, 2] / np.where(down, directions[:, 2], 1.0), np.inf).astype(np.float32)
        count = len(distance)
        return SimpleNamespace(
            distance_m=distance,
            class_id=np.where(down, ROAD, SKY).astype(np.uint8),
            normal=np.tile(np.float32([0, 0, 1]), (count, 1)),
            reflectivity=np.full(count, self.reflectivity, np.float32),
        )


class Sphere(FlatGround):
    """The sensor sits in the middle of a wall-coloured sphere of a given radius."""

    def __init__(self, radius_m, reflectivity=0.5):
        super().__init__(reflectivity)
        self.radius_m = radius_m

    def cast(self, origins, directions):
        hits = super().cast(origins, directions)
        hits.distance_m = np.full(len(directions), self.radius_m, np.float32)
        hits.class_id = np.full(len(directions), WALL, np.uint8)
        hits.normal = -directions
        return hits


def pose(height_m, yaw=0.0):
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, 5.0], [s, c, 0, -3.0], [0, 0, 1, height_m], [0, 0, 0, 1]])


def sweep(scene, weather=CLEAR, model=None, seed=0, height_m=2.0):
    return scan(scene, model or LidarModel(), pose(height_m, 0.3), weather, np.random.default_rng(seed))


def test_shape_directions_are_unit_and_cover_the_circle():
    model = LidarModel(beams=7, azimuths=33)
    directions = model.directions()
    assert directions.shape == (7 * 33, 3) and directions.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=1e-6)
    elevation = np.degrees(np.arcsin(directions[:, 2]))
    assert elevation.max() == pytest.approx(10.0, abs=1e-4) and elevation.min() == pytest.approx(-25.0, abs=1e-4)
    azimuth = np.sort(np.degrees(np.arctan2(directions[:33, 1], directions[:33, 0])))
    np.testing.assert_allclose(np.diff(azimuth), 360 / 33, atol=1e-3)


def test_value_flat_ground_lies_at_the_sensor_height_below():
    points, labels = sweep(FlatGround(), replace(CLEAR, scatter_share=0.0), replace(LidarModel(), range_noise_m=0.0))
    assert points.dtype == np.float32 and points.shape[1] == 4 and len(points) == len(labels) > 1000
    np.testing.assert_allclose(points[:, 2], -2.0, atol=1e-3)
    assert (labels == ROAD).all()


def test_value_range_noise_has_its_standard_deviation():
    points, _ = sweep(Sphere(20.0), replace(CLEAR, scatter_share=0.0))
    error = np.linalg.norm(points[:, :3], axis=1) - 20.0
    assert error.std() == pytest.approx(0.02, rel=0.05) and abs(error.mean()) < 1e-3


def test_value_intensity_is_reflectivity_times_cosine_in_clear_air():
    clear = replace(CLEAR, lidar_extinction_per_m=0.0)
    points, _ = sweep(Sphere(10.0, 0.6), clear)
    np.testing.assert_allclose(points[:, 3], 0.6, atol=1e-3)
    points, _ = sweep(FlatGround(0.6), clear, replace(LidarModel(), range_noise_m=0.0))
    distance = np.linalg.norm(points[:, :3].astype(np.float64), axis=1)
    np.testing.assert_allclose(points[:, 3], 0.6 * 2.0 / distance, atol=1e-3)


def test_value_weak_returns_drop_out_and_nothing_beyond_the_maximum_range():
    model = LidarModel()
    rays = model.beams * model.azimuths
    spheres = ((20, 0.5), (99, 0.1), (60, 0.02), (101, 1.0))
    near, far, dark, beyond = (len(sweep(Sphere(*sphere))[0]) for sphere in spheres)
    assert near == rays and beyond == 0
    assert 0.2 * rays < far < 0.8 * rays
    assert dark < 0.2 * rays


def test_value_fog_shortens_and_scatters_near_the_sensor():
    fog = draw_weather("foggy", 1)
    clear_points, _ = sweep(Sphere(40.0), CLEAR)
    points, labels = sweep(Sphere(40.0), fog)
    assert np.count_nonzero(labels == WALL) < 0.2 * len(clear_points)
    scatter = np.linalg.norm(points[labels == IGNORE, :3], axis=1)
    assert len(scatter) > 100 and np.median(scatter) < 8.0


def test_value_wet_road_answers_less():
    dry = replace(CLEAR, wetness=0.0)
    assert len(sweep(FlatGround(0.1), replace(dry, wetness=1.0))[0]) < 0.9 * len(sweep(FlatGround(0.1), dry)[0])


def test_property_same_seed_same_bytes():
    rain = draw_weather("rainy", 3)
    first, second, other = sweep(Sphere(30.0), rain), sweep(Sphere(30.0), rain), sweep(Sphere(30.0), rain, seed=1)
    assert first[0].tobytes() == second[0].tobytes() and first[1].tobytes() == second[1].tobytes()
    assert first[0].tobytes() != other[0].tobytes()
