"""Triangle meshes with per-triangle appearance, and the primitive shapes that the town is made of.

Lengths are metres, z is up. A mesh is arrays only, so merging and moving are whole-array operations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Colour = tuple[float, float, float]
_QUAD = np.array([[0, 1, 2], [0, 2, 3]])  # two triangles of a quadrilateral


class Surface(NamedTuple):
    """Appearance of a shape: class id, material index, two linear RGB colours (0..1), two pattern parameters."""

    class_id: int
    material: int
    colour: Colour
    colour2: Colour = (0.2, 0.2, 0.2)
    param: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Mesh:
    """V vertices and T triangles.

    vertices (V,3) float32; triangles (T,3) uint32; uv (T,3,2) float32 texture coordinates in metres;
    look (T,10) float32: the `Surface` of each triangle, packed (class id, material, colour, colour2, param);
    swing (V,2) float32: how far a vertex turns about the y axis in a walk cycle (-1..1), and the pivot height.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    look: np.ndarray
    swing: np.ndarray

    @cached_property
    def class_id(self) -> np.ndarray:
        """(T,) uint8 DELIVER train ids."""
        return self.look[:, 0].astype(np.uint8)

    @cached_property
    def material(self) -> np.ndarray:
        """(T,) uint16 material indices."""
        return self.look[:, 1].astype(np.uint16)

    @cached_property
    def colour(self) -> np.ndarray:
        """(T,3) float32 linear RGB, main colour of the pattern."""
        return np.ascontiguousarray(self.look[:, 2:5])

    @cached_property
    def colour2(self) -> np.ndarray:
        """(T,3) float32 linear RGB, second colour of the pattern."""
        return np.ascontiguousarray(self.look[:, 5:8])

    @cached_property
    def param(self) -> np.ndarray:
        """(T,2) float32 pattern parameters."""
        return np.ascontiguousarray(self.look[:, 8:10])

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Mesh:
        """Turned by `yaw` (radians, counter-clockwise) about z, then shifted."""
        return self.placed(np.cos(yaw), np.sin(yaw), x, y, z)

    def placed(self, cos: float, sin: float, x: float, y: float, z: float = 0.0) -> Mesh:
        """Turned so that the local x axis points along (cos, sin), then shifted."""
        v = self.vertices
        out = np.empty_like(v)
        out[:, 0] = cos * v[:, 0] - sin * v[:, 1] + x
        out[:, 1] = sin * v[:, 0] + cos * v[:, 1] + y
        out[:, 2] = v[:, 2] + z
        return replace(self, vertices=out)

    def turned_about_x(self, angle: float) -> Mesh:
        """Turned by `angle` (radians) about the local x axis."""
        v, c, s = self.vertices, np.cos(angle), np.sin(angle)
        out = v.copy()
        out[:, 1] = c * v[:, 1] - s * v[:, 2]
        out[:, 2] = s * v[:, 1] + c * v[:, 2]
        return replace(self, vertices=out)

    def turned_about_y(self, angle: float) -> Mesh:
        """Turned by `angle` (radians) about the local y axis; positive tips +x downwards."""
        v, c, s = self.vertices, np.cos(angle), np.sin(angle)
        out = v.copy()
        out[:, 0] = c * v[:, 0] + s * v[:, 2]
        out[:, 2] = -s * v[:, 0] + c * v[:, 2]
        return replace(self, vertices=out)

    def scaled(self, sx: float, sy: float, sz: float) -> Mesh:
        """Stretched along each axis; texture coordinates are kept."""
        return replace(self, vertices=self.vertices * np.array([sx, sy, sz], np.float32))

    def swinging(self, amount: float, pivot_z: float) -> Mesh:
        """Marks every vertex as a limb that swings about (0, *, pivot_z)."""
        swing = np.tile(np.array([amount, pivot_z], np.float32), (len(self.vertices), 1))
        return replace(self, swing=swing)


def merge(meshes: list[Mesh]) -> Mesh:
    """One mesh from many, in order."""
    counts = np.array([len(m.vertices) for m in meshes])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.uint32)
    return Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]),
        triangles=np.concatenate([m.triangles + s for m, s in zip(meshes, starts, strict=True)]).astype(np.uint32),
        uv=np.concatenate([m.uv for m in meshes]),
        look=np.concatenate([m.look for m in meshes]),
        swing=np.concatenate([m.swing for m in meshes]),
    )


