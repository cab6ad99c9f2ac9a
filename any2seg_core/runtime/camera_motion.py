"""How the picture of a camera moves between two sets: by poses of the camera and by what depth and clouds measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from any2seg_core.messages.transforms import WorldPose
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.depth import HALF_CODE_DISTANCE_M, MAX_DEPTH_M
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, POINTS

_NEAREST_M = 0.1  # of a point in front of the camera
_SAME_CODES = 3.0  # two distances that differ by less are one: 0.3 m at 5 m, 0.5 m at 10 m, 2 m at 30 m


@dataclass(frozen=True)
class CameraView:
    """What is known of the camera of a set beside its picture.

    Attributes:
        camera: intrinsics, of any size: they are scaled to the grid.
        pose: at the stamp of the set; None where nobody says it.
    """

    camera: CameraModel
    pose: WorldPose | None = None


@dataclass(frozen=True)
class View:
    """What a set knows of the scene on a grid of cells.

    Attributes:
        depth_m: (h, w) float32 along the optical axis, see `grid_depth_m`.
        camera: on the grid; None where it is not known. pose: as of `CameraView`.
    """

    depth_m: np.ndarray
    camera: CameraModel | None = None
    pose: WorldPose | None = None

    def to_earlier(self, before: View) -> np.ndarray | None:
        """(4, 4) of this camera to the one before; None where no frame that stands still is known of both."""
        if self.pose is None or before.pose is None or self.pose.world != before.pose.world:
            return None
        return np.linalg.inv(before.pose.to_world) @ self.pose.to_world


@dataclass(frozen=True)
class PictureMotion:
    """Where the cells of a grid were in an earlier picture.

    Attributes:
        column, row: (h, w) float32, cells of the same grid.
        is_same: (h, w) bool, whether the earlier picture showed the same there: it was in view, and as far away.
    """

    column: np.ndarray
    row: np.ndarray
    is_same: np.ndarray

    def moved(self, earlier: np.ndarray) -> np.ndarray:
        """(h, w, K) float32 of the earlier picture -> the same, seen from now, bilinear."""
        planes = [cv2.remap(np.ascontiguousarray(earlier[..., k]), self.column, self.row, cv2.INTER_LINEAR,
                            borderMode=cv2.BORDER_REPLICATE) for k in range(earlier.shape[2])]  # fmt: skip
        return np.stack(planes, axis=-1)


def grid_depth_m(
    planes: Mapping[str, np.ndarray], suite: SensorSuite, grid: tuple[int, int], camera: CameraModel | None
) -> np.ndarray | None:
    """Depth along the optical axis per cell of a grid, (h, w) float32 metres; None where no sensor measures distance.

    Of a depth image where there is one, else of a cloud, whose nearest point counts for the cells between. Sky, and
    what is farther than a code of the planes can say, is at `MAX_DEPTH_M`.

    Args:
        planes: sensor -> plane (H, W, 3), 0..255, of `SensorRig.planes`. grid: (h, w) cells.
        camera: on the grid, which turns the ranges of a cloud into depth; None: they count as depth.
    """
    depths = [name for name in suite.of_kind(DEPTH) if name in planes]
    if depths:
        return _metres(_at_centres(planes[depths[0]][..., 0], grid))
    clouds = [name for name in suite.of_kind(POINTS) if name in planes]
    if not clouds:
        return None
    codes = planes[clouds[0]][..., 0]
    cell = tuple(max(1, side // cells) for side, cells in zip(codes.shape, grid, strict=True))
    near = _at_centres(cv2.dilate(np.ascontiguousarray(codes), np.ones(cell, np.uint8)), grid)
    range_m = _metres(_spread(near))
    if camera is None:
        return range_m
    ray_x, ray_y = camera.ray_grid()
    return range_m / np.sqrt(1.0 + ray_x**2 + ray_y**2).astype(np.float32)


def view_of(
    planes: Mapping[str, np.ndarray], suite: SensorSuite, grid: tuple[int, int], camera: CameraView | None
) -> View | None:
    """What a set says of its scene, see `grid_depth_m`; None where no sensor measures distance."""
    scaled = None if camera is None else camera.camera.scaled(grid[1], grid[0])
    depth_m = grid_depth_m(planes, suite, grid, scaled)
    return None if depth_m is None else View(depth_m, scaled, None if camera is None else camera.pose)


def picture_motion(now: View, before: View) -> PictureMotion:
    """Where what stands still was in the picture before; without poses, where it was if the camera stood still."""
    height, width = now.depth_m.shape
    to_before = now.to_earlier(before)
    if now.camera is None or to_before is None:
        column, row = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        is_seen, expected_m, measured_m = np.ones((height, width), bool), now.depth_m, before.depth_m
    else:
        points = (now.camera.rays() * now.depth_m[..., None]).reshape(-1, 3) @ to_before[:3, :3].T + to_before[:3, 3]
        pixels, is_inside = now.camera.project(points)
        is_seen = (is_inside & (points[:, 2] > _NEAREST_M)).reshape(height, width)
        column, row = np.where(is_inside[:, None], pixels, 0.0).astype(np.float32).T.reshape(2, height, width).copy()
        expected_m = points[:, 2].reshape(height, width)
        measured_m = before.depth_m[np.rint(row).astype(int), np.rint(column).astype(int)]
    is_as_far = np.abs(_codes(expected_m) - _codes(measured_m)) <= _SAME_CODES
    return PictureMotion(column, row, is_seen & is_as_far)


def _at_centres(codes: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(H, W) -> (h, w), the pixel in the middle of each cell."""
    rows, columns = ((np.arange(cells) + 0.5) * side / cells for side, cells in zip(codes.shape, grid, strict=True))
    return codes[rows.astype(int)[:, None], columns.astype(int)]


def _codes(depth_m: np.ndarray) -> np.ndarray:
    """Metres -> the codes of planes, not rounded: their steps are as fine as what is near needs."""
    return 255.0 * HALF_CODE_DISTANCE_M / (HALF_CODE_DISTANCE_M + np.maximum(depth_m, 0.0))


def _metres(codes: np.ndarray) -> np.ndarray:
    """Inverse-distance codes, 0 where nothing is -> metres."""
    distance_m = HALF_CODE_DISTANCE_M * (255.0 / np.maximum(codes, 1).astype(np.float32) - 1.0)
    return np.where(codes > 0, distance_m, np.float32(MAX_DEPTH_M))


def _spread(codes: np.ndarray) -> np.ndarray:
    """Every cell without a point gets the code of the nearest one that has one; rows over all points stay empty."""
    is_empty = (codes == 0).astype(np.uint8)
    if is_empty.all():
        return codes
    _, places = cv2.distanceTransformWithLabels(is_empty, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(int(places.max()) + 1, codes.dtype)
    of_label[places[is_empty == 0]] = codes[is_empty == 0]
    filled = of_label[places]
    filled[: int(np.argmin(is_empty.all(axis=1)))] = 0
    return filled
