"""How well a sensor meets the camera's picture: what falls inside of it, and edges on edges of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.places import place_keys
from any2seg_core.sensors.rigid import rotation_xyz
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

_CELL_PX = 4  # pixels of a LiDAR are sparse: neighbours are looked for in cells of this size
_JUMP_M, _JUMP_SHARE = 0.5, 0.1  # a background is farther by this, and this share of the range
_CLOSENESS = 0.9  # per pixel of distance to the next edge, as in Levinson and Thrun 2013
_TURN_DEG, _SHIFT_M = 1.0, 0.1
_CLEARLY = 0.01
_FEWEST_EDGES = 30
_EDGE_SHARE = 0.1  # of a picture: its strongest gradients
_NEAR_M, _FAR_M = 2.0, 60.0  # of the colours
_MOVES = (
    *(f"turned by {sign}1 degree about the camera's {axis}" for axis in "xyz" for sign in "-+"),
    *(f"10 cm {way}" for way in ("to the left", "to the right", "up", "down")),
)


@dataclass(frozen=True)
class Alignment:
    """What a picture and another sensor say about a calibration.

    Attributes:
        points: of the cloud or depth image; of an image, pixels of the camera's picture.
        inside: of the points, those in the picture; of the pixels, those that the other camera sees.
        edges: of these, nearer sides of jumps in range; of an image, edges in it.
        closeness: 0..1, how near these are to edges of the picture on the mean; None with too few of them.
        turned: the same with the sensor turned by one degree about either side of x, y and z of the camera.
        shifted: the same with it 10 cm to the left, right, up and down; what lies forward shows in no single picture.
            Of an image, which is brought to the camera's grid by its rotation alone, none.
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


def measure_alignment(
    picture: np.ndarray,
    points: np.ndarray,
    calibration: Calibration,
    name: str = "lidar",
    suite: SensorSuite = VEHICLE,
) -> Alignment:
    """Looks at one picture and one cloud of the same moment (Levinson and Thrun, RSS 2013, with a fixed turn).

    Args:
        picture: (H, W, 3) uint8 RGB. points: (N, 3 or 4) metres, frame of the sensor. name, suite: which sensor.

    Raises:
        UserError: the calibration does not say where the sensor is.
    """
    return measure_points(picture, *_geometry(picture, points, calibration, name, suite))


def measure_points(picture: np.ndarray, xyz: np.ndarray, camera: CameraModel) -> Alignment:
    """As `measure_alignment`, of (N, 3) points in metres in the optical frame of a camera of the picture's size."""
    uv, valid = camera.project(xyz)
    edges = xyz[valid][_is_before_a_jump(uv[valid], xyz[valid, 2], picture.shape[:2])]  # (E,3)
    shifts = [sign * _SHIFT_M * np.eye(3)[axis] for axis in range(2) for sign in (-1, 1)]
    return _judged(picture, len(xyz), int(valid.sum()), edges, camera, shifts)


def measure_picture(picture: np.ndarray, other: np.ndarray, is_seen: np.ndarray, camera: CameraModel) -> Alignment:
    """Looks at two pictures of the same moment on one grid.

    Args:
        picture, other: (H, W, 3) uint8, of the camera, and of another one on the grid of the camera.
        is_seen: (H, W) bool, where the other one looks.
    """
    border = cv2.erode(is_seen.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=1)  # is no edge of a thing
    edges = camera.rays()[_edges(other) & (border > 0)].astype(np.float64)  # (E,3)
    return _judged(picture, is_seen.size, int(is_seen.sum()), edges, camera, ())


def pooled(found: Sequence[Alignment]) -> Alignment:
    """Several looks at one calibration as one: sums, and means over all edges of those that had enough."""
    judged = [each for each in found if each.closeness is not None]
    points, inside, edges = (sum(getattr(each, name) for each in found) for name in ("points", "inside", "edges"))
    if not judged:
        return Alignment(points, inside, edges, None, ())
    rows = np.array([[each.closeness, *each.turned, *each.shifted] for each in judged])  # (n, 1 + 6 + 4 or 0)
    mean = np.average(rows, axis=0, weights=[each.edges for each in judged]).tolist()
    turns = 1 + len(judged[0].turned)
    return Alignment(points, inside, edges, mean[0], tuple(mean[1:turns]), tuple(mean[turns:]))


def _judged(
    picture: np.ndarray, points: int, inside: int, edges: np.ndarray, camera: CameraModel, shifts: Sequence[np.ndarray]
) -> Alignment:
    """How near (E, 3) edges in the camera's frame are to those of the picture, as they are and moved."""
    if len(edges) < _FEWEST_EDGES:
        return Alignment(points, inside, len(edges), None, ())
    near = _closeness_map(picture)
    turns = [rotation_xyz(*(sign * _TURN_DEG * np.eye(3)[axis])) for axis in range(3) for sign in (-1, 1)]
    turned = tuple(_closeness(near, edges @ turn.T, camera) for turn in turns)
    shifted = tuple(_closeness(near, edges + shift, camera) for shift in shifts)
    return Alignment(points, inside, len(edges), _closeness(near, edges, camera), turned, shifted)


