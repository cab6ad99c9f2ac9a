"""How well a LiDAR meets the picture: points inside of it, and jumps of range on edges of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rigid import rotation_xyz

_CELL_PX = 4  # pixels of a LiDAR are sparse: neighbours are looked for in cells of this size
_JUMP_M, _JUMP_SHARE = 0.5, 0.1  # a background is farther by this, and this share of the range
_CLOSENESS = 0.9  # per pixel of distance to the next edge, as in Levinson and Thrun 2013
_TURN_DEG, _SHIFT_M = 1.0, 0.1
_CLEARLY = 0.01
_FEWEST_EDGES = 30
_NEAR_M, _FAR_M = 2.0, 60.0  # of the colours
_MOVES = (
    *(f"turned by {sign}1 degree about the camera's {axis}" for axis in "xyz" for sign in "-+"),
    *(f"10 cm {way}" for way in ("to the left", "to the right", "up", "down")),
)


@dataclass(frozen=True)
class Alignment:
    """What a picture and a cloud say about a calibration.

    Attributes:
        points: of the cloud. inside: of them in the picture. edges: of these, nearer sides of jumps in range.
        closeness: 0..1, how near these are to edges of the picture on the mean; None with too few of them.
        turned: the same with the LiDAR turned by one degree about either side of x, y and z of the camera.
        shifted: the same with it 10 cm to the left, right, up and down; what lies forward shows in no single picture.
    """

    points: int
    inside: int
    edges: int
    closeness: float | None
    turned: tuple[float, ...]
    shifted: tuple[float, ...] = ()

    @property
    def better_when_turned(self) -> int:
        """For how many of the turns the edges meet clearly better; none, for a good calibration."""
        return sum(value > (self.closeness or 0.0) + _CLEARLY for value in self.turned)

    @property
    def better_when_shifted(self) -> int:
        """The same of the shifts."""
        return sum(value > (self.closeness or 0.0) + _CLEARLY for value in self.shifted)

    @property
    def best_move(self) -> str:
        """The turn or shift under which the edges meet best, in words; empty where none is clearly better."""
        values = dict(zip(_MOVES, (*self.turned, *self.shifted), strict=False))
        best = max(values, key=lambda move: values[move], default="")
        return best if best and values[best] > (self.closeness or 0.0) + _CLEARLY else ""


def measure_alignment(picture: np.ndarray, points: np.ndarray, calibration: Calibration) -> Alignment:
    """Looks at one picture and one cloud of the same moment (Levinson and Thrun, RSS 2013, with a fixed turn).

    Args:
        picture: (H, W, 3) uint8 RGB. points: (N, 3 or 4) metres, LiDAR frame.

    Raises:
        UserError: the calibration has no lidar_to_camera.
    """
    camera, lidar_to_camera = _geometry(picture, calibration)
    xyz = points[:, :3].astype(np.float64) @ lidar_to_camera[:3, :3].T + lidar_to_camera[:3, 3]  # (N,3)
    uv, valid = camera.project(xyz)
    edges = xyz[valid][_is_before_a_jump(uv[valid], xyz[valid, 2], picture.shape[:2])]  # (E,3)
    if len(edges) < _FEWEST_EDGES:
        return Alignment(len(points), int(valid.sum()), len(edges), None, ())
    near = _closeness_map(picture)
    turns = [rotation_xyz(*(sign * _TURN_DEG * np.eye(3)[axis])) for axis in range(3) for sign in (-1, 1)]
    turned = tuple(_closeness(near, edges @ turn.T, camera) for turn in turns)
    shifts = [sign * _SHIFT_M * np.eye(3)[axis] for axis in range(2) for sign in (-1, 1)]
    shifted = tuple(_closeness(near, edges + shift, camera) for shift in shifts)
    return Alignment(len(points), int(valid.sum()), len(edges), _closeness(near, edges, camera), turned, shifted)


def draw_points(picture: np.ndarray, points: np.ndarray, calibration: Calibration) -> np.ndarray:
    """(H, W, 3) RGB with the points of the cloud over it: near ones red, far ones blue, nearer ones on top."""
    camera, lidar_to_camera = _geometry(picture, calibration)
    xyz = points[:, :3].astype(np.float64) @ lidar_to_camera[:3, :3].T + lidar_to_camera[:3, 3]
    uv, valid = camera.project(xyz)
    pixels, depth_m = np.rint(uv[valid]).astype(int), xyz[valid, 2]
    share = np.log(np.clip(depth_m, _NEAR_M, _FAR_M) / _NEAR_M) / np.log(_FAR_M / _NEAR_M)
    codes = np.round(255 * (1 - share)).astype(np.uint8)
    colours = cv2.applyColorMap(codes[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]  # (n,3) RGB
    drawn = np.ascontiguousarray(picture // 2 + 32)
    radius = max(1, picture.shape[1] // 900)
    for k in np.argsort(-depth_m):
        cv2.circle(drawn, (int(pixels[k, 0]), int(pixels[k, 1])), radius, colours[k].tolist(), -1)
    return drawn


def _geometry(picture: np.ndarray, calibration: Calibration) -> tuple[CameraModel, np.ndarray]:
    if calibration.lidar_to_camera is None:
        raise UserError("the calibration has no lidar_to_camera: add this 4x4 transform", "extrinsics-missing")
    return calibration.camera.scaled(picture.shape[1], picture.shape[0]), calibration.lidar_to_camera


def _is_before_a_jump(uv: np.ndarray, depth_m: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n,) bool: points that are the nearest of their cell, and much nearer than what is left or right of it."""
    rows, columns = size[0] // _CELL_PX + 1, size[1] // _CELL_PX + 1
    cell = (uv[:, 1].clip(0) // _CELL_PX).astype(int) * columns + (uv[:, 0].clip(0) // _CELL_PX).astype(int)
    nearest = np.full(rows * columns, np.inf)
    np.minimum.at(nearest, cell, depth_m)
    grid = nearest.reshape(rows, columns)
    beside = np.full((rows, columns), -np.inf)
    for shift in (-1, 1):
        other = np.full_like(grid, -np.inf)
        inner = grid[:, 1:] if shift == 1 else grid[:, :-1]
        (other[:, :-1] if shift == 1 else other[:, 1:])[...] = np.where(np.isfinite(inner), inner, -np.inf)
        beside = np.maximum(beside, other)
    jump_m = beside.reshape(-1)[cell] - depth_m
    return (depth_m <= nearest[cell]) & (jump_m > _JUMP_M + _JUMP_SHARE * depth_m)


def _closeness_map(picture: np.ndarray) -> np.ndarray:
    """(H, W) float32: 1 on edges of the picture, less by a share per pixel away from them."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (5, 5), 1.2)
    strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    is_edge = strength > max(float(np.quantile(strength, 0.9)), 1.0)
    distance = cv2.distanceTransform(np.where(is_edge, 0, 1).astype(np.uint8), cv2.DIST_L2, 5)
    return np.power(np.float32(_CLOSENESS), distance)


def _closeness(near: np.ndarray, xyz: np.ndarray, camera: CameraModel) -> float:
    uv, valid = camera.project(xyz)
    pixels = np.rint(uv[valid]).astype(int)
    return float(near[pixels[:, 1], pixels[:, 0]].sum() / len(xyz))
