"""Vehicles and people as meshes in their own frame: x forward, y left, z up, origin on the ground below the middle."""

from __future__ import annotations

import numpy as np

from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive.materials import MATERIAL_ID
from any2seg_drive.mesh import Mesh, Surface, blob, box, merge, prism, quads, tube, wheel
from any2seg_drive.palette import dimmed, random_colour

_CARS, _TRUCK, _BUS = DELIVER.id("Cars"), DELIVER.id("Truck"), DELIVER.id("Bus")
_TWO_WHEELER, _PEDESTRIAN, _DYNAMIC = DELIVER.id("TwoWheeler"), DELIVER.id("Pedestrian"), DELIVER.id("Dynamic")

# Side outlines (x, z) as fractions of length and height: lower hull and cabin, front at +x.
_HULL = [(-0.5, 0.2), (-0.5, 0.55), (0.1, 0.62), (0.47, 0.52), (0.5, 0.2)]
_BODIES: dict[str, dict] = {
    "sedan": {
        "size": (4.5, 1.8, 1.45), "hull": _HULL,
        "cabin": [(-0.36, 0.58), (-0.24, 1.0), (0.06, 1.0), (0.22, 0.6)],
    },
    "hatchback": {
        "size": (3.9, 1.75, 1.5), "hull": _HULL,
        "cabin": [(-0.5, 0.54), (-0.42, 1.0), (0.05, 1.0), (0.25, 0.6)],
    },
    "suv": {
        "size": (4.7, 1.95, 1.85),
        "hull": [(-0.5, 0.22), (-0.5, 0.58), (0.2, 0.62), (0.48, 0.56), (0.5, 0.22)],
        "cabin": [(-0.5, 0.57), (-0.46, 1.0), (0.1, 1.0), (0.22, 0.61)],
    },
    "van": {
        "size": (5.2, 2.0, 2.2),
        "hull": [(-0.5, 0.16), (-0.5, 0.5), (0.4, 0.5), (0.5, 0.4), (0.5, 0.16)],
        "cabin": [(-0.5, 0.49), (-0.49, 1.0), (0.24, 1.0), (0.4, 0.5)],
    },
    "pickup": {
        "size": (5.3, 1.95, 1.8),
        "hull": [(-0.5, 0.22), (-0.5, 0.56), (0.2, 0.6), (0.48, 0.54), (0.5, 0.22)],
        "cabin": [(-0.12, 0.57), (-0.08, 1.0), (0.14, 1.0), (0.24, 0.6)],
    },
}
CAR_STYLES = tuple(_BODIES)
_RUBBER_COLOUR, _HUB_COLOUR, _GLASS_COLOUR = (0.02, 0.02, 0.02), (0.3, 0.3, 0.32), (0.03, 0.04, 0.05)


def _plate(x: float, y: float, z: float, width: float, height: float, surface: Surface, facing: float) -> Mesh:
    """Upright rectangle in the y-z plane."""
    s = facing * width / 2
    return quads([[[x, y - s, z], [x, y + s, z], [x, y + s, z + height], [x, y - s, z + height]]], surface)


def _wheels(positions: list[tuple[float, float]], radius: float, width: float, class_id: int) -> list[Mesh]:
    tyre = Surface(class_id, MATERIAL_ID["rubber"], _RUBBER_COLOUR)
    hub = Surface(class_id, MATERIAL_ID["metal"], _HUB_COLOUR)
    return [wheel(radius, width, tyre, hub).moved(x, y, radius) for x, y in positions]


def _lights(x_front: float, x_back: float, half_width: float, z: float, class_id: int) -> list[Mesh]:
    """Head and tail lights (they glow at night) and number plates (they shine in the LiDAR)."""
    head = Surface(class_id, MATERIAL_ID["lamp"], (0.8, 0.8, 0.7), param=(6.0, 0.0))
    tail = Surface(class_id, MATERIAL_ID["light"], (0.5, 0.02, 0.02), param=(2.5, 0.0))
    number = Surface(class_id, MATERIAL_ID["plate"], (0.7, 0.7, 0.65))
    parts = []
    for side in (-1, 1):
        parts.append(_plate(x_front + 0.012, side * half_width * 0.75, z, 0.32, 0.16, head, 1.0))
        parts.append(_plate(x_back - 0.012, side * half_width * 0.8, z + 0.1, 0.26, 0.2, tail, -1.0))
    parts.append(_plate(x_back - 0.012, 0.0, z - 0.1, 0.5, 0.13, number, -1.0))
    parts.append(_plate(x_front + 0.012, 0.0, z - 0.2, 0.5, 0.13, number, 1.0))
    return parts