def draw_points(
    picture: np.ndarray,
    points: np.ndarray,
    calibration: Calibration,
    name: str = "lidar",
    suite: SensorSuite = VEHICLE,
) -> np.ndarray:
    """(H, W, 3) RGB with the points of a cloud over it: near ones red, far ones blue, nearer ones on top."""
    return _drawn(picture, *_geometry(picture, points, calibration, name, suite))


def draw_jumps(picture: np.ndarray, xyz: np.ndarray, camera: CameraModel) -> np.ndarray:
    """The same of the nearer sides of jumps in range alone, of points as `measure_points` takes them."""
    uv, valid = camera.project(xyz)
    jumps = _is_before_a_jump(uv[valid], xyz[valid, 2], picture.shape[:2])
    return _drawn(picture, xyz[valid][jumps], camera)


def draw_squares(picture: np.ndarray, other: np.ndarray, is_seen: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB: squares of the one and the other picture in turns, as `measure_picture` takes them."""
    side = max(8, picture.shape[1] // 12)
    rows, columns = np.indices(picture.shape[:2]) // side
    is_other = is_seen & ((rows + columns) % 2 == 1)
    return np.where(is_other[..., None], other, picture)


def _drawn(picture: np.ndarray, xyz: np.ndarray, camera: CameraModel) -> np.ndarray:
    uv, valid = camera.project(xyz)
    pixels, depth_m = np.rint(uv[valid]).astype(int), xyz[valid, 2]
    drawn = np.ascontiguousarray(picture // 2 + 32)
    far_first = np.argsort(-depth_m)
    disc = _disc(max(1, picture.shape[1] // 900))  # (k,2)
    places = (pixels[far_first, None, ::-1] + disc).reshape(-1, 2)  # (n * k, 2) rows and columns
    colours = np.repeat(range_colours(depth_m[far_first]), len(disc), axis=0)
    is_inside = ((places >= 0) & (places < picture.shape[:2])).all(axis=1)
    drawn[tuple(places[is_inside].T)] = colours[is_inside]  # of several points in one place the last one stays
    return drawn


def range_colours(range_m: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 RGB of distances in metres: near ones red, far ones blue."""
    share = np.log(np.clip(range_m, _NEAR_M, _FAR_M) / _NEAR_M) / np.log(_FAR_M / _NEAR_M)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]  # (256,3) RGB
    return table[np.round(255 * (1 - share)).astype(np.uint8)]


@cache
def _disc(radius: int) -> np.ndarray:
    """(k, 2) rows and columns of the pixels of OpenCV's filled circle, from its middle."""
    canvas = np.zeros((2 * radius + 3,) * 2, np.uint8)
    cv2.circle(canvas, (radius + 1, radius + 1), radius, 1, -1)
    return np.argwhere(canvas) - (radius + 1)


def _geometry(
    picture: np.ndarray, points: np.ndarray, calibration: Calibration, name: str, suite: SensorSuite
) -> tuple[np.ndarray, CameraModel]:
    """(N, 3) points in the frame of the camera, and the camera on the grid of the picture."""
    to_camera = calibration.place(name, suite).to_camera
    if to_camera is None:
        key = place_keys(name, suite).to_camera
        raise UserError(f"the calibration has no {key}: add this 4x4 transform", "extrinsics-missing")
    xyz = points[:, :3].astype(np.float64) @ to_camera[:3, :3].T + to_camera[:3, 3]
    return xyz, calibration.camera.scaled(picture.shape[1], picture.shape[0])


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


def _edges(picture: np.ndarray) -> np.ndarray:
    """(H, W) bool: the strongest gradients."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (5, 5), 1.2)
    strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return strength > max(float(np.quantile(strength, 1 - _EDGE_SHARE)), 1.0)


def _closeness_map(picture: np.ndarray) -> np.ndarray:
    """(H, W) float32: 1 on edges of the picture, less by a share per pixel away from them."""
    distance = cv2.distanceTransform(np.where(_edges(picture), 0, 1).astype(np.uint8), cv2.DIST_L2, 5)
    return np.power(np.float32(_CLOSENESS), distance)


def _closeness(near: np.ndarray, xyz: np.ndarray, camera: CameraModel) -> float:
    uv, valid = camera.project(xyz)
    pixels = np.rint(uv[valid]).astype(int)
    return float(near[pixels[:, 1], pixels[:, 0]].sum() / len(xyz))
