"""What a drive through a town meets, and what it must not run into."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("open3d")

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.cases import SPLITS
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive.camera import camera_rays
from any2seg_drive.layout import Layout
from any2seg_drive.route import ClosedPath, SpeedProfile, fillet


def test_value_path_keeps_length_and_speed() -> None:
    square = np.array([[0.0, 0.0], [80.0, 0.0], [80.0, 60.0], [0.0, 60.0]])
    path = ClosedPath.through(fillet(square, 10.0, 1.6))
    # counter-clockwise, shifted outwards: straights as before, bends with radius 11.6
    assert path.length_m == pytest.approx(2 * (60 + 40) + 2 * np.pi * 11.6, rel=0.01)
    speed = SpeedProfile(path, cruise_mps=9.0, bend_mps=5.0)
    t = np.linspace(0, 2 * speed.lap_s, 400)
    driven = speed.arc_length(t)
    velocity = np.diff(driven) / np.diff(t)
    assert velocity.min() > 4.5 and velocity.max() < 9.5
    assert speed.arc_length(np.array([speed.lap_s]))[0] == pytest.approx(path.length_m, rel=1e-9)
    assert speed.arc_length(np.array([speed.passing_time(33.0)]))[0] == pytest.approx(33.0, abs=0.01)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("seed", [0, 1, 17])
def test_property_loop_is_simple_and_follows_streets(split: str, seed: int) -> None:
    layout = Layout(np.random.default_rng([SPLITS.index(split), seed]), split)
    corners = layout.loop
    assert len({tuple(c) for c in corners}) == len(corners)
    steps = np.roll(corners, -1, 0) - corners
    assert ((steps == 0).sum(axis=1) == 1).all()  # each leg runs along one street
    assert 10 <= len(layout.loop_edges) == len(corners) <= 14
    area = 0.5 * np.sum(corners[:, 0] * np.roll(corners[:, 1], -1) - np.roll(corners[:, 0], -1) * corners[:, 1])
    assert area > 0  # counter-clockwise


def test_value_ego_drives_smoothly_for_two_minutes(world) -> None:
    assert world.duration_s >= 120.0
    t = np.arange(0.0, world.duration_s, 0.1)
    poses = np.stack([world.ego_pose(float(k)) for k in t])
    speed = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) / 0.1
    assert speed.min() > 4.0 and speed.max() < 10.0
    yaw = np.unwrap(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))
    assert np.abs(np.diff(yaw)).max() / 0.1 < 1.2  # rad/s
    rotation = poses[:, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (len(t), 1, 1)), atol=1e-9)
    np.testing.assert_allclose(world.ego_pose(world.duration_s), world.ego_pose(0.0), atol=1e-6)


@pytest.fixture(scope="module")
def class_shares(world, camera_to_vehicle) -> np.ndarray:
    """(40, 25) share of pixels per class along the drive."""
    camera = CameraModel.from_fov(128, 128, 91.0)
    shares = []
    for t in np.linspace(0.0, world.actors.ego_speed.lap_s, 40, endpoint=False):
        frame = world.frame(float(t))
        origin, directions, _ = camera_rays(camera, frame.ego_pose @ camera_to_vehicle)
        hits = frame.cast(origin, directions)
        shares.append(np.bincount(hits.class_id, minlength=len(DELIVER)) / len(directions))
    return np.array(shares)


def test_property_at_least_twenty_classes_are_met_often(class_shares: np.ndarray) -> None:
    often = (class_shares > 0).mean(axis=0) >= 0.1
    missing = [name for name, seen in zip(DELIVER.classes, often, strict=True) if not seen]
    assert often.sum() >= 20, f"seldom seen: {missing}"


def test_property_no_class_fills_the_view(class_shares: np.ndarray) -> None:
    assert class_shares.mean(axis=0).max() < 0.5


def test_property_ego_never_touches_anything(world) -> None:
    """A car-sized box round the ego stays free: beams at two heights all round, and 1 m ahead of the bumper."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    beams = np.stack([np.cos(angle), np.sin(angle), np.zeros(72)], axis=1)
    edge = np.minimum(2.1 / np.maximum(np.abs(beams[:, 0]), 1e-6), 0.85 / np.maximum(np.abs(beams[:, 1]), 1e-6))
    for t in np.linspace(0.0, world.actors.ego_speed.lap_s, 90, endpoint=False):
        frame = world.frame(float(t))
        pose = frame.ego_pose
        directions = (beams @ pose[:3, :3].T).astype(np.float32)
        for height in (0.5, 1.3):
            middle = (pose @ [1.35, 0.0, height, 1.0])[:3].astype(np.float32)
            distance = frame.cast(middle, directions).distance_m
            assert (distance > edge).all(), f"t = {t:.1f} s, height {height} m"
        for side in (-0.7, 0.0, 0.7):
            bumper = (pose @ [3.6, side, 0.6, 1.0])[:3].astype(np.float32)
            ahead = frame.cast(bumper, pose[:3, 0][None].astype(np.float32)).distance_m
            assert ahead[0] > 1.0, f"t = {t:.1f} s"


def test_property_traffic_keeps_apart(world) -> None:
    """Vehicles of both lanes: no two rectangles overlap (centres against the sum of half widths across the heading)."""
    actors = world.actors
    count = len(actors._lead_s) + len(actors._other_s)
    owner = actors._actor_of_vertex
    half = np.array([np.abs(actors.mesh.vertices[owner == k, :2]).max(0) for k in range(count)])
    for t in np.linspace(0.0, world.duration_s, 40):
        position, heading, _ = actors._poses(float(t))
        p, h = position[:count, :2], heading[:count]
        for k in range(count):
            relative = p - p[k]
            along = np.abs(relative @ h[k])
            across = np.abs(relative @ np.array([-h[k, 1], h[k, 0]]))
            turned = np.abs(h @ h[k])
            reach = half[:, 0] * turned + half[:, 1] * np.sqrt(1 - np.minimum(turned, 1) ** 2)
            width = half[:, 1] * turned + half[:, 0] * np.sqrt(1 - np.minimum(turned, 1) ** 2)
            # boxes of turned vehicles are larger than the vehicles: judge those that go the same or opposite way
            close = (along < half[k, 0] + reach) & (across < half[k, 1] + width) & (turned > 0.995)
            close[k] = False
            assert not close.any(), f"t = {t:.1f} s, vehicle {k}"


def test_property_movers_move_and_the_town_does_not(world) -> None:
    before, _, _ = world.actors.at(10.0, np.zeros(3), 1e6)
    after, _, _ = world.actors.at(11.0, np.zeros(3), 1e6)
    owner = world.actors._actor_of_vertex
    travelled = np.array([np.linalg.norm((after - before)[owner == k], axis=1).mean() for k in range(owner.max() + 1)])
    assert (travelled > 0.5).mean() > 0.8  # all but those who wait at a kerb
    assert travelled.max() < 12.0
    first, second = world.frame(10.0), world.frame(11.0)
    origin = np.array([0.0, 0.0, 300.0], np.float32)
    down = np.array([[0.1, 0.05, -1.0]], np.float32) / np.float32(np.sqrt(1.0125))
    assert first.cast(origin, down).distance_m == second.cast(origin, down).distance_m


def test_value_instances_are_unique_to_things(world) -> None:
    mesh, instance = world.town.mesh, world.town.instance
    assert len(instance) == len(mesh.triangles)
    assert instance.min() == 1 and world.actors.instance.min() == instance.max() + 1
    assert len(np.unique(mesh.class_id)) >= 20
