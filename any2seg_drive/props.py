"""Street furniture, plants and barriers in their own frame: x along the kerb, y away from the road, z up."""

from __future__ import annotations

import numpy as np

from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive.materials import MATERIAL_ID
from any2seg_drive.mesh import Colour, Mesh, Surface, blob, box, fan, merge, prism, quads, tube
from any2seg_drive.palette import dimmed, random_colour

_POLE, _SIGN, _LIGHT = DELIVER.id("Pole"), DELIVER.id("TrafficSign"), DELIVER.id("TrafficLight")
_VEGETATION, _STATIC, _OTHER = DELIVER.id("Vegetation"), DELIVER.id("Static"), DELIVER.id("Other")
_FENCE, _WALL, _RAIL = DELIVER.id("Fence"), DELIVER.id("Wall"), DELIVER.id("GroundRail")
_BRIDGE = DELIVER.id("Bridge")

LAMP_HEIGHT_M, LAMP_REACH_M = 6.2, 1.8


def pole_surface(rng: np.random.Generator) -> Surface:
    """Painted steel, concrete or wood."""
    material = ("metal", "concrete", "bark")[int(rng.integers(3))]
    colour = random_colour(rng, "grey", "dark", "green", "earth", "light")
    return Surface(_POLE, MATERIAL_ID[material], colour, dimmed(colour, 0.5), (0.3, 1.0))


def street_lamp(surface: Surface) -> Mesh:
    """Lamp post whose arm reaches `LAMP_REACH_M` over the road (towards -y) at `LAMP_HEIGHT_M`."""
    head = Surface(_POLE, MATERIAL_ID["lamp"], (0.7, 0.68, 0.6), param=(5.0, 0.0))
    return merge([
        tube(0.16, 0.11, 0.0, LAMP_HEIGHT_M, surface, 7),
        tube(0.22, 0.2, 0.0, 0.8, surface, 7),
        box((0.0, -LAMP_REACH_M / 2), LAMP_HEIGHT_M - 0.05, (0.12, LAMP_REACH_M + 0.2, 0.12), surface),
        box((0.0, -LAMP_REACH_M), LAMP_HEIGHT_M - 0.15, (0.35, 0.8, 0.1), head),
    ])


def utility_pole(surface: Surface) -> Mesh:
    """Tall plain mast with a crossbar."""
    return merge([tube(0.18, 0.13, 0.0, 8.5, surface, 7), box((0.0, 0.0), 7.8, (0.14, 2.0, 0.14), surface)])


def _plate_points(shape: str, size: float) -> np.ndarray:
    """Outline (P,2) of a sign plate, x to the right and y up, about the origin."""
    if shape == "triangle":
        return size * np.array([(-0.58, -0.35), (0.58, -0.35), (0.0, 0.65)])
    if shape == "diamond":
        return size * 0.62 * np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
    if shape == "square":
        return size * 0.46 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    sides = 8 if shape == "octagon" else 14
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    return size * 0.5 * np.column_stack([np.cos(angle), np.sin(angle)])


def _sign_plate(points: np.ndarray, z: float, face: Surface) -> Mesh:
    """Plate facing +x at height z, with a grey back; the pattern's u, v run over -1..1."""
    outline = np.column_stack([np.zeros(len(points)), points[:, 0], points[:, 1] + z])
    front = fan(outline, face)
    span = np.abs(points).max(0)
    local = front.vertices[front.triangles][:, :, 1:] - [0.0, z]
    front.uv[:] = local / span
    back = Surface(face.class_id, MATERIAL_ID["metal"], (0.25, 0.25, 0.26))
    return merge([front.moved(0.03), fan(outline, back)])


