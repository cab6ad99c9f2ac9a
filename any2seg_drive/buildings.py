"""Buildings in their own frame: x along the street, y away from it, the facade on y = 0, centred on x = 0."""

from __future__ import annotations

import numpy as np

from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive.materials import MATERIAL_ID
from any2seg_drive.mesh import Mesh, Surface, box, merge, prism, quads, wall_faces
from any2seg_drive.palette import dimmed, random_colour
from any2seg_drive.props import wall_surface

_BUILDING = DELIVER.id("Building")


def _facade(rng: np.random.Generator, modern: bool) -> Surface:
    colour = random_colour(rng, "brick", "earth", "pastel", "grey", "light", "sand", "vivid")
    pane = dimmed(random_colour(rng, "dark", "blue"), 0.5)
    name = "facade_glass" if modern else "facade_plaster"
    return Surface(_BUILDING, MATERIAL_ID[name], colour, pane)


def _block(width: float, depth: float, z0: float, z1: float, facade: Surface, pitch: tuple[float, float]) -> Mesh:
    """Upright box with a window grid that fits each side, and a flat roof."""
    corners, uv = wall_faces(width, depth, z0, z1)
    parts = []
    for k in range(4):
        length = uv[k, 1, 0]
        columns, rows = max(1, round(length / pitch[0])), max(1, round((z1 - z0) / pitch[1]))
        fitted = facade._replace(param=(length / columns, (z1 - z0) / rows))
        parts.append(quads(corners[k][None], fitted, uv[k][None]))
    x, y = width / 2, depth / 2
    roof = Surface(_BUILDING, MATERIAL_ID["gravel"], (0.15, 0.15, 0.15), (0.3, 0.3, 0.3))
    parts.append(quads([[[-x, -y, z1], [x, -y, z1], [x, y, z1], [-x, y, z1]]], roof))
    return merge(parts).moved(0.0, depth / 2)


def tower(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """Town house or office block of 3 to 9 floors, sometimes stepped, with ledges or balconies."""
    modern = rng.random() < 0.35
    facade = _facade(rng, modern)
    pitch = (rng.uniform(1.6, 3.4), rng.uniform(2.8, 3.4))
    height = pitch[1] * int(rng.integers(3, 10))
    parts = [_block(width, depth, 0.0, height, facade, pitch)]
    trim = facade._replace(material=MATERIAL_ID["concrete"], colour=random_colour(rng, "light", "grey", "sand"),
                           param=(2.0, 2.0))
    parts.append(box((0.0, depth / 2), height, (width + 0.3, depth + 0.3, rng.uniform(0.3, 0.9)), trim))
    style = int(rng.integers(4))
    if style == 0:  # set-back top
        parts.append(_block(width * 0.6, depth * 0.6, height, height + 2 * pitch[1], facade, pitch).moved(0.0, 2.0))
    elif style == 1:  # balconies
        for z in np.arange(pitch[1], height - 1.0, pitch[1]):
            parts.append(box((0.0, -0.45), float(z), (width * rng.uniform(0.3, 0.8), 0.9, 0.15), trim))
    elif style == 2:  # bay or wing towards the street
        parts.append(_block(width * 0.4, 1.2, 0.0, height * 0.8, facade, pitch).moved(0.25 * width, -1.2))
    awning = Surface(_BUILDING, MATERIAL_ID["cloth"], random_colour(rng, "vivid", "green"), (0.7, 0.7, 0.7), (0.5, 2.0))
    if rng.random() < 0.4:
        parts.append(box((0.0, -0.5), 2.7, (width * 0.7, 1.0, 0.2), awning))
    return merge(parts)


def house(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """One or two floors under a gable or hipped roof, with a porch or a chimney."""
    facade = _facade(rng, False)
    pitch = (rng.uniform(2.2, 3.4), 2.8)
    height = 2.8 * int(rng.integers(1, 3)) + 0.3
    tile = random_colour(rng, "brick", "dark", "earth", "grey")
    roof = Surface(_BUILDING, MATERIAL_ID["roof"], tile, dimmed(tile, 0.4), (0.35, 0.3))
    gable = wall_surface(rng, _BUILDING, facade.colour)
    rise, eave = rng.uniform(1.6, 3.2), 0.4
    parts = [_block(width, depth, 0.0, height, facade, pitch)]
    if rng.random() < 0.5:  # ridge along the street
        profile = np.array([(-depth / 2 - eave, height), (0.0, height + rise), (depth / 2 + eave, height)])
        parts.append(prism(profile, width + 0.3, roof, gable).moved(0.0, depth / 2, 0.0, np.pi / 2))
    else:
        profile = np.array([(-width / 2 - eave, height), (0.0, height + rise), (width / 2 + eave, height)])
        parts.append(prism(profile, depth + 0.3, roof, gable).moved(0.0, depth / 2))
    chimney = wall_surface(rng, _BUILDING)
    parts.append(box((width * rng.uniform(-0.3, 0.3), depth * 0.6), height, (0.7, 0.7, rise + 0.8), chimney))
    if rng.random() < 0.5:
        parts.append(box((0.0, -0.9), 2.4, (2.6, 1.8, 0.18), roof))
        parts += [box((x, -1.6), 0.0, (0.18, 0.18, 2.4), gable) for x in (-1.1, 1.1)]
    return merge(parts)


def hall(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """Workshop or warehouse: ribbed or brick box, low roof, large door."""
    height = rng.uniform(4.5, 8.0)
    colour = random_colour(rng, "grey", "blue", "green", "light", "earth", "brick", "vivid")
    if rng.random() < 0.6:
        body = Surface(_BUILDING, MATERIAL_ID["ribs"], colour, param=(rng.uniform(0.3, 0.8), 0.0))
    else:
        body = wall_surface(rng, _BUILDING, colour)
    door = Surface(_BUILDING, MATERIAL_ID["planks"], random_colour(rng, "grey", "dark", "vivid"), (0.05, 0.05, 0.05),
                   (0.6, 0.0))
    parts = [box((0.0, depth / 2), 0.0, (width, depth, height), body)]
    for x in np.arange(-width / 2 + 3.0, width / 2 - 2.0, 6.5):
        x0, x1, y = x - 1.8, x + 1.8, -0.03
        parts.append(quads([[[x0, y, 0.0], [x1, y, 0.0], [x1, y, 3.6], [x0, y, 3.6]]], door))
    profile = np.array([(-width / 2 - 0.3, height), (0.0, height + rng.uniform(0.8, 2.0)), (width / 2 + 0.3, height)])
    parts.append(prism(profile, depth + 0.2, body).moved(0.0, depth / 2))
    return merge(parts)