def _cabin_glass(cabin: np.ndarray, width: float, glass: Surface) -> list[Mesh]:
    """Panes a centimetre outside the cabin: windscreen, rear window, both sides with a pillar between."""
    middle = cabin.mean(0)
    outline = middle + (cabin - middle) * np.array([1.01, 0.98])
    back_low, back_top, front_top, front_low = outline
    half, panes = width / 2, []
    for low, top in ((front_low, front_top), (back_low, back_top)):
        a, b = low + 0.14 * (top - low), low + 0.9 * (top - low)
        y = half * 0.88
        panes.append([[a[0], -y, a[1]], [a[0], y, a[1]], [b[0], y, b[1]], [b[0], -y, b[1]]])
    for side in (-1, 1):
        for s0, s1 in ((0.08, 0.46), (0.52, 0.93)):
            def at(along: float, up: float, side: int = side) -> list[float]:
                low = back_low + along * (front_low - back_low)
                top = back_top + along * (front_top - back_top)
                point = low + up * (top - low)
                return [point[0], side * (half + 0.012), point[1]]
            panes.append([at(s0, 0.15), at(s1, 0.15), at(s1, 0.88), at(s0, 0.88)])
    return [quads(panes, glass)]


def car(rng: np.random.Generator, style: str | None = None) -> Mesh:
    """A car of one of `CAR_STYLES` (class Cars): hull, cabin, panes, four wheels, lights."""
    body = _BODIES[style or CAR_STYLES[int(rng.integers(len(CAR_STYLES)))]]
    length, width, height = np.array(body["size"]) * rng.uniform(0.94, 1.06, 3)
    colour = random_colour(rng, "vivid", "vivid", "grey", "dark", "light", "pastel", "green", "earth")
    paint = Surface(_CARS, MATERIAL_ID["car_paint"], colour)
    glass = Surface(_CARS, MATERIAL_ID["glass"], _GLASS_COLOUR)
    hull = np.array(body["hull"]) * [length, height]
    cabin = np.array(body["cabin"]) * [length, height]
    cabin_width = width * (0.86 if body["cabin"][0][1] > 0.5 else 0.96)
    radius = 0.32 if height < 1.7 else 0.38
    corners = [(sx * length * 0.31, sy * (width / 2 - 0.1)) for sx in (-1, 1) for sy in (-1, 1)]
    under = Surface(_CARS, MATERIAL_ID["rubber"], (0.03, 0.03, 0.03))
    parts = [prism(hull, width, paint), prism(cabin, cabin_width, paint)]
    parts += _cabin_glass(cabin, cabin_width, glass)
    parts += _wheels(corners, radius, 0.24, _CARS)
    parts += _lights(length / 2, -length / 2, width / 2, height * 0.38, _CARS)
    parts.append(box((0.0, 0.0), height * 0.12, (length * 0.8, width * 0.8, height * 0.12), under))
    return merge(parts)