def traffic_sign(rng: np.random.Generator, pole: Surface) -> Mesh:
    """Post with one or two plates of random shape, facing +x."""
    parts = [tube(0.06, 0.06, 0.0, 3.2, pole, 6)]
    z = 2.75
    for _ in range(int(rng.integers(1, 3))):
        shape = ("triangle", "circle", "octagon", "square", "diamond")[int(rng.integers(5))]
        size = rng.uniform(0.85, 1.1)
        face = Surface(_SIGN, MATERIAL_ID["sign"], random_colour(rng, "light", "vivid", "blue"),
                       random_colour(rng, "vivid", "light", "dark"), (rng.uniform(3, 5), rng.uniform(2, 4)))
        parts.append(_sign_plate(_plate_points(shape, size), z, face).moved(0.06))
        z -= 1.0
    return merge(parts)


def direction_sign(rng: np.random.Generator, pole: Surface) -> Mesh:
    """Large board on two posts, facing +x."""
    width, height = rng.uniform(1.8, 2.8), rng.uniform(1.1, 1.7)
    face = Surface(_SIGN, MATERIAL_ID["sign"], random_colour(rng, "blue", "green", "light", "vivid"),
                   random_colour(rng, "light"), (rng.uniform(6, 9), rng.uniform(4, 6)))
    points = 0.5 * np.array([(-width, -height), (width, -height), (width, height), (-width, height)])
    parts = [_sign_plate(points, 2.3 + height / 2, face).moved(0.1)]
    parts += [tube(0.07, 0.07, 0.0, 2.3 + height, pole, 6).moved(0.0, s * width * 0.35) for s in (-1, 1)]
    return merge(parts)


def _signal_head(lit: int) -> Mesh:
    """Back plate and three lenses facing +x, its foot at the origin, 1.3 m high; lens `lit` glows (0 = red)."""
    shell = Surface(_LIGHT, MATERIAL_ID["flat"], (0.03, 0.03, 0.03))
    parts = [box((-0.02, 0.0), 0.0, (0.04, 0.7, 1.35), shell), box((0.1, 0.0), 0.1, (0.2, 0.4, 1.15), shell)]
    for k, colour in enumerate([(0.9, 0.05, 0.03), (0.9, 0.5, 0.03), (0.05, 0.8, 0.3)]):
        strength, tint = (8.0, colour) if k == lit else (0.0, dimmed(colour, 0.12))
        lens = Surface(_LIGHT, MATERIAL_ID["light"], tint, param=(strength, 0.0))
        angle = 2 * np.pi * np.arange(10) / 10
        z = 1.07 - 0.37 * k
        disc = np.column_stack([np.full(10, 0.21), 0.15 * np.cos(angle), z + 0.15 * np.sin(angle)])
        parts.append(fan(disc, lens))
    return merge(parts).scaled(1.25, 1.25, 1.25)


def traffic_light(rng: np.random.Generator, pole: Surface, overhang: float) -> Mesh:
    """Mast with one head at eye height and, where overhang > 0, a second one over the road (towards -y); faces +x."""
    lit = int(rng.integers(3))
    parts = [tube(0.1, 0.09, 0.0, 3.7 if overhang <= 0 else 6.3, pole, 7), _signal_head(lit).moved(0.12, 0.0, 2.4)]
    if overhang > 0:
        parts.append(box((0.0, -overhang / 2), 6.1, (0.13, overhang, 0.13), pole))
        parts.append(_signal_head(lit).moved(0.12, -overhang + 0.4, 4.7))
    return merge(parts)


def street_tree(rng: np.random.Generator) -> Mesh:
    """Tree whose crown leaves the road and the sidewalk free."""
    return tree(rng, conifers=0.0, clear_m=(2.2, 2.8), spread_m=(1.0, 1.5))


