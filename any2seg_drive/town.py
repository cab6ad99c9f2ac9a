"""The standing town: streets, pavements, blocks, buildings, barriers and street furniture, as one big mesh."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive import blocks
from any2seg_drive.layout import (
    CORNER_RADIUS_M,
    KERB_M,
    SIDEWALK_M,
    Block,
    Layout,
)
from any2seg_drive.materials import MATERIAL_ID
from any2seg_drive.mesh import Mesh, Surface, fan, merge, patch, quads, strip
from any2seg_drive.palette import dimmed, random_colour
from any2seg_drive.site import Site

_LINE_Z, _LINE_WIDTH = 0.012, 0.2


@dataclass(frozen=True)
class Town:
    """Standing world: mesh in world coordinates, instance ids (T,) int32, lamps (L,3) float32, the layout."""

    mesh: Mesh
    instance: np.ndarray
    lamps: np.ndarray
    layout: Layout


def build_town(layout: Layout, rng: np.random.Generator) -> Town:
    """Builds everything that stands still; same layout and generator state, same arrays."""
    site = Site()
    _roads(site, layout, rng)
    _markings(site, layout, rng)
    _surroundings(site, layout, rng)
    plan = blocks.BlockPlan(layout, rng)
    for block in layout.blocks:
        pavement = Surface(DELIVER.id("SideWalk"), MATERIAL_ID["tiles"], random_colour(rng, "grey", "sand", "brick"),
                           random_colour(rng, "dark"), (rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.9)))
        _pavement(site, block, pavement)
        blocks.fill_block(site, block, plan, rng)
    blocks.overpasses(site, plan, rng)
    return _finished(site, layout)


def _finished(site: Site, layout: Layout) -> Town:
    instance = np.repeat(np.arange(1, len(site.meshes) + 1, dtype=np.int32), [len(m.triangles) for m in site.meshes])
    mesh = merge(site.meshes)
    vertices = mesh.vertices.copy()
    vertices[:, :2] = layout.bend(vertices[:, :2])
    lamps = np.array(site.lamps, np.float64).reshape(-1, 3)
    lamps[:, :2] = layout.bend(lamps[:, :2])
    return Town(replace(mesh, vertices=vertices), instance, lamps.astype(np.float32), layout)


def _street_pieces(layout: Layout) -> list[tuple[str, int, float, float, float, float]]:
    """(axis, index, middle, half width, from, to) of every interval between two crossings."""
    x0, x1, y0, y1 = layout.extent
    pieces = []
    for axis, middles, halves, cross, cross_halves, low, high in (
        ("x", layout.xs, layout.half_x, layout.ys, layout.half_y, y0, y1),
        ("y", layout.ys, layout.half_y, layout.xs, layout.half_x, x0, x1),
    ):
        starts = [low, *(cross + cross_halves)]
        ends = [*(cross - cross_halves), high]
        for index, (middle, half) in enumerate(zip(middles, halves, strict=True)):
            pieces += [(axis, index, middle, half, a, b) for a, b in zip(starts, ends, strict=True)]
    return pieces


def _rectangle(axis: str, across0: float, across1: float, along0: float, along1: float, z: float, surface: Surface,
               step: float = 6.0) -> Mesh:
    """Level patch given along and across a street."""
    if axis == "x":
        return patch(across0, across1, along0, along1, z, surface, step)
    return patch(along0, along1, across0, across1, z, surface, step)


def _roads(site: Site, layout: Layout, rng: np.random.Generator) -> None:
    """Road surface as one mesh (the first of the site)."""
    road = Surface(DELIVER.id("Road"), MATERIAL_ID["asphalt"], random_colour(rng, "asphalt"))
    kinds = (road, road._replace(colour=random_colour(rng, "asphalt")), road._replace(
        colour=random_colour(rng, "asphalt", "dark", "earth")))
    parts = [_rectangle(axis, m - h, m + h, a, b, 0.0, kinds[int(rng.integers(3))])
             for axis, _, m, h, a, b in _street_pieces(layout)]
    for x, hx in zip(layout.xs, layout.half_x, strict=True):
        for y, hy in zip(layout.ys, layout.half_y, strict=True):
            parts.append(patch(x - hx, x + hx, y - hy, y + hy, 0.0, road))
    for block in layout.blocks:
        parts += [fan(points, road, centre) for points, centre in _corner_fills(block)]
    site.add(merge(parts))


def _corner_fills(block: Block) -> list[tuple[np.ndarray, np.ndarray]]:
    """The bit of road between each rounded corner and the block's sharp corner, as fans about the sharp corner."""
    fills, r = [], CORNER_RADIUS_M
    angle = np.linspace(0.0, np.pi / 2, 7)
    for x, y, sx, sy in ((block.x0, block.y0, 1, 1), (block.x1, block.y0, -1, 1),
                         (block.x1, block.y1, -1, -1), (block.x0, block.y1, 1, -1)):
        arc = np.column_stack([x + sx * r * (1 - np.sin(angle)), y + sy * r * (1 - np.cos(angle)), np.zeros(7)])
        fills.append((arc, np.array([x, y, 0.0])))
    return fills


