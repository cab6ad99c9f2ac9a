"""How long HHA takes on one core, against the same encoding written in plain NumPy.

    OMP_NUM_THREADS=1 python benchmarks/hha.py [height width]

The scene is a road with walls, a box and sky, at DELIVER's size unless said otherwise. Times are processor time, the
best of several turns taken in alternation, so that a busy machine does not favour one of the two.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np

from any2seg_core.base.turns import in_turns
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.depth import (
    HALF_CODE_DISTANCE_M,
    HEIGHT_CODES_PER_M,
    LOWEST_HEIGHT_M,
    MAX_DEPTH_M,
    encode_hha,
)  # fmt: skip

TURNS = 7
HFOV_DEG = 91.0


def street(camera: CameraModel) -> np.ndarray:
    """(H, W) float32 metres: ground 1.5 m below, walls 8 m to the sides, a box at 12 m, sky; 1 cm of noise."""
    rays = camera.rays()
    down, side = np.maximum(rays[..., 1], 1e-6), np.maximum(np.abs(rays[..., 0]), 1e-6)
    depth = np.minimum(np.minimum(1.5 / down, 8.0 / side), 1000.0)
    depth[(np.abs(rays[..., 0]) < 0.1) & (np.abs(rays[..., 1]) < 0.12)] = 12.0
    depth[rays[..., 1] < -0.5] = 1000.0
    return (depth + np.random.default_rng(0).normal(0, 0.01, depth.shape)).astype(np.float32)


def tangent(depth: np.ndarray, rays: np.ndarray, axis: int) -> np.ndarray:
    """(H, W, 3) difference of points along an axis, on the side of the smaller step; zero where there is none."""
    points = rays * depth[..., None]
    valid = (depth > 0) & (depth < MAX_DEPTH_M)
    best, chosen = np.full(depth.shape, np.inf, np.float32), np.zeros_like(points)
    for sign in (-1, 1):
        there, near = np.roll(points, -sign, axis), np.roll(valid, -sign, axis)
        border: list[slice | int] = [slice(None)] * 2
        border[axis] = 0 if sign < 0 else -1
        near[tuple(border)] = False
        step = np.where(near, np.abs(np.roll(depth, -sign, axis) - depth), np.inf)
        better = step < best
        best[better], chosen[better] = step[better], (sign * (there - points))[better]
    return chosen


def plain_hha(depth: np.ndarray, camera: CameraModel) -> np.ndarray:
    """The definition of `encode_hha` in whole-array NumPy."""
    rays = camera.rays()
    valid = (depth > 0) & (depth < MAX_DEPTH_M)
    safe = np.where(valid, depth, 1.0)
    inverse = np.floor(255.0 * HALF_CODE_DISTANCE_M / (HALF_CODE_DISTANCE_M + safe) + 0.5)
    height = np.floor(np.clip((-rays[..., 1] * safe - LOWEST_HEIGHT_M) * HEIGHT_CODES_PER_M + 1.0, 1.0, 255.0) + 0.5)
    normal = np.cross(tangent(depth, rays, 0), tangent(depth, rays, 1))
    length = np.linalg.norm(normal, axis=2)
    cosine = np.clip(-normal[..., 1] / np.where(length > 0, length, 1.0), -1.0, 1.0)
    angle = np.where(length > 0, np.floor(1.5 + 254.0 * np.arccos(cosine) / np.pi), 0.0)
    return np.where(valid[..., None], np.stack([inverse, height, angle], axis=2), 0.0).astype(np.uint8)


def main() -> None:
    """Print both times, their ratio, and how far the two results are apart."""
    height, width = (int(text) for text in sys.argv[1:3]) if len(sys.argv) > 2 else (1042, 1042)
    camera = CameraModel.from_fov(width, height, HFOV_DEG)
    depth = street(camera)
    ours, plain = encode_hha(depth, camera), plain_hha(depth, camera)  # also compiles
    works = {"ours": partial(encode_hha, depth, camera), "plain": partial(plain_hha, depth, camera)}
    best, peer = (1000.0 * min(times.cpu_s) for times in in_turns(works, TURNS, 0).values())
    apart = np.abs(ours.astype(int) - plain)
    print(f"HHA of {width}x{height}: {best:.1f} ms, plain NumPy {peer:.1f} ms, ratio {peer / best:.1f}")
    print(f"codes that differ: {(apart > 0).mean():.2e} of all, by at most {apart.max()}")


if __name__ == "__main__":
    main()