def tree(rng: np.random.Generator, conifers: float = 0.2, clear_m: tuple[float, float] = (1.6, 2.4),
         spread_m: tuple[float, float] = (1.2, 2.3)) -> Mesh:
    """Trunk and a crown of displaced spheres, or (in this share of cases) a conifer of stacked cones; 4 to 9 m.

    clear_m: range of the height below the crown; spread_m: range of its radius.
    """
    height = rng.uniform(4.0, 9.0)
    bark = random_colour(rng, "earth", "grey", "dark")
    trunk = Surface(_VEGETATION, MATERIAL_ID["bark"], bark, dimmed(bark, 0.4), (0.12, 0.0))
    leaf = random_colour(rng, "green", "green", "green", "autumn", "earth")
    crown = Surface(_VEGETATION, MATERIAL_ID["foliage"], leaf, random_colour(rng, "green", "autumn", "dark"))
    clear = rng.uniform(*clear_m)
    radius = rng.uniform(0.14, 0.26)
    parts = [tube(radius, radius * 0.6, 0.0, clear + 0.55 * (height - clear), trunk, 7)]
    if rng.random() < conifers:
        for k in range(4):
            z = 0.8 + k * (height - 0.8) / 4.5
            parts.append(tube((4.5 - k) * 0.38, 0.1, z, z + 0.4 * height, crown, 9))
        return merge(parts)
    spread = rng.uniform(*spread_m)
    for k in range(int(rng.integers(3, 6))):
        size = spread * rng.uniform(0.6, 1.0, 3)
        x, y = rng.uniform(-0.5, 0.5, 2) * spread * (k > 0)
        low = clear + 0.9 * size[2]
        z = low if k == 0 else rng.uniform(low, max(low, min(height, low + 1.2 * spread)))
        parts.append(blob(rng, tuple(size), crown, 1, 0.25).moved(x, y, z))
    return merge(parts)


def bush(rng: np.random.Generator) -> Mesh:
    """Low shrub, 0.6 to 1.6 m wide."""
    leaf = random_colour(rng, "green", "green", "autumn", "earth")
    surface = Surface(_VEGETATION, MATERIAL_ID["foliage"], leaf, random_colour(rng, "green", "autumn", "vivid"))
    size = rng.uniform(0.4, 0.9)
    return blob(rng, (size, size * rng.uniform(0.7, 1.1), size), surface, 1, 0.25).moved(z=0.5 * size)


def bin_or_hydrant(rng: np.random.Generator) -> Mesh:
    """Litter bin, hydrant, planter, cabinet or concrete block (class Static)."""
    colour = random_colour(rng, "green", "grey", "dark", "vivid", "earth")
    plain = Surface(_STATIC, MATERIAL_ID["flat"], colour)
    stone = Surface(_STATIC, MATERIAL_ID["concrete"], random_colour(rng, "grey", "sand"), (0.1, 0.1, 0.1), (2.0, 2.0))
    kind = int(rng.integers(5))
    if kind == 0:
        return merge([tube(0.32, 0.36, 0.0, 0.95, plain, 10), tube(0.4, 0.3, 0.95, 1.1, stone, 10)])
    if kind == 1:
        return merge([tube(0.18, 0.16, 0.0, 0.7, plain, 9), tube(0.24, 0.1, 0.7, 0.9, plain, 9),
                      box((0.0, 0.0), 0.45, (0.5, 0.16, 0.16), plain)])
    if kind == 2:
        return merge([box((0.0, 0.0), 0.0, (1.8, 0.9, 0.7), stone), box((0.0, 0.0), 0.7, (1.9, 1.0, 0.08), plain)])
    if kind == 3:
        return box((0.0, 0.0), 0.0, (1.1, 0.5, 1.35), plain)
    return prism(np.array([(-0.9, 0.0), (-0.9, 0.35), (-0.6, 0.9), (0.6, 0.9), (0.9, 0.35), (0.9, 0.0)]), 0.5, stone)


def bench(rng: np.random.Generator) -> Mesh:
    """Bench whose back is away from the road (class Static)."""
    colour = random_colour(rng, "earth", "grey", "green", "vivid")
    wood = Surface(_STATIC, MATERIAL_ID["planks"], colour, dimmed(colour, 0.2), (0.16, 0.0))
    leg = Surface(_STATIC, MATERIAL_ID["metal"], (0.1, 0.1, 0.1))
    parts = [box((0.0, 0.0), 0.42, (1.9, 0.5, 0.07), wood), box((0.0, 0.25), 0.55, (1.9, 0.06, 0.4), wood)]
    parts += [box((s * 0.8, 0.05), 0.0, (0.08, 0.45, 0.45), leg) for s in (-1, 1)]
    return merge(parts)