def _markings(site: Site, layout: Layout, rng: np.random.Generator) -> None:
    """Centre lines, edge lines, stop lines and zebra crossings; worn paint, white or yellow."""
    white = random_colour(rng, "light")
    yellow = (0.75, 0.5, 0.06) if rng.random() < 0.4 else white
    worn = dimmed(white, 0.35)
    paint = Surface(DELIVER.id("RoadLine"), MATERIAL_ID["paint"], white, worn)
    middle_paint = paint._replace(colour=yellow)
    for axis, _, middle, half, low, high in _street_pieces(layout):
        a, b = low + 1.0, high - 1.0
        parts: list[Mesh] = []

        def line(across: float, width: float, a0: float, a1: float, surface: Surface = paint,
                 axis: str = axis, middle: float = middle, parts: list[Mesh] = parts) -> None:
            parts.append(_rectangle(axis, middle + across - width / 2, middle + across + width / 2, a0, a1, _LINE_Z,
                                    surface))

        for end, inward in ((a + 0.5, 1), (b - 0.5, -1)):  # zebra, then a stop line for the lane that arrives
            start, stop = sorted((end, end + inward * 3.0))
            for across in np.arange(-half + 0.6, half - 0.3, 1.0):
                line(float(across), 0.5, start, stop)
            lane = 1.0 if (axis == "x") == (inward > 0) else -1.0
            stop0, stop1 = sorted((end + inward * 4.0, end + inward * 4.5))
            line(-lane * 1.65, 2.9, stop0, stop1)
        style = int(rng.integers(3))
        if style == 0:
            for s in np.arange(a + 9.0, b - 11.0, 6.0):
                line(0.0, _LINE_WIDTH, float(s), float(s) + 3.0, middle_paint)
        elif style == 1:
            line(0.0, _LINE_WIDTH, a + 8.5, b - 8.5, middle_paint)
        else:
            line(-0.2, 0.16, a + 8.5, b - 8.5, middle_paint)
            line(0.2, 0.16, a + 8.5, b - 8.5, middle_paint)
        for side in (-1, 1):
            line(side * 3.15, 0.16, a + 8.0, b - 8.0)
            if half > 4.0:
                for s in np.arange(a + 9.0, b - 8.0, 6.2):
                    line(side * (half + 3.2) / 2, half - 3.2, float(s), float(s) + 0.14)
        site.add(merge(parts))


def _surroundings(site: Site, layout: Layout, rng: np.random.Generator) -> None:
    """Hills all round, so that streets end in something."""
    x0, x1, y0, y1 = layout.extent
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    ring = np.concatenate([
        corners[k] + np.linspace(0, 1, 12, endpoint=False)[:, None] * (corners[(k + 1) % 4] - corners[k])
        for k in range(4)
    ])
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    away = ring - middle
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    grass = Surface(DELIVER.id("Terrain"), MATERIAL_ID["grass"], random_colour(rng, "green", "earth"),
                    random_colour(rng, "sand", "green"))
    previous = np.column_stack([ring, np.full(len(ring), -0.02)])
    for distance, height in ((12.0, 1.5), (35.0, 6.0), (80.0, 14.0)):
        z = height * rng.uniform(0.5, 1.4, len(ring))
        following = np.column_stack([ring + away * distance, z])
        site.add(strip(following, previous, grass, closed=True))
        previous = following


def _pavement(site: Site, block: Block, surface: Surface) -> None:
    """Sidewalk ring of a block with its kerb."""
    outline = block_outline(block, 0.0)
    outer = np.column_stack([outline, np.full(len(outline), KERB_M)])
    inner = outer.copy()
    inner[:, 0] = np.clip(inner[:, 0], block.x0 + SIDEWALK_M, block.x1 - SIDEWALK_M)
    inner[:, 1] = np.clip(inner[:, 1], block.y0 + SIDEWALK_M, block.y1 - SIDEWALK_M)
    top = strip(inner, outer, surface, closed=True)
    kerb_stone = surface._replace(material=MATERIAL_ID["concrete"], colour=(0.35, 0.35, 0.34), param=(1.0, 9.0))
    low = outer * [1, 1, 0]
    closed_low, closed_high = (np.concatenate([p, p[:1]]) for p in (low, outer))
    kerb = quads(np.stack([closed_low[:-1], closed_low[1:], closed_high[1:], closed_high[:-1]], axis=1), kerb_stone)
    site.add(merge([top, kerb]))


def block_outline(block: Block, inset: float, spacing: float = 6.0) -> np.ndarray:
    """Rounded rectangle (P,2) inside the kerb by `inset`, counter-clockwise, straight sides cut every `spacing`."""
    x0, x1, y0, y1 = block.x0 + inset, block.x1 - inset, block.y0 + inset, block.y1 - inset
    r = CORNER_RADIUS_M - min(inset, 2.0)
    centres = [(x0 + r, y0 + r), (x1 - r, y0 + r), (x1 - r, y1 - r), (x0 + r, y1 - r)]
    points = []
    for k, (cx, cy) in enumerate(centres):
        angle = np.linspace(np.pi, 1.5 * np.pi, 7) + k * np.pi / 2
        arc = np.column_stack([cx + r * np.cos(angle), cy + r * np.sin(angle)])
        nx, ny = centres[(k + 1) % 4]
        turn = 1.5 * np.pi + k * np.pi / 2
        following = np.array([nx + r * np.cos(turn), ny + r * np.sin(turn)])
        count = max(1, int(np.linalg.norm(following - arc[-1]) / spacing))
        side = arc[-1] + np.linspace(0, 1, count, endpoint=False)[1:, None] * (following - arc[-1])
        points += [arc, side]
    return np.concatenate(points)