def truck(rng: np.random.Generator) -> Mesh:
    """Lorry (class Truck): cab, chassis and a box, tanker or tipper body; 6.5 to 9 m long."""
    length, width, height = rng.uniform(6.5, 9.0), 2.45, rng.uniform(2.9, 3.6)
    cab_colour = random_colour(rng, "vivid", "light", "green", "earth", "dark")
    load_colour = random_colour(rng, "vivid", "light", "grey", "pastel", "earth", "green")
    cab = Surface(_TRUCK, MATERIAL_ID["car_paint"], cab_colour)
    dark = Surface(_TRUCK, MATERIAL_ID["rubber"], (0.03, 0.03, 0.03))
    glass = Surface(_TRUCK, MATERIAL_ID["glass"], _GLASS_COLOUR)
    front, cab_length, cab_height = length / 2, 2.0, min(height, 2.8)
    outline = [(front - cab_length, 0.6), (front - cab_length, cab_height), (front - 0.3, cab_height)]
    outline += [(front, 1.6), (front, 0.5)]
    parts = [prism(np.array(outline), width, cab)]
    parts.append(_plate(front - 0.13, 0.0, 1.65, width * 0.86, 0.75, glass, 1.0))
    for side in (-1, 1):
        y = side * (width / 2 + 0.012)
        x0, x1 = front - 1.5, front - 0.5
        parts.append(quads([[[x0, y, 1.6], [x1, y, 1.6], [x1, y, 2.3], [x0, y, 2.3]]], glass))
    load_length, middle = length - cab_length - 0.3, -(cab_length + 0.3) / 2
    parts.append(box((middle, 0.0), 0.7, (load_length, 1.0, 0.3), dark))
    kind = int(rng.integers(3))
    if kind == 0:
        ribs = Surface(_TRUCK, MATERIAL_ID["ribs"], load_colour, param=(rng.uniform(0.25, 0.6), 0.0))
        parts.append(box((middle, 0.0), 1.0, (load_length, width, height - 1.0), ribs))
    elif kind == 1:
        steel = Surface(_TRUCK, MATERIAL_ID["metal"], load_colour)
        angle = 2 * np.pi * np.arange(14) / 14
        ring = np.column_stack([np.cos(angle) * 0.5 * width, np.sin(angle) * 0.45 * (height - 1.0)])
        tank = prism(ring, load_length, steel).moved(0.0, 0.0, 1.0 + 0.45 * (height - 1.0), np.pi / 2)
        parts.append(tank.moved(middle))
    else:
        planks = Surface(_TRUCK, MATERIAL_ID["planks"], load_colour, dimmed(load_colour, 0.4), (0.5, 0.0))
        half, top = load_length / 2, min(height, 2.6)
        tip = np.array([(-half, 1.0), (-half - 0.2, top), (half, top), (half, 1.0)])
        parts.append(prism(tip, width, planks).moved(middle))
    positions = [(x, s * 1.0) for x in (front - 1.1, -front + 1.0, -front + 2.1) for s in (-1, 1)]
    parts += _wheels(positions, 0.5, 0.35, _TRUCK)
    parts += _lights(front, -front, width / 2, 0.75, _TRUCK)
    return merge(parts)


def bus(rng: np.random.Generator) -> Mesh:
    """City bus (class Bus), about 9.5 m: a long body with a window band, doors and a destination board."""
    length, width, height = rng.uniform(8.8, 10.0), 2.5, rng.uniform(2.95, 3.3)
    paint = Surface(_BUS, MATERIAL_ID["car_paint"], random_colour(rng, "vivid", "vivid", "light", "green", "pastel"))
    stripe = Surface(_BUS, MATERIAL_ID["car_paint"], random_colour(rng, "vivid", "light", "dark"))
    glass = Surface(_BUS, MATERIAL_ID["glass"], _GLASS_COLOUR)
    board = Surface(_BUS, MATERIAL_ID["lamp"], (0.6, 0.35, 0.05), param=(1.5, 0.0))
    half = length / 2
    parts = [box((0.0, 0.0), 0.35, (length, width, height - 0.35), paint)]
    parts.append(box((0.0, 0.0), 0.55, (length + 0.02, width + 0.02, 0.35), stripe))
    panes = []
    for side in (-1, 1):
        y = side * (width / 2 + 0.015)
        for x in np.arange(-half + 0.5, half - 1.3, 1.45):
            panes.append([[x, y, 1.35], [x + 1.3, y, 1.35], [x + 1.3, y, height - 0.55], [x, y, height - 0.55]])
    for x in (half - 1.4, -0.8):  # doors on the kerb side
        y = -(width / 2 + 0.02)
        panes.append([[x, y, 0.5], [x + 1.1, y, 0.5], [x + 1.1, y, height - 0.5], [x, y, height - 0.5]])
    parts.append(quads(panes, glass))
    parts.append(_plate(half + 0.015, 0.0, 1.2, width * 0.9, height - 1.75, glass, 1.0))
    parts.append(_plate(-half - 0.015, 0.0, 1.5, width * 0.85, height - 2.1, glass, -1.0))
    parts.append(_plate(half + 0.02, 0.0, height - 0.45, width * 0.7, 0.32, board, 1.0))
    positions = [(x, s * 1.08) for x in (half - 2.3, -half + 2.2) for s in (-1, 1)]
    parts += _wheels(positions, 0.48, 0.35, _BUS)
    parts += _lights(half + 0.01, -half - 0.01, width / 2, 0.8, _BUS)
    return merge(parts)