def bus_shelter(rng: np.random.Generator) -> Mesh:
    """Glazed shelter, open to the road (class Static), 4 m by 1.5 m."""
    colour = random_colour(rng, "vivid", "grey", "green", "dark")
    steel = Surface(_STATIC, MATERIAL_ID["metal"], colour)
    pane = Surface(_STATIC, MATERIAL_ID["glass"], (0.12, 0.14, 0.15))
    poster = Surface(_STATIC, MATERIAL_ID["sign"], random_colour(rng, "vivid"), random_colour(rng, "light"), (3.0, 4.0))
    parts = [box((0.0, 0.0), 2.35, (4.2, 1.7, 0.15), steel), box((0.0, 0.7), 0.15, (4.0, 0.05, 2.0), pane)]
    parts += [box((x, y), 0.0, (0.1, 0.1, 2.4), steel) for x in (-2.0, 2.0) for y in (-0.7, 0.7)]
    parts += [box((-2.0, 0.0), 0.25, (0.08, 1.4, 1.9), poster), box((0.0, 0.45), 0.42, (3.2, 0.4, 0.08), steel)]
    return merge(parts)


def kiosk_or_sculpture(rng: np.random.Generator) -> Mesh:
    """Something with no class of its own (class Other): stall, advertising column, heap, tent or sculpture."""
    colour, colour2 = random_colour(rng, "vivid", "pastel", "earth"), random_colour(rng, "light", "dark", "vivid")
    cloth = Surface(_OTHER, MATERIAL_ID["cloth"], colour, colour2, (0.6, 2.0))
    plain = Surface(_OTHER, MATERIAL_ID["plaster"], colour2, colour)
    kind = int(rng.integers(5))
    if kind == 0:  # market stall
        roof = prism(np.array([(-1.7, 2.1), (0.0, 2.9), (1.7, 2.1)]), 2.4, cloth)
        posts = [tube(0.05, 0.05, 0.0, 2.2, plain, 5).moved(x, y) for x in (-1.5, 1.5) for y in (-1.0, 1.0)]
        return merge([roof, box((0.0, 0.0), 0.0, (2.8, 1.6, 0.95), cloth), *posts])
    if kind == 1:  # advertising column
        poster = Surface(_OTHER, MATERIAL_ID["brick"], colour, colour2, (0.7, 0.9))
        return merge([tube(0.75, 0.75, 0.0, 3.0, poster, 12), tube(0.9, 0.1, 3.0, 3.7, plain, 12)])
    if kind == 2:  # heap of rubble or sand
        heap = Surface(_OTHER, MATERIAL_ID["gravel"], random_colour(rng, "sand", "earth", "grey"), colour)
        return blob(rng, (1.9, 1.3, 1.3), heap, 2, 0.12)
    if kind == 3:  # tent
        return merge([prism(np.array([(-1.6, 0.0), (-1.4, 1.3), (0.0, 2.6), (1.4, 1.3), (1.6, 0.0)]), 2.2, cloth)])
    parts = [box((0.0, 0.0), 0.0, (1.3, 1.3, 0.8), plain)]
    z = 0.8
    for _ in range(3):  # sculpture of stacked bodies
        size = rng.uniform(0.35, 0.75, 3)
        parts.append(blob(rng, tuple(size), plain, 1, 0.2).moved(z=z + size[2] * 0.8))
        z += 1.5 * size[2]
    return merge(parts)


