"""Materials of the town: procedural albedo evaluated at the hit point, and near-infrared reflectivity for LiDAR.

Patterns live in texture coordinates (metres) that stick to the object, so textures move with their movers and the
event camera sees honest brightness change. Detail finer than the pixel footprint fades out, which keeps one ray per
pixel from sparkling.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# Pattern kinds that `_pattern` switches on.
_FLAT, _GRAIN, _BRICK, _WINDOWS, _PLANKS, _FOLIAGE, _GRASS, _TILES, _GRAVEL, _WATER = range(10)
_SIGN, _PAINT, _RIBS, _TRACK, _CLOTH, _STAIN, _PANELS, _LIGHT, _LAMPS = range(10, 19)


class Material(NamedTuple):
    """Pattern kind, near-infrared reflectivity (0..1, at 905 nm), gloss (0..1 mirror part of the reflection)."""

    pattern: int
    reflectivity: float
    gloss: float


_TABLE: dict[str, Material] = {
    "flat": Material(_FLAT, 0.35, 0.02),
    "asphalt": Material(_GRAIN, 0.10, 0.03),
    "brick": Material(_BRICK, 0.38, 0.0),
    "facade_plaster": Material(_WINDOWS, 0.45, 0.03),
    "facade_glass": Material(_WINDOWS, 0.30, 0.10),
    "planks": Material(_PLANKS, 0.50, 0.0),
    "foliage": Material(_FOLIAGE, 0.72, 0.0),
    "bark": Material(_PLANKS, 0.40, 0.0),
    "grass": Material(_GRASS, 0.62, 0.0),
    "tiles": Material(_TILES, 0.30, 0.01),
    "roof": Material(_TILES, 0.28, 0.0),
    "gravel": Material(_GRAVEL, 0.26, 0.0),
    "water": Material(_WATER, 0.04, 0.55),
    "sign": Material(_SIGN, 0.97, 0.0),
    "paint": Material(_PAINT, 0.88, 0.0),
    "ribs": Material(_RIBS, 0.45, 0.05),
    "track": Material(_TRACK, 0.22, 0.02),
    "cloth": Material(_CLOTH, 0.55, 0.0),
    "skin": Material(_FLAT, 0.60, 0.0),
    "plaster": Material(_STAIN, 0.48, 0.0),
    "concrete": Material(_PANELS, 0.36, 0.0),
    "car_paint": Material(_FLAT, 0.55, 0.18),
    "glass": Material(_FLAT, 0.08, 0.45),
    "rubber": Material(_FLAT, 0.06, 0.0),
    "metal": Material(_FLAT, 0.68, 0.12),
    "rusty_metal": Material(_STAIN, 0.42, 0.03),
    "light": Material(_LIGHT, 0.30, 0.0),
    "lamp": Material(_LAMPS, 0.30, 0.0),
    "plate": Material(_PAINT, 0.95, 0.0),
    "dry_ground": Material(_GRAIN, 0.33, 0.0),
}
MATERIAL_ID: dict[str, int] = {name: index for index, name in enumerate(_TABLE)}
PATTERN = np.array([m.pattern for m in _TABLE.values()], np.int32)
REFLECTIVITY = np.array([m.reflectivity for m in _TABLE.values()], np.float32)
GLOSS = np.array([m.gloss for m in _TABLE.values()], np.float32)

FOOTPRINT_PER_M = 0.008  # width of one pixel of the default camera, per metre of distance


@njit(cache=True, inline="always")
def _hash(ix: int, iy: int, salt: int) -> float:
    """Uniform 0..1 from two lattice coordinates and a salt."""
    h = ((ix & 0xFFFFF) * 374761393 + (iy & 0xFFFFF) * 668265263 + (salt & 0xFFFF) * 974634777) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 461845907) & 0xFFFFFFFF
    return (h ^ (h >> 15)) / 4294967295.0


@njit(cache=True)
def value_noise(x: float, y: float, salt: int) -> float:
    """Smooth noise in 0..1 with features one unit wide."""
    fx, fy = np.floor(x), np.floor(y)
    ix, iy = int(fx), int(fy)
    u, v = x - fx, y - fy
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    low = _hash(ix, iy, salt) * (1 - u) + _hash(ix + 1, iy, salt) * u
    high = _hash(ix, iy + 1, salt) * (1 - u) + _hash(ix + 1, iy + 1, salt) * u
    return low * (1 - v) + high * v


@njit(cache=True, inline="always")
def _fade(size: float, footprint: float) -> float:
    """1 where a feature of this size is resolved, 0 where it is below the pixel footprint."""
    return min(1.0, max(0.0, 1.7 - footprint / size))


@njit(cache=True, inline="always")
def _line(x: float, half_width: float) -> float:
    """1 on lines at whole x, of this half width (in units of x), else 0."""
    d = x - np.floor(x)
    return 1.0 if d < half_width or d > 1 - half_width else 0.0


@njit(cache=True)
def _windows(u: float, v: float, pitch_u: float, pitch_v: float, footprint: float, salt: int) -> tuple:
    """Window grid: (blend towards window colour, brightness factor, light emitted)."""
    cu, cv = u / pitch_u, v / pitch_v
    iu, iv = int(np.floor(cu)), int(np.floor(cv))
    du, dv = cu - iu, cv - iv
    edge_u = 0.14 + 0.12 * _hash(3, 7, salt)
    edge_v = 0.16 + 0.12 * _hash(5, 1, salt)
    wall = 0.9 + 0.2 * value_noise(u * 0.6, v * 0.6, salt)
    wall *= 1.0 - 0.12 * _fade(0.25, footprint) * _line(v / 0.25, 0.08)
    if iv == 0:  # ground floor: shop fronts or doors, wider openings
        edge_u, edge_v = 0.08, 0.06
        inside = edge_u < du < 1 - edge_u and dv < 0.82
    else:
        inside = edge_u < du < 1 - edge_u and edge_v < dv < 1 - edge_v
    if not inside:
        return 0.0, wall, 0.0
    shade = 0.5 + 1.0 * _hash(iu, iv, salt + 11)
    if abs(du - 0.5) < 0.03 and _fade(0.1, footprint) > 0.5:
        return 0.3, wall, 0.0  # window cross
    lit = 1.0 if _hash(iu, iv, salt + 29) > 0.72 else 0.0
    return 1.0, shade, lit * 0.9


@njit(cache=True)
def _track(u: float, v: float, footprint: float, salt: int) -> tuple:
    """Ballast, sleepers every 0.65 m along u, two rails about the middle (v = 0)."""
    if abs(abs(v) - 0.72) < 0.06 + 0.25 * footprint:
        return 0.0, 2.6
    sleeper = _line(u / 0.65, 0.2) * _fade(0.35, footprint)
    if sleeper > 0.5 and abs(v) < 1.3:
        return 1.0, 0.75 + 0.3 * value_noise(u * 3, v * 9, salt)
    return 0.0, 0.6 + 0.8 * _hash(int(np.floor(u * 11)), int(np.floor(v * 11)), salt) * _fade(0.09, footprint)


@njit(cache=True)
def _pattern(kind: int, u: float, v: float, p0: float, p1: float, footprint: float, salt: int) -> tuple:
    """(blend from colour to colour2, brightness factor, emission) of one pattern at (u, v)."""
    if kind == _FLAT:
        return 0.0, 0.95 + 0.1 * value_noise(u * 1.3, v * 1.3, salt), 0.0
    if kind == _GRAIN:
        grain = (_hash(int(np.floor(u * 25)), int(np.floor(v * 25)), salt) - 0.5) * _fade(0.04, footprint)
        patch = value_noise(u * 0.25, v * 0.25, 3) + 0.5 * value_noise(u * 1.1, v * 1.1, 5)
        wander = u + 0.8 * value_noise(u * 1.7, v * 1.7, 8)
        crack = 1.0 if abs(value_noise(wander * 0.3, v * 0.9, 9) - 0.5) < 0.006 else 0.0
        iu, iv = int(np.floor(u / 4.0)), int(np.floor(v / 3.0))
        du, dv = u / 4.0 - iu, v / 3.0 - iv
        repaired = _hash(iu, iv, 13) < 0.16 and 0.12 < du < 0.5 + 0.4 * _hash(iu, iv, 14) and 0.2 < dv < 0.75
        mend = 0.7 + 0.75 * _hash(iu, iv, 15) if repaired else 1.0
        return 0.0, (0.72 + 0.32 * patch + 0.35 * grain - 0.25 * crack * _fade(0.1, footprint)) * mend, 0.0
    if kind == _BRICK:
        row = int(np.floor(v / p1))
        cu = u / p0 + 0.5 * (row & 1)
        mortar = max(_line(cu, 0.05), _line(v / p1, 0.1))
        tone = 0.8 + 0.4 * _hash(int(np.floor(cu)), row, salt) * _fade(p0, footprint)
        return mortar * _fade(p1, footprint), tone * (0.85 + 0.3 * value_noise(u * 0.8, v * 0.8, salt)), 0.0
    if kind == _WINDOWS:
        return _windows(u, v, p0, p1, footprint, salt)
    if kind == _PLANKS:
        cu = u / p0
        tone = 0.75 + 0.4 * _hash(int(np.floor(cu)), 0, salt) + 0.2 * (value_noise(u * 12, v * 1.5, salt) - 0.5)
        return _line(cu, 0.06) * _fade(p0, footprint), tone, 0.0
    if kind == _FOLIAGE:
        coarse = value_noise(u * 1.4, v * 1.4, salt)
        fine = value_noise(u * 6, v * 6, salt + 1) - 0.5
        leaf = (_hash(int(np.floor(u * 14)), int(np.floor(v * 14)), salt) - 0.5) * _fade(0.07, footprint)
        return coarse * 0.5, 0.45 + 0.8 * coarse + 0.7 * fine * _fade(0.17, footprint) + 0.7 * leaf, 0.0
    if kind == _GRASS:
        blades = (_hash(int(np.floor(u * 18)), int(np.floor(v * 18)), salt) - 0.5) * _fade(0.06, footprint)
        field = value_noise(u * 0.35, v * 0.35, 17)
        return field * 0.7, 0.7 + 0.35 * value_noise(u * 2.2, v * 2.2, 19) + 0.6 * blades, 0.0
    return _pattern_more(kind, u, v, p0, p1, footprint, salt)


@njit(cache=True)
def _pattern_more(kind: int, u: float, v: float, p0: float, p1: float, footprint: float, salt: int) -> tuple:
    """The other half of `_pattern`, split for length."""
    if kind == _TILES:
        row = int(np.floor(v / p1))
        cu = u / p0 + 0.5 * (row & 1)
        joint = max(_line(cu, 0.04), _line(v / p1, 0.04)) * _fade(0.6 * p1, footprint)
        tone = 0.82 + 0.3 * _hash(int(np.floor(cu)), row, salt) * _fade(p0, footprint)
        return joint, tone * (0.9 + 0.2 * value_noise(u * 0.4, v * 0.4, 23)), 0.0
    if kind == _GRAVEL:
        stone = (_hash(int(np.floor(u * 12)), int(np.floor(v * 12)), salt) - 0.5) * _fade(0.08, footprint)
        return value_noise(u * 0.8, v * 0.8, salt) * 0.5, 0.9 + 0.7 * stone, 0.0
    if kind == _WATER:
        ripple = value_noise(u * 1.8, v * 0.7, 31) + 0.5 * value_noise(u * 5, v * 2.2, 37) * _fade(0.3, footprint)
        return ripple * 0.5, 0.7 + 0.4 * ripple, 0.0
    if kind == _SIGN:  # u, v in -1..1 over the plate: border in colour2, a glyph of blocks inside
        edge = max(abs(u), abs(v))
        glyph = _hash(int(np.floor(u * p0 + 20)), int(np.floor(v * p1 + 20)), salt) > 0.62 and edge < 0.7
        return (1.0 if edge > 0.84 else (0.85 if glyph else 0.0)), 1.0, 0.0
    if kind == _PAINT:
        worn = value_noise(u * 5, v * 5, 41) * value_noise(u * 1.1, v * 1.1, 43)
        return min(1.0, max(0.0, (worn - 0.45) * 3.0)) * _fade(0.4, footprint), 0.85 + 0.15 * worn, 0.0
    if kind == _RIBS:
        wave = (0.5 + 0.5 * np.sin(u / p0 * 6.2831853)) * _fade(p0, footprint)
        return 0.0, 0.75 + 0.3 * wave + 0.15 * value_noise(u * 0.7, v * 0.5, salt), 0.0
    if kind == _TRACK:
        blend, tone = _track(u, v, footprint, salt)
        return blend, tone, 0.0
    if kind == _CLOTH:
        fold = value_noise(u * 5, v * 3, salt)
        stripe = _line(v / p0, 0.25) * _fade(0.5 * p0, footprint) if p1 > 1.5 else 0.0
        return stripe, 0.75 + 0.5 * fold, 0.0
    if kind == _STAIN:
        stain = value_noise(u * 1.6, v * 0.45, salt) * value_noise(u * 0.5, v * 0.8, salt + 3)
        return min(1.0, max(0.0, (stain - 0.3) * 1.6)), 0.85 + 0.3 * value_noise(u * 3, v * 3, salt), 0.0
    if kind == _PANELS:
        joint = max(_line(u / p0, 0.012), _line(v / p1, 0.02)) * _fade(0.06, footprint)
        return joint, 0.8 + 0.35 * value_noise(u * 0.9, v * 0.9, salt) + 0.1 * value_noise(u * 7, v * 7, salt), 0.0
    return 0.0, 1.0, p0  # _LIGHT and _LAMPS: emits p0


@njit(cache=True)
def shade_hits(pick, source, triangle_of, primitive, bary, distance, uv, class_id, material, colour, colour2, param,
               instance, pattern_of, reflectivity_of, out_class, out_material, out_albedo, out_reflectivity,
               out_instance, out_emission):
    """Fills the out_* arrays (N, ...) for the hits i with pick[i] == source, whole array in one pass.

    triangle_of maps a primitive index of the ray caster to a row of the appearance tables; bary (N,2) are its
    barycentric coordinates; uv (T,3,2); the other tables have one row per triangle.
    """
    for i in range(len(pick)):
        if pick[i] != source:
            continue
        t = triangle_of[primitive[i]]
        b, c = bary[i, 0], bary[i, 1]
        a = 1.0 - b - c
        u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
        v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
        m = material[t]
        footprint = FOOTPRINT_PER_M * distance[i]
        blend, tone, glow = _pattern(pattern_of[m], u, v, param[t, 0], param[t, 1], footprint, instance[t])
        for k in range(3):
            value = (colour[t, k] * (1.0 - blend) + colour2[t, k] * blend) * tone
            out_albedo[i, k] = min(0.95, max(0.01, value))
        out_class[i] = class_id[t]
        out_material[i] = m
        out_reflectivity[i] = min(1.0, max(0.01, reflectivity_of[m] * (0.75 + 0.25 * tone)))
        out_instance[i] = instance[t]
        out_emission[i] = glow