def person(rng: np.random.Generator, class_id: int = _PEDESTRIAN, seated: bool = False) -> Mesh:
    """Walking person, or the upper body and bent legs of a rider whose seat is at the origin's height plus 0.8 m."""
    height = rng.uniform(1.5, 1.9)
    top = random_colour(rng, "vivid", "grey", "dark", "light", "green", "earth", "blue")
    bottom = random_colour(rng, "dark", "blue", "earth", "grey")
    stripes = 2.0 if rng.random() < 0.4 else 1.0
    shirt = Surface(class_id, MATERIAL_ID["cloth"], top, dimmed(top, 0.3), (rng.uniform(0.08, 0.25), stripes))
    trousers = Surface(class_id, MATERIAL_ID["cloth"], bottom, param=(1.0, 1.0))
    skin = Surface(class_id, MATERIAL_ID["skin"], random_colour(rng, "skin"))
    hair = Surface(class_id, MATERIAL_ID["cloth"], random_colour(rng, "dark", "earth", "vivid", "light"))
    hip, shoulder = 0.5 * height, 0.82 * height
    girth = rng.uniform(0.9, 1.35)
    parts = [
        blob(rng, (0.15 * girth, 0.23 * girth, 0.2 * height), shirt, 1, 0.05).moved(z=0.66 * height),
        blob(rng, (0.11, 0.1, 0.14), skin, 1, 0.03).moved(z=0.91 * height),
        blob(rng, (0.12, 0.11, 0.09), hair, 1, 0.05).moved(-0.02, 0.0, 0.96 * height),
    ]
    for side in (-1, 1):
        leg = tube(0.065 * girth, 0.1 * girth, 0.0, hip + 0.03, trousers, 6).moved(0.0, side * 0.11)
        arm = tube(0.05, 0.06, 0.42 * height, shoulder, shirt, 5).moved(0.0, side * 0.27 * girth)
        if seated:
            leg = leg.moved(z=-hip).turned_about_y(-0.9).moved(z=hip)
            arm = arm.moved(z=-shoulder).turned_about_y(-1.0).moved(z=shoulder)
        parts.append(leg.swinging(float(side) * (0.0 if seated else 1.0), hip))
        parts.append(arm.swinging(-float(side) * (0.0 if seated else 0.8), shoulder))
    if seated:
        return merge(parts).moved(z=0.8 - hip).turned_about_y(0.12)
    return merge(parts)