def billboard(rng: np.random.Generator) -> Mesh:
    """Advertising board on legs (class Other), 3 to 4.5 m wide, turned at random to the street or along it."""
    width, height, foot = rng.uniform(3.0, 4.5), rng.uniform(1.8, 2.6), rng.uniform(0.5, 1.6)
    poster = Surface(_OTHER, MATERIAL_ID["brick"], random_colour(rng, "vivid", "pastel", "light"),
                     random_colour(rng, "vivid", "dark", "light"), (rng.uniform(0.8, 2.0), rng.uniform(0.5, 1.2)))
    leg = poster._replace(material=MATERIAL_ID["metal"], colour=(0.12, 0.12, 0.12))
    parts = [box((0.0, 0.0), foot, (width, 0.18, height), poster)]
    parts += [box((x * width / 3, 0.12), 0.0, (0.16, 0.12, foot + height), leg) for x in (-1, 1)]
    return merge(parts).moved(yaw=rng.uniform(-0.9, 0.9))


def _boards(x0: float, x1: float, y: float, z0: float, z1: float, pitch: float, fill: float, surface: Surface) -> Mesh:
    """Row of upright boards in the plane y = const."""
    left = np.arange(x0, x1 - 0.5 * pitch, pitch)
    right = left + fill * pitch
    flat = np.full_like(left, y)
    low, high = np.full_like(left, z0), np.full_like(left, z1)
    corners = np.stack([np.stack([left, flat, low], 1), np.stack([right, flat, low], 1),
                        np.stack([right, flat, high], 1), np.stack([left, flat, high], 1)], axis=1)
    return quads(corners, surface)


def fence(rng: np.random.Generator, length: float) -> Mesh:
    """Board or railing fence from x = 0 to `length` along y = 0, 1.1 to 2.3 m high."""
    height = rng.uniform(1.1, 2.3)
    colour = random_colour(rng, "earth", "green", "light", "grey", "dark", "vivid")
    if rng.random() < 0.6:
        surface = Surface(_FENCE, MATERIAL_ID["planks"], colour, dimmed(colour, 0.5), (0.16, 0.0))
        pitch, fill = rng.uniform(0.2, 0.35), rng.uniform(0.7, 0.85)
    else:
        surface = Surface(_FENCE, MATERIAL_ID["metal"], colour)
        pitch, fill = rng.uniform(0.18, 0.26), rng.uniform(0.35, 0.5)
    parts = [_boards(0.0, length, 0.0, 0.08, height, pitch, fill, surface)]
    for z in (0.25, height - 0.2):
        parts.append(long_box(0.0, length, 0.05, z, 0.06, 0.1, surface))
    for x in np.arange(0.0, length + 0.1, 3.0):
        parts.append(box((float(x), 0.05), 0.0, (0.12, 0.12, height + 0.1), surface))
    return merge(parts)


def long_box(x0: float, x1: float, y: float, z0: float, depth: float, height: float, surface: Surface,
             step: float = 6.0) -> Mesh:
    """Beam along x from x0 to x1 about y, in pieces of at most `step` so that it follows bent streets."""
    count = max(1, int(np.ceil((x1 - x0) / step)))
    xs = np.linspace(x0, x1, count + 1)
    front, back, low, high = y - depth / 2, y + depth / 2, z0, z0 + height

    def line(yy: float, zz: float) -> np.ndarray:
        return np.column_stack([xs, np.full_like(xs, yy), np.full_like(xs, zz)])

    def band(a: tuple[float, float], b: tuple[float, float], flip: bool) -> Mesh:
        first, second = line(*a), line(*b)
        corners = np.stack([first[:-1], first[1:], second[1:], second[:-1]], axis=1)
        v = np.array([a[0] if flip else a[1], b[0] if flip else b[1]])
        u0, u1 = first[:-1, 0], first[1:, 0]
        low_v, high_v = np.full_like(u0, v[0]), np.full_like(u0, v[1])
        uv = np.stack([np.stack([u0, low_v], 1), np.stack([u1, low_v], 1),
                       np.stack([u1, high_v], 1), np.stack([u0, high_v], 1)], axis=1)
        return quads(corners, surface, uv)

    parts = [band((front, low), (front, high), False), band((back, low), (back, high), False)]
    parts.append(band((front, high), (back, high), True))
    ends = [[[x, front, low], [x, back, low], [x, back, high], [x, front, high]] for x in (x0, x1)]
    return merge([*parts, quads(ends, surface)])


