"""Ray casting into the town: `World` builds it once, `World.frame(t)` freezes it at one moment,
`FrameScene.cast` looks.

The standing town is one Open3D (Embree) ray-casting scene; the actors near the ego are a second, small one that is
rebuilt for every moment. Both are cast and the nearer hit wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.cases import SPLITS
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive import materials
from any2seg_drive.actors import Actors
from any2seg_drive.layout import Layout
from any2seg_drive.mesh import Mesh
from any2seg_drive.town import build_town

SKY_ID = DELIVER.id("Sky")
NO_MATERIAL = np.uint16(65535)
_ACTOR_RADIUS_M = 95.0
_MISS, _STATIC, _ACTOR = 0, 1, 2
_SHADOW_START_M = 0.02
_MIN_DURATION_S = 120.0


@dataclass(frozen=True)
class Hits:
    """What N rays met. A miss has distance inf, class Sky, material 65535, instance -1 and zeros elsewhere.

    distance_m (N,) float32 along the ray; class_id (N,) uint8 DELIVER train id; material (N,) uint16 index into
    `materials`; normal (N,3) float32 unit, towards the ray's origin; point (N,3) float32 world; albedo (N,3) float32
    linear RGB 0..1; reflectivity (N,) float32 0..1 near infrared; instance (N,) int32; emission (N,) float32 how
    strongly the surface glows in its own colour (lit windows, lamps, signals).
    """

    distance_m: np.ndarray
    class_id: np.ndarray
    material: np.ndarray
    normal: np.ndarray
    point: np.ndarray
    albedo: np.ndarray
    reflectivity: np.ndarray
    instance: np.ndarray
    emission: np.ndarray


@dataclass(frozen=True)
class _Geometry:
    """One ray-casting scene with the appearance tables of its mesh; rows (T,) map its primitives to table rows."""

    scene: Any
    mesh: Mesh
    instance: np.ndarray
    rows: np.ndarray


def _open3d() -> Any:
    try:
        import open3d
    except (ImportError, OSError) as error:  # OSError: a shared library is missing
        raise UserError(
            f"the simulated drive needs Open3D, which did not import ({error}): "
            'pip install "any2seg[drive]", and on Debian or Ubuntu apt install libusb-1.0-0',
            "package-missing",
        ) from error
    return open3d


def _scene_of(vertices: np.ndarray, triangles: np.ndarray) -> Any:
    o3d = _open3d()
    scene = o3d.t.geometry.RaycastingScene()
    if len(triangles):
        scene.add_triangles(o3d.core.Tensor(np.ascontiguousarray(vertices)),
                            o3d.core.Tensor(np.ascontiguousarray(triangles)))
    return scene


def _rays(origins: np.ndarray, directions: np.ndarray) -> Any:
    rays = np.empty((len(directions), 6), np.float32)
    rays[:, :3], rays[:, 3:] = origins, directions
    return _open3d().core.Tensor(rays)


class FrameScene:
    """The world at one moment.

    Attributes:
        t_s: time, seconds.
        ego_pose: (4,4) float64 vehicle_to_world.
        lamps: (L,3) float32 positions of the street lamps, world.
    """

    def __init__(self, static: _Geometry, actors: _Geometry, t_s: float, ego_pose: np.ndarray, lamps: np.ndarray):
        self._static, self._actors = static, actors
        self.t_s, self.ego_pose, self.lamps = t_s, ego_pose, lamps

    def cast(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """First hit of every ray.

        Args:
            origins: (N,3) or (3,) float32, world, metres.
            directions: (N,3) float32 unit vectors, world.
        """
        rays = _rays(origins, directions)
        count = len(directions)
        fixed = {k: v.numpy() for k, v in self._static.scene.cast_rays(rays).items()}
        moving = {k: v.numpy() for k, v in self._actors.scene.cast_rays(rays).items()}
        nearer = moving["t_hit"] < fixed["t_hit"]
        distance = np.where(nearer, moving["t_hit"], fixed["t_hit"])
        pick = np.where(nearer, _ACTOR, _STATIC).astype(np.uint8)
        hit = np.isfinite(distance)
        pick[~hit] = _MISS
        normal = np.where(nearer[:, None], moving["primitive_normals"], fixed["primitive_normals"])
        flip = np.einsum("nk,nk->n", normal, directions) > 0
        normal[flip] *= -1
        normal[~hit] = 0
        point = origins + np.where(hit, distance, 0)[:, None] * directions
        point[~hit] = 0
        out = Hits(distance, np.full(count, SKY_ID, np.uint8), np.full(count, NO_MATERIAL, np.uint16),
                   normal.astype(np.float32), point.astype(np.float32), np.zeros((count, 3), np.float32),
                   np.zeros(count, np.float32), np.full(count, -1, np.int32), np.zeros(count, np.float32))
        for source, geometry, answer in ((_STATIC, self._static, fixed), (_ACTOR, self._actors, moving)):
            mesh = geometry.mesh
            materials.shade_hits(
                pick, source, geometry.rows, answer["primitive_ids"], answer["primitive_uvs"], distance, mesh.uv,
                mesh.class_id, mesh.material, mesh.colour, mesh.colour2, mesh.param, geometry.instance,
                materials.PATTERN, materials.REFLECTIVITY, out.class_id, out.material, out.albedo, out.reflectivity,
                out.instance, out.emission,
            )
        return out

    def occluded(self, points: np.ndarray, direction_to_sun: np.ndarray) -> np.ndarray:
        """True (N,) where something stands between points (N,3) and a light at infinity in direction (3,), unit."""
        rays = _rays(points, np.broadcast_to(np.asarray(direction_to_sun, np.float32), points.shape))
        blocked = self._static.scene.test_occlusions(rays, tnear=_SHADOW_START_M).numpy()
        return blocked | self._actors.scene.test_occlusions(rays, tnear=_SHADOW_START_M).numpy()


class World:
    """A town from a seed, with its traffic and the route of the ego vehicle.

    Args:
        seed: any non-negative integer; same seed and split, same arrays bit by bit.
        split: "train", "val" or "test": disjoint towns, built in different styles.

    Attributes:
        duration_s: the drive lasts this long, at least 120 s; whole laps, so it may be repeated without a jump.

    Raises:
        UserError: unknown split, negative seed, or Open3D missing.
    """

    def __init__(self, seed: int, split: str = "train") -> None:
        if split not in SPLITS:
            raise UserError(f"split {split!r} is unknown: use one of {', '.join(SPLITS)}", "value-unknown")
        if seed < 0:
            raise UserError(f"seed {seed} is negative: use 0 or a positive integer", "value-range")
        streams = np.random.SeedSequence([SPLITS.index(split), int(seed)]).spawn(3)
        plan, build, act = (np.random.default_rng(stream) for stream in streams)
        self.layout = Layout(plan, split)
        self.town = build_town(self.layout, build)
        self.actors = Actors(self.layout, act, first_instance=int(self.town.instance.max()) + 1)
        mesh = self.town.mesh
        self._static = _Geometry(_scene_of(mesh.vertices, mesh.triangles), mesh, self.town.instance,
                                 np.arange(len(mesh.triangles), dtype=np.int64))

    @cached_property
    def duration_s(self) -> float:
        """Whole laps that take at least 120 s."""
        lap = self.actors.ego_speed.lap_s
        return float(np.ceil(_MIN_DURATION_S / lap) * lap)

    def ego_pose(self, t_s: float) -> np.ndarray:
        """(4,4) float64 vehicle_to_world at t_s seconds."""
        return self.actors.ego_pose(t_s)

    def frame(self, t_s: float) -> FrameScene:
        """The world at t_s seconds."""
        pose = self.ego_pose(t_s)
        vertices, triangles, rows = self.actors.at(t_s, pose[:3, 3], _ACTOR_RADIUS_M)
        actors = _Geometry(_scene_of(vertices, triangles), self.actors.mesh, self.actors.instance, rows)
        return FrameScene(self._static, actors, t_s, pose, self.town.lamps)