def from_triangles(vertices: np.ndarray, triangles: np.ndarray, uv: np.ndarray, surface: Surface) -> Mesh:
    """A mesh of one surface: vertices (V,3), triangles (T,3), uv (T,3,2)."""
    look = np.empty((len(triangles), 10), np.float32)
    look[:] = (surface.class_id, surface.material, *surface.colour, *surface.colour2, *surface.param)
    return Mesh(
        vertices=np.asarray(vertices, np.float32),
        triangles=np.asarray(triangles, np.uint32),
        uv=np.asarray(uv, np.float32),
        look=look,
        swing=np.zeros((len(vertices), 2), np.float32),
    )


def quads(corners: ArrayLike, surface: Surface, uv: np.ndarray | None = None) -> Mesh:
    """Quadrilaterals, corners (Q,4,3) in order round the edge; uv (Q,4,2), by default the edge lengths."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4, 3)  # (Q,4,3)
    count = len(corners)
    if uv is None:
        uv = np.zeros((count, 4, 2), np.float32)
        uv[:, 1:3, 0] = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)[:, None]
        uv[:, 2:, 1] = np.linalg.norm(corners[:, 3] - corners[:, 0], axis=1)[:, None]
        uv[:, :, 0] += (corners[:, 0, 0] + corners[:, 0, 1])[:, None]  # shifts the pattern from face to face
        uv[:, :, 1] += corners[:, 0, 2, None]
    triangles = (4 * np.arange(count)[:, None, None] + _QUAD).reshape(-1, 3)
    triangle_uv = np.asarray(uv, np.float32)[:, _QUAD].reshape(-1, 3, 2)
    return from_triangles(corners.reshape(-1, 3), triangles, triangle_uv, surface)


def wall_faces(size_x: float, size_y: float, z0: float, z1: float) -> tuple[np.ndarray, np.ndarray]:
    """Four sides of an upright box centred on the origin: corners (4,4,3), uv (4,4,2) from 0 on every side."""
    x, y = size_x / 2, size_y / 2
    ring = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    corners, uv = [], []
    for k in range(4):
        a, b = ring[k], ring[(k + 1) % 4]
        length = np.hypot(*(b - a))
        corners.append([[*a, z0], [*b, z0], [*b, z1], [*a, z1]])
        uv.append([[0, 0], [length, 0], [length, z1 - z0], [0, z1 - z0]])
    return np.array(corners), np.array(uv)


def box(centre: tuple[float, float], z0: float, size: tuple[float, float, float], surface: Surface) -> Mesh:
    """Closed box standing on height z0, centred on `centre` (x, y); size (x, y, z)."""
    sx, sy, sz = size
    sides, _ = wall_faces(sx, sy, z0, z0 + sz)
    x, y = sx / 2, sy / 2
    top = [[-x, -y, z0 + sz], [x, -y, z0 + sz], [x, y, z0 + sz], [-x, y, z0 + sz]]
    bottom = [[-x, y, z0], [x, y, z0], [x, -y, z0], [-x, -y, z0]]
    corners = np.concatenate([sides, np.array([top, bottom])])
    corners = corners + np.array([centre[0], centre[1], 0.0])
    return quads(corners, surface)


def patch(x0: float, x1: float, y0: float, y1: float, z: float, surface: Surface, step: float = 6.0) -> Mesh:
    """Level rectangle, cut into pieces of at most `step` so that it follows the bent streets; uv = (x, y)."""
    nx = max(1, int(np.ceil((x1 - x0) / step)))
    ny = max(1, int(np.ceil((y1 - y0) / step)))
    xs, ys = np.linspace(x0, x1, nx + 1), np.linspace(y0, y1, ny + 1)
    gx, gy = np.meshgrid(xs, ys)
    vertices = np.stack([gx, gy, np.full_like(gx, z)], axis=2).reshape(-1, 3)
    corner = (np.arange(ny)[:, None] * (nx + 1) + np.arange(nx)[None]).reshape(-1, 1)
    triangles = np.concatenate([corner + [0, 1, nx + 2], corner + [0, nx + 2, nx + 1]], axis=1).reshape(-1, 3)
    return from_triangles(vertices, triangles, vertices[triangles][:, :, :2], surface)


def strip(inner: np.ndarray, outer: np.ndarray, surface: Surface, closed: bool = False) -> Mesh:
    """Band between two polylines (P,3) of equal length; uv = (arc length along `outer`, distance across)."""
    if closed:
        inner, outer = np.concatenate([inner, inner[:1]]), np.concatenate([outer, outer[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(outer, axis=0), axis=1))])
    across = np.linalg.norm(inner - outer, axis=1)
    corners = np.stack([outer[:-1], outer[1:], inner[1:], inner[:-1]], axis=1)
    zero = np.zeros(len(along) - 1)
    uv = np.stack(
        [
            np.stack([along[:-1], along[1:], along[1:], along[:-1]], axis=1),
            np.stack([zero, zero, across[1:], across[:-1]], axis=1),
        ],
        axis=2,
    )
    return quads(corners, surface, uv)


def fan(points: np.ndarray, surface: Surface, centre: np.ndarray | None = None) -> Mesh:
    """Closed polygon (P,3), star-shaped about `centre` (default: its mean), as a triangle fan."""
    points = np.asarray(points, np.float64)
    middle = points.mean(0) if centre is None else np.asarray(centre, np.float64)
    count = len(points)
    vertices = np.concatenate([points, middle[None]])
    k = np.arange(count)
    triangles = np.stack([np.full(count, count), k, (k + 1) % count], axis=1)
    span = np.ptp(points, axis=0)
    axes = np.sort(np.argsort(-span, kind="stable")[:2])  # the two widest axes carry the texture
    return from_triangles(vertices, triangles, vertices[triangles][:, :, axes], surface)


def prism(profile: np.ndarray, width: float, surface: Surface, caps: Surface | None = None) -> Mesh:
    """Outline (P,2) in the x-z plane, star-shaped about its mean, drawn out along y over `width`, centred."""
    profile = np.asarray(profile, np.float64)
    left = np.column_stack([profile[:, 0], np.full(len(profile), width / 2), profile[:, 1]])
    right = left * [1, -1, 1]
    band = np.stack([left, np.roll(left, -1, 0), np.roll(right, -1, 0), right], axis=1)
    ends = caps or surface
    return merge([quads(band, surface), fan(left, ends), fan(right[::-1], ends)])


def tube(radius0: float, radius1: float, z0: float, z1: float, surface: Surface, sides: int = 8) -> Mesh:
    """Upright cylinder or cone with closed ends; uv = (arc length, height)."""
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    low = np.column_stack([ring * radius0, np.full(sides, z0)])
    high = np.column_stack([ring * radius1, np.full(sides, z1)])
    parts = [strip(high, low, surface, closed=True)]
    if radius1 > 0.02:
        parts.append(fan(high, surface))
    if radius0 > 0.5:
        parts.append(fan(low[::-1], surface))
    return merge(parts)


def wheel(radius: float, width: float, surface: Surface, hub: Surface, sides: int = 12) -> Mesh:
    """Wheel with its axle along y, centred on the origin."""
    angle = 2 * np.pi * np.arange(sides) / sides
    profile = np.column_stack([np.cos(angle), np.sin(angle)]) * radius
    rim = np.column_stack([np.cos(angle[::2]), np.zeros(len(angle[::2])), np.sin(angle[::2])]) * radius * 0.5
    offset = np.array([0.0, width / 2 + 0.01, 0.0])
    return merge([prism(profile, width, surface), fan(rim + offset, hub), fan(rim - offset, hub)])


def _icosphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    g = (1 + 5**0.5) / 2
    v: list[tuple[float, float, float]] = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g)]
    v += [(0, -1, -g), (0, 1, -g), (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    f = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6)]
    f += [(7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10)]
    f += [(8, 6, 7), (9, 8, 1)]
    vertices = np.array(v, np.float64)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    faces = np.array(f)
    for _ in range(level):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middle = vertices[unique].sum(1)
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        ab, bc, ca = (inverse.reshape(3, -1) + len(vertices))
        a, b, c = faces.T
        vertices = np.concatenate([vertices, middle])
        faces = np.concatenate(
            [np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
        )
    return vertices, faces


_SPHERES = {level: _icosphere(level) for level in (0, 1, 2)}


def blob(
    rng: np.random.Generator, size: tuple[float, float, float], surface: Surface, level: int = 1, rough: float = 0.2
) -> Mesh:
    """Displaced sphere centred on the origin, radii `size`, each vertex pushed by up to `rough` of the radius."""
    vertices, faces = _SPHERES[level]
    push = 1.0 + rng.uniform(-rough, rough, len(vertices))
    shaped = vertices * push[:, None] * np.asarray(size)
    uv = np.stack([shaped[:, 0] + 0.7 * shaped[:, 2], shaped[:, 1] + 0.7 * shaped[:, 2]], axis=1)
    uv = uv + rng.uniform(0, 50, 2)
    return from_triangles(shaped, faces, uv[faces], surface)
