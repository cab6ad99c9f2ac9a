"""Rays against shapes whose distance is known by hand."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from raised import user_error

pytest.importorskip("open3d")

from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive.materials import MATERIAL_ID
from any2seg_drive.mesh import Surface, box, merge, patch
from any2seg_drive.raycast import NO_MATERIAL, FrameScene, World, _Geometry, _scene_of

ROAD, BUILDING, CARS, SKY = (DELIVER.id(name) for name in ("Road", "Building", "Cars", "Sky"))


def _geometry(mesh, first_instance: int) -> _Geometry:
    rows = np.arange(len(mesh.triangles), dtype=np.int64)
    instance = np.full(len(rows), first_instance, np.int32)
    return _Geometry(_scene_of(mesh.vertices, mesh.triangles), mesh, instance, rows)


@pytest.fixture(scope="module")
def scene() -> FrameScene:
    """Ground plane at z = 0, a house with its near face at x = 20, a car-sized box with its near face at x = 8."""
    ground = patch(-60, 60, -60, 60, 0.0, Surface(ROAD, MATERIAL_ID["asphalt"], (0.2, 0.2, 0.2)))
    house = box((25.0, 0.0), 0.0, (10.0, 30.0, 12.0), Surface(BUILDING, MATERIAL_ID["brick"], (0.5, 0.3, 0.2)))
    car = box((10.0, 0.0), 0.0, (4.0, 2.0, 1.5), Surface(CARS, MATERIAL_ID["car_paint"], (0.1, 0.1, 0.6)))
    return FrameScene(_geometry(merge([ground, house]), 1), _geometry(car, 7), 0.0, np.eye(4),
                      np.zeros((0, 3), np.float32))


def _cast(scene: FrameScene, origin: tuple[float, float, float], directions: list) -> object:
    unit = np.asarray(directions, np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return scene.cast(np.array(origin, np.float32), unit)


def test_value_plane_distance_is_height_over_sine(scene: FrameScene) -> None:
    angles = np.radians([5.0, 17.0, 45.0, 90.0])
    directions = np.stack([-np.cos(angles), 0 * angles, -np.sin(angles)], axis=1)
    hits = _cast(scene, (0.0, 0.0, 1.7), directions)
    np.testing.assert_allclose(hits.distance_m, 1.7 / np.sin(angles), rtol=1e-5)
    np.testing.assert_allclose(hits.point[:, 2], 0.0, atol=1e-4)
    np.testing.assert_allclose(hits.normal, np.tile([0, 0, 1.0], (4, 1)), atol=1e-6)
    assert (hits.class_id == ROAD).all()


def test_value_box_faces_and_nearest_wins(scene: FrameScene) -> None:
    hits = _cast(scene, (0.0, 0.0, 1.0), [[1, 0, 0], [1, 0.5, 0], [0, 0, 1]])
    np.testing.assert_allclose(hits.distance_m[:2], [8.0, 20.0 * np.hypot(1, 0.5)], rtol=1e-5)
    assert hits.class_id.tolist() == [CARS, BUILDING, SKY]
    assert hits.instance.tolist() == [7, 1, -1]
    np.testing.assert_allclose(hits.normal[0], [-1, 0, 0], atol=1e-6)
    over = _cast(scene, (0.0, 0.0, 3.0), [[1, 0, 0]])
    assert over.class_id[0] == BUILDING
    assert over.distance_m[0] == pytest.approx(20.0, rel=1e-5)


def test_value_miss_is_sky_at_infinity(scene: FrameScene) -> None:
    hits = _cast(scene, (0.0, 0.0, 1.0), [[-1, 0, 0.5]])
    assert np.isinf(hits.distance_m[0])
    assert hits.class_id[0] == SKY
    assert hits.material[0] == NO_MATERIAL
    assert not hits.point.any() and not hits.albedo.any() and not hits.normal.any()


def test_value_normal_faces_the_ray_from_both_sides(scene: FrameScene) -> None:
    hits = _cast(scene, (25.0, 0.0, 5.0), [[-1, 0, 0], [1, 0, 0]])  # from inside the house
    np.testing.assert_allclose(hits.normal, [[1, 0, 0], [-1, 0, 0]], atol=1e-6)


def test_value_occluded_behind_house_and_behind_actor(scene: FrameScene) -> None:
    sun = np.array([1.0, 0.0, 0.2]) / np.hypot(1.0, 0.2)
    points = np.array([[15.0, 0.0, 0.0], [7.5, 0.0, 0.0], [40.0, 0.0, 0.0], [-45.0, 0.0, 0.0]], np.float32)
    # the house shades the ground for 12 / 0.2 = 60 m in front of it, to x = -40; behind it and beyond, light
    assert scene.occluded(points, sun).tolist() == [True, True, False, False]
    low = np.array([0.0, 1.0, 0.001]) / np.hypot(1.0, 0.001)
    beside = np.array([[10.0, -3.0, 0.5], [10.0, -3.0, 2.0]], np.float32)  # the actor is 1.5 m high
    assert scene.occluded(beside, low).tolist() == [True, False]


def test_shape_dtypes_and_ranges(scene: FrameScene) -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(501, 3))
    hits = _cast(scene, (0.0, 0.0, 1.0), directions)
    for name, dtype, width in (("distance_m", np.float32, 0), ("class_id", np.uint8, 0), ("material", np.uint16, 0),
                               ("normal", np.float32, 3), ("point", np.float32, 3), ("albedo", np.float32, 3),
                               ("reflectivity", np.float32, 0), ("instance", np.int32, 0), ("emission", np.float32, 0)):
        array = getattr(hits, name)
        assert array.dtype == dtype, name
        assert array.shape == ((501, width) if width else (501,)), name
    assert hits.albedo.min() >= 0 and hits.albedo.max() <= 1
    assert hits.reflectivity.min() >= 0 and hits.reflectivity.max() <= 1


def test_shape_single_ray_and_one_origin_per_ray(scene: FrameScene) -> None:
    origins = np.array([[0, 0, 1.0], [-4, 0, 1.0]], np.float32)
    directions = np.array([[1, 0, 0], [1, 0, 0]], np.float32)
    both = scene.cast(origins, directions)
    np.testing.assert_allclose(both.distance_m, [8.0, 12.0], rtol=1e-5)
    assert len(scene.cast(origins[:1], directions[:1]).distance_m) == 1


def _digest(world: World) -> str:
    frame = world.frame(12.34)
    angle = np.linspace(0, 2 * np.pi, 400)
    directions = np.stack([np.cos(angle), np.sin(angle), -0.1 + 0 * angle], axis=1).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    hits = frame.cast((frame.ego_pose[:3, 3] + [0, 0, 1.7]).astype(np.float32), directions)
    digest = hashlib.sha256(world.town.mesh.vertices.tobytes())
    for array in (world.town.mesh.colour, hits.distance_m, hits.class_id, hits.albedo, hits.instance):
        digest.update(array.tobytes())
    return digest.hexdigest()


@pytest.mark.slow
def test_property_same_seed_same_bytes_in_another_process() -> None:
    code = "import test_raycast as t, sys; sys.stdout.write(t._digest(t.World(5, 'train')))"
    folder = Path(__file__).resolve().parent
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": f"{folder}:{folder.parent}"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout == _digest(World(5, "train"))


@pytest.mark.slow
def test_property_seeds_and_splits_differ(world: World) -> None:
    reference = world.town.mesh  # seed 0, train
    for seed, split in ((1, "train"), (0, "val"), (0, "test")):
        mesh = World(seed, split).town.mesh
        assert mesh.vertices.shape != reference.vertices.shape or not np.array_equal(mesh.vertices, reference.vertices)


@pytest.mark.parametrize(
    ("seed", "split", "told"),
    [(0, "dev", ("value-unknown", "train, val, test")), (-1, "train", ("value-range", "-1"))],
)
def test_exception_world_arguments(seed: int, split: str, told: tuple[str, ...]) -> None:
    with user_error(*told):
        World(seed, split)