def wall_surface(rng: np.random.Generator, class_id: int, colour: Colour | None = None) -> Surface:
    """Masonry, plaster or concrete."""
    colour = colour or random_colour(rng, "brick", "earth", "grey", "sand", "light", "pastel")
    kind = int(rng.integers(3))
    if kind == 0:
        size = rng.uniform(0.25, 0.6)
        return Surface(class_id, MATERIAL_ID["brick"], colour, random_colour(rng, "light", "grey"), (size, size * 0.4))
    name = "plaster" if kind == 1 else "concrete"
    return Surface(class_id, MATERIAL_ID[name], colour, dimmed(colour, 0.45), (rng.uniform(1.5, 3), 1.2))


def wall(rng: np.random.Generator, length: float) -> Mesh:
    """Free-standing wall from x = 0 to `length`, 1.3 to 3 m high, with a coping."""
    height = rng.uniform(1.3, 3.0)
    body = wall_surface(rng, _WALL)
    coping = body._replace(material=MATERIAL_ID["concrete"], colour=random_colour(rng, "grey", "sand"))
    return merge([long_box(0.0, length, 0.0, 0.0, 0.3, height, body),
                  long_box(0.0, length, 0.0, height, 0.4, 0.1, coping)])


def hedge(rng: np.random.Generator, length: float) -> Mesh:
    """Clipped hedge, 0.8 to 1.9 m high."""
    leaf = random_colour(rng, "green", "green", "autumn")
    surface = Surface(_VEGETATION, MATERIAL_ID["foliage"], leaf, random_colour(rng, "green", "dark", "earth"))
    return long_box(0.0, length, 0.0, 0.0, rng.uniform(0.7, 1.1), rng.uniform(0.8, 1.9), surface)


def guard_rail(rng: np.random.Generator, length: float) -> Mesh:
    """Crash barrier: one or two steel beams on posts (class GroundRail), 0.85 m high."""
    colour = random_colour(rng, "grey", "grey", "light", "earth", "dark")
    steel = Surface(_RAIL, MATERIAL_ID["rusty_metal"], colour, dimmed(colour, 0.5))
    parts = [long_box(0.0, length, -0.1, z, 0.08, 0.14, steel) for z in (0.45, 0.68)]
    parts.append(long_box(0.0, length, -0.06, 0.57, 0.05, 0.14, steel))
    parts += [box((float(x), 0.02), 0.0, (0.14, 0.1, 0.84), steel) for x in np.arange(0.4, length, 2.0)]
    return merge(parts)


def parapet(rng: np.random.Generator, length: float) -> Mesh:
    """Side wall of a bridge with piers at both ends (class Bridge), 1.15 m above the road."""
    surface = wall_surface(rng, _BRIDGE)
    piers = [box((x, 0.0), -2.0, (0.8, 0.7, 3.5), surface) for x in (0.4, length - 0.4)]
    return merge([long_box(0.0, length, 0.0, -2.0, 0.4, 3.15, surface), *piers])


def overpass(rng: np.random.Generator, span: float) -> Mesh:
    """Bridge over the road, from x = 0 to `span` across it: deck, side girders and piers (class Bridge)."""
    surface = wall_surface(rng, _BRIDGE)
    width, clear, deck = rng.uniform(3.0, 6.0), rng.uniform(4.9, 5.6), rng.uniform(0.7, 1.2)
    side = rng.uniform(0.9, 1.6)
    parts = [long_box(0.0, span, 0.0, clear, width, deck, surface)]
    under = [[[0.0, -width / 2, clear], [span, -width / 2, clear], [span, width / 2, clear], [0.0, width / 2, clear]]]
    parts.append(quads(under, surface))
    parts += [long_box(0.0, span, s * width / 2, clear + deck, 0.25, side, surface) for s in (-1, 1)]
    parts += [box((x, 0.0), 0.0, (1.0, width * 0.8, clear), surface) for x in (0.6, span - 0.6)]
    return merge(parts)
