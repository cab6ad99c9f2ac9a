"""Everything that moves by itself: traffic on the loop, people and animals on the sidewalks and on the crossings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from any2seg_drive import vehicles
from any2seg_drive.layout import KERB_M, LANE_OFFSET_M, Face, Layout
from any2seg_drive.mesh import Mesh, merge
from any2seg_drive.route import WHEELBASE_M, ClosedPath, SpeedProfile, fillet
from any2seg_drive.town import block_outline

_LANE_RADIUS_M = 9.5
_EGO_CLEARANCE_S = 3.3  # nearest vehicle ahead or behind the ego, in driving time
_WALK_B_M = 1.75  # walkers keep this far from the kerb, behind the furniture


@dataclass(frozen=True)
class Walker:
    """One walker: its path, start (m), signed speed (m/s), sideways shift (m)."""

    path: int
    start_m: float
    speed_mps: float
    shift_m: float


class Actors:
    """Moving actors of one town, and the ego's own path.

    All traffic runs on two lanes of one loop, every vehicle of a lane on the same speed profile but apart in time, so
    that nothing ever meets. `mesh` holds all actors in their own frames, `instance` (T,) their ids.
    """

    def __init__(self, layout: Layout, rng: np.random.Generator, first_instance: int) -> None:
        loop = layout.loop
        self.ego_path = ClosedPath.through(layout.bend(fillet(loop, _LANE_RADIUS_M, LANE_OFFSET_M)))
        self.ego_speed = SpeedProfile(self.ego_path)
        self._other_path = ClosedPath.through(layout.bend(fillet(loop[::-1], _LANE_RADIUS_M, LANE_OFFSET_M)))
        self._other_speed = SpeedProfile(self._other_path, cruise_mps=8.0)
        meshes: list[Mesh] = []
        self._lead_s, self._lead_base_m = self._deal_traffic(rng, self.ego_speed.lap_s, _EGO_CLEARANCE_S, meshes)
        self._other_s, self._other_base_m = self._deal_traffic(rng, self._other_speed.lap_s, 0.0, meshes)
        self._walk_paths = [
            ClosedPath.through(layout.bend(block_outline(block, _WALK_B_M, 2.0)), 0.6)
            for block in layout.blocks if block.on_route
        ]
        self._walkers = self._deal_walkers(rng, meshes)
        self._crossings = self._deal_crossings(layout, rng, meshes)
        self.mesh = merge(meshes)
        self._actor_of_vertex = np.repeat(np.arange(len(meshes), dtype=np.int32), [len(m.vertices) for m in meshes])
        self._actor_of_triangle = np.repeat(np.arange(len(meshes), dtype=np.int32), [len(m.triangles) for m in meshes])
        self.instance = (first_instance + self._actor_of_triangle).astype(np.int32)

    @staticmethod
    def _deal_traffic(rng: np.random.Generator, lap_s: float, clear_s: float, meshes: list[Mesh]
                      ) -> tuple[np.ndarray, np.ndarray]:
        """Driving times ahead of the lane's origin (V,), far enough apart, and wheelbases (V,); adds the meshes."""
        leads, bases, t = [], [], clear_s
        while t < lap_s - max(clear_s, 3.3):
            draw = rng.random()
            if draw < 0.38:
                mesh = vehicles.car(rng)
            elif draw < 0.50:
                mesh = vehicles.truck(rng)
            elif draw < 0.62:
                mesh = vehicles.bus(rng)
            else:
                mesh = vehicles.two_wheeler(rng, rider=True).moved(0.0, rng.uniform(-0.9, 0.3))
            meshes.append(mesh)
            leads.append(t)
            bases.append(0.58 * float(np.ptp(mesh.vertices[:, 0])))
            t += rng.uniform(3.3, 5.0) if rng.random() < 0.6 else rng.uniform(6.0, 11.0)
        return np.array(leads), np.array(bases)

    def _deal_walkers(self, rng: np.random.Generator, meshes: list[Mesh]) -> list[Walker]:
        walkers = []
        for index, path in enumerate(self._walk_paths):
            for k in range(int(path.length_m / 8.0)):
                draw = rng.random()
                if draw < 0.64:
                    mesh = vehicles.person(rng)
                elif draw < 0.82:
                    mesh = merge([vehicles.trolley(rng).moved(0.55), vehicles.person(rng).moved(-0.55)])
                else:
                    mesh = vehicles.animal(rng)
                forward = (1.0, -1.0)[int(rng.integers(2))]
                meshes.append(mesh)
                walkers.append(Walker(index, 8.0 * k + rng.uniform(0, 6), forward * rng.uniform(0.8, 1.5),
                                      forward * 0.35 + rng.uniform(-0.2, 0.2)))
        return walkers

    def _deal_crossings(self, layout: Layout, rng: np.random.Generator, meshes: list[Mesh]) -> np.ndarray:
        """Rows (start x, y, end x, y, departure time, shift): people who wait at a kerb and cross when it is free."""
        rows = []
        for block in layout.blocks:
            for face in block.faces:
                if not face.on_route or face.street[2] != 1:
                    continue
                for a in (3.0, face.length - 3.0):
                    for _ in range(2):
                        depart = self._free_time(layout, face, a, rng)
                        if depart is None:
                            continue
                        ends = [(a + rng.uniform(-0.8, 0.8), 2.0), (a, -2 * face.half - 2.0)]
                        plan = [(face.x + face.dx * p - face.dy * q, face.y + face.dy * p + face.dx * q)
                                for p, q in (ends if rng.random() < 0.5 else ends[::-1])]
                        start, end = layout.bend(np.array(plan))
                        rows.append([*start, *end, depart])
                        meshes.append(vehicles.person(rng))
        return np.array(rows, np.float64).reshape(-1, 5)

    def _free_time(self, layout: Layout, face: Face, a: float, rng: np.random.Generator) -> float | None:
        """A departure time within one lap at which nobody drives over this crossing for as long as walking takes."""
        q = -face.half
        middle = layout.bend(np.array([[face.x + face.dx * a - face.dy * q, face.y + face.dy * a + face.dx * q]]))
        busy = []
        for path, speed, leads in ((self.ego_path, self.ego_speed, np.append(self._lead_s, 0.0)),
                                   (self._other_path, self._other_speed, self._other_s)):
            s = np.argmin(np.linalg.norm(path.points - middle, axis=1)) * path.length_m / len(path.points)
            busy.append(np.mod(speed.passing_time(s) - leads, speed.lap_s))
        lap = self.ego_speed.lap_s
        ego_at = float(busy[0][-1])
        walk = (2 * face.half + 4.0) / 1.4
        # a moment before the ego arrives, so that it is seen; else any free moment
        for depart in np.concatenate([ego_at - rng.uniform(walk + 2.0, walk + 6.0, 6), rng.uniform(0, lap, 6)]):
            window = np.array([depart - 1.5, depart + walk + 1.5])
            clear = True
            for passing, period in zip(busy, (lap, self._other_speed.lap_s), strict=True):
                for shift in (-period, 0.0, period, 2 * period):
                    clear &= not np.any((passing + shift > window[0]) & (passing + shift < window[1]))
            if clear:
                return float(depart)
        return None

    def _poses(self, t_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (A,3), headings (A,2) and walk-cycle phases (A,), in the order of the meshes."""
        positions, headings, phases = [], [], []
        for path, speed, leads, base in (
            (self.ego_path, self.ego_speed, self._lead_s, self._lead_base_m),
            (self._other_path, self._other_speed, self._other_s, self._other_base_m),
        ):
            rear, heading = path.poses(speed.arc_length(t_s + leads) - 0.5 * base, base)
            middle = rear + heading * 0.5 * base[:, None]
            positions.append(np.column_stack([middle, np.zeros(len(middle))]))
            headings.append(heading)
            phases.append(np.zeros(len(middle)))
        for index, path in enumerate(self._walk_paths):
            group = [w for w in self._walkers if w.path == index]
            if not group:
                continue
            pace_mps = np.array([w.speed_mps for w in group])
            walked = pace_mps * t_s
            rear, heading = path.poses(np.array([w.start_m for w in group]) + walked, 0.6)
            right = np.column_stack([heading[:, 1], -heading[:, 0]])
            rear = rear + right * np.array([w.shift_m for w in group])[:, None]
            positions.append(np.column_stack([rear, np.full(len(rear), KERB_M)]))
            headings.append(heading * np.sign(pace_mps)[:, None])
            phases.append(np.abs(walked) * 4.2)
        start, end, depart = self._crossings[:, :2], self._crossings[:, 2:4], self._crossings[:, 4]
        way = end - start
        length = np.linalg.norm(way, axis=1)
        lap = self.ego_speed.lap_s
        walked = np.clip((np.mod(t_s - depart + 0.5 * lap, lap) - 0.5 * lap) * 1.4, 0.0, length)
        heading = way / length[:, None]
        xy = start + heading * walked[:, None]
        on_kerb = (walked < 0.8) | (walked > length - 0.8)
        positions.append(np.column_stack([xy, np.where(on_kerb, KERB_M, 0.0)]))
        headings.append(heading)
        phases.append(walked * 4.2)
        return np.concatenate(positions), np.concatenate(headings), np.concatenate(phases)

    def ego_pose(self, t_s: float) -> np.ndarray:
        """(4,4) float64 vehicle_to_world of the ego: x forward, y left, z up, origin below the rear axle."""
        rear, heading = self.ego_path.poses(self.ego_speed.arc_length(np.array([t_s])), WHEELBASE_M)
        (x, y), (c, s) = rear[0], heading[0]
        return np.array([[c, -s, 0.0, x], [s, c, 0.0, y], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])

    def at(self, t_s: float, centre: np.ndarray, radius_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The actors within radius_m of centre: vertices (V,3) float32 world, triangles (K,3), their rows in `mesh`."""
        position, heading, phase = self._poses(t_s)
        near = np.linalg.norm(position[:, :2] - centre[:2], axis=1) < radius_m
        kept = near[self._actor_of_vertex]
        owner, v, swing = self._actor_of_vertex[kept], self.mesh.vertices[kept], self.mesh.swing[kept]
        angle = swing[:, 0] * (0.55 * np.sin(phase).astype(np.float32))[owner]
        c, s, dz = np.cos(angle), np.sin(angle), v[:, 2] - swing[:, 1]
        x, z = v[:, 0] * c + dz * s, swing[:, 1] - v[:, 0] * s + dz * c
        h, p = heading[owner], position[owner]
        out = np.stack([h[:, 0] * x - h[:, 1] * v[:, 1] + p[:, 0], h[:, 1] * x + h[:, 0] * v[:, 1] + p[:, 1],
                        z + p[:, 2]], axis=1).astype(np.float32)
        rows = np.flatnonzero(near[self._actor_of_triangle])
        place = np.cumsum(kept, dtype=np.uint32) - np.uint32(1)
        return out, place[self.mesh.triangles[rows]], rows
