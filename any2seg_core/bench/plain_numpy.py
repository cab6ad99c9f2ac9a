"""Messages to planes in plain NumPy and OpenCV, as one writes them at first: the measure of the compiled road."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from any2seg_core.bench.scene import LIDAR_TO_CAMERA
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS

_CARLA_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<f8"), ("pol", "i1")])


def _rgb(msg: Any, camera: CameraModel) -> np.ndarray:
    """Reverse the channels and copy."""
    pixels = np.frombuffer(msg.data, np.uint8).reshape(camera.height, camera.width, 4)
    return np.ascontiguousarray(pixels[..., 2::-1])


def _depth(msg: Any, camera: CameraModel) -> np.ndarray:
    """Inverse depth, height and angle of the normal with whole-array operations."""
    depth = np.frombuffer(msg.data, np.float32).reshape(camera.height, camera.width)
    valid = (depth > 0) & (depth < 999)
    z = np.where(valid, depth, np.nan)
    xyz = camera.rays() * z[..., None]
    normal = np.cross(np.gradient(xyz, axis=1), np.gradient(xyz, axis=0))
    cosine = -normal[..., 1] / np.linalg.norm(normal, axis=2)
    height, angle = np.clip((4 - xyz[..., 1]) * 20 + 1, 1, 255), 1 + 254 * np.arccos(cosine) / np.pi
    plane = np.stack([2550 / (10 + z), height, angle], 2)
    return np.nan_to_num(plane).astype(np.uint8)


def _events(msg: Any, camera: CameraModel) -> np.ndarray:
    """Counts by bincount, recency by maximum.at; the window ends with the newest event."""
    raw = np.frombuffer(msg.data, _CARLA_EVENT)
    pixels = camera.width * camera.height
    pixel = raw["y"].astype(np.int64) * camera.width + raw["x"]
    plane = np.zeros((3, pixels))
    for channel, chosen in enumerate((raw["pol"] > 0, raw["pol"] <= 0)):
        plane[channel] = np.minimum(40 * np.bincount(pixel[chosen], minlength=pixels), 255)
    np.maximum.at(plane[2], pixel, 255 - (raw["t"].max() - raw["t"]) * 255 // DEFAULT_WINDOW_NS)
    return plane.T.reshape(camera.height, camera.width, 3).astype(np.uint8)


def _lidar(msg: Any, camera: CameraModel) -> np.ndarray:
    """Project, sort far to near, write nine times."""
    points = np.frombuffer(msg.data, np.float32).reshape(-1, 4)
    pose = LIDAR_TO_CAMERA.astype(np.float32)
    moved = points[:, :3] @ pose[:3, :3].T + pose[:3, 3]
    keep = moved[:, 2] > 0.1
    moved, strength = moved[keep], points[keep, 3]
    u = np.rint(moved[:, 0] / moved[:, 2] * camera.K[0, 0] + camera.K[0, 2]).astype(np.int64)
    v = np.rint(moved[:, 1] / moved[:, 2] * camera.K[1, 1] + camera.K[1, 2]).astype(np.int64)
    reach = np.linalg.norm(moved, axis=1)
    order = np.argsort(-reach)
    values = np.stack([2550 / (10 + reach), strength * 255, np.clip((4 - moved[:, 1]) * 20, 0, 255)], 1)[order]
    plane = np.zeros((camera.height, camera.width, 3), np.uint8)
    for dv in (-1, 0, 1):
        for du in (-1, 0, 1):
            row, column = v[order] + dv, u[order] + du
            inside = (row >= 0) & (row < camera.height) & (column >= 0) & (column < camera.width)
            plane[row[inside], column[inside]] = values[inside]
    return plane


PLAIN: Mapping[str, Callable[[Any, CameraModel], np.ndarray]] = MappingProxyType(
    {"rgb": _rgb, "depth": _depth, "event": _events, "lidar": _lidar}
)
"""Sensor -> (message, camera) to plane (H, W, 3) uint8; of the messages that `scene.messages` makes."""