def two_wheeler(rng: np.random.Generator, rider: bool) -> Mesh:
    """Bicycle or motorcycle (class TwoWheeler), with its rider in the same class where there is one."""
    motor = rng.random() < 0.5
    radius, half, thick = (0.3, 0.7, 0.14) if motor else (0.35, 0.55, 0.05)
    colour = random_colour(rng, "vivid", "dark", "light", "green")
    frame = Surface(_TWO_WHEELER, MATERIAL_ID["car_paint" if motor else "metal"], colour)
    seat = Surface(_TWO_WHEELER, MATERIAL_ID["rubber"], (0.04, 0.03, 0.03))
    parts = _wheels([(-half, 0.0), (half, 0.0)], radius, thick, _TWO_WHEELER)
    if motor:
        parts.append(prism(np.array([(-0.6, 0.75), (0.35, 0.95), (0.6, 0.7), (0.2, 0.3), (-0.4, 0.35)]), 0.3, frame))
        parts.append(box((-0.3, 0.0), 0.75, (0.7, 0.28, 0.1), seat))
        parts.append(box((0.55, 0.0), 0.9, (0.12, 0.3, 0.25), frame))
    else:
        parts.append(prism(np.array([(-0.5, 0.33), (-0.2, 0.85), (0.4, 0.8), (0.0, 0.3)]), 0.06, frame))
        parts.append(box((-0.25, 0.0), 0.85, (0.28, 0.16, 0.07), seat))
    parts.append(tube(0.03, 0.03, radius, 1.05, frame, 5).moved(half - 0.08))
    parts.append(box((half - 0.1, 0.0), 1.02, (0.06, 0.62, 0.05), frame))
    if rider:
        parts.append(person(rng, _TWO_WHEELER, seated=True).moved(-0.25, 0.0, 0.08))
    return merge(parts)


def animal(rng: np.random.Generator) -> Mesh:
    """Four-legged animal (class Dynamic), 0.7 to 1.4 m at the shoulder, legs in a walk cycle."""
    size = rng.uniform(0.7, 1.4)
    colour = random_colour(rng, "earth", "dark", "light", "grey", "sand")
    fur = Surface(_DYNAMIC, MATERIAL_ID["plaster"], colour, dimmed(colour, 0.4))
    body_z = 0.75 * size
    parts = [
        blob(rng, (0.65 * size, 0.24 * size, 0.27 * size), fur, 1, 0.08).moved(z=body_z),
        blob(rng, (0.24 * size, 0.14 * size, 0.16 * size), fur, 1, 0.08).moved(0.8 * size, 0.0, 1.1 * size),
        prism(np.array([(0.4, 0.75), (0.65, 1.15), (0.85, 1.1), (0.6, 0.65)]) * size, 0.16 * size, fur),
    ]
    for x, side, phase in ((0.42, 1, 1), (0.42, -1, -1), (-0.42, 1, -1), (-0.42, -1, 1)):
        leg = tube(0.05 * size, 0.09 * size, 0.0, body_z, fur, 6).moved(x * size, side * 0.14 * size)
        parts.append(leg.swinging(0.7 * phase, body_z))
    return merge(parts)


def trolley(rng: np.random.Generator) -> Mesh:
    """Pushed or self-driving cart, wheeled bin or stack of boxes on wheels (class Dynamic)."""
    kind = int(rng.integers(3))
    colour = random_colour(rng, "vivid", "grey", "green", "earth", "light")
    colour2 = random_colour(rng, "earth", "vivid", "sand")
    shell = Surface(_DYNAMIC, MATERIAL_ID["flat"], colour)
    crate = Surface(_DYNAMIC, MATERIAL_ID["planks"], colour2, dimmed(colour2, 0.3), (0.3, 0.0))
    parts = _wheels([(x, y) for x in (-0.35, 0.35) for y in (-0.28, 0.28)], 0.14, 0.08, _DYNAMIC)
    if kind == 0:
        profile = np.array([(-0.38, 0.2), (-0.45, 1.0), (-0.3, 1.15), (0.45, 1.0), (0.38, 0.2)])
        parts.append(prism(profile, 0.7, shell))
    elif kind == 1:
        parts.append(box((0.0, 0.0), 0.2, (1.1, 0.7, 0.12), shell))
        parts.append(box((-0.2, 0.0), 0.32, (0.55, 0.6, 0.5), crate))
        parts.append(box((-0.2, 0.05), 0.82, (0.45, 0.5, 0.35), shell))
        parts.append(box((-0.6, 0.0), 0.3, (0.05, 0.6, 0.75), shell))
    else:
        parts.append(prism(np.array([(-0.5, 0.25), (-0.5, 0.8), (0.35, 0.85), (0.5, 0.25)]), 0.65, shell))
        parts.append(tube(0.02, 0.02, 0.8, 1.6, shell, 5).moved(-0.4, 0.25))
    return merge(parts).scaled(1.2, 1.2, 1.2)
