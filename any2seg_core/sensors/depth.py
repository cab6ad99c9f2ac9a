"""Depth images: the HHA plane, CARLA's packed depth, and resampling onto the camera plane."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only
from any2seg_core.sensors.lookup import pixel_lookup

MAX_DEPTH_M = 999.0
"""CARLA writes 1000 m for sky and the far plane; from here on a pixel has no depth."""

HALF_CODE_DISTANCE_M = 10.0
"""Distance at which the inverse-distance code of depth and LiDAR planes has fallen to one half."""

LOWEST_HEIGHT_M = -4.0
HEIGHT_CODES_PER_M = 20.0
"""Heights over the camera from -4 m to +8.7 m are coded in steps of 5 cm."""


def encode_hha(depth_m: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Horizontal disparity, height and angle (Gupta et al. 2014, "Learning Rich Features from RGB-D", section 3).

    Differs from the paper in scale only: street distances, and gravity is taken along the camera's y axis.

    Args:
        depth_m: (H, W) float32 depth along the optical axis, metres, on the pixel grid of `camera`.
        camera: intrinsics of that grid.

    Returns:
        (H, W, 3) uint8: [0] inverse depth 255 * 10 / (10 + depth); [1] height over the camera (-4 m -> 1, 5 cm steps);
        [2] angle of the surface normal to "up" (0 degrees -> 1, 180 -> 255). Channels [0] and [1] are at least 1 where
        depth is valid. All zero where depth is invalid (not finite, <= 0, >= 999 m); [2] is zero where no neighbour
        allows a normal.

    Raises:
        UserError: `depth_m` is not (H, W) of the camera's size.
    """
    depth = np.asarray(depth_m, dtype=np.float32)
    if depth.shape != (camera.height, camera.width):
        raise UserError(
            f"depth_m: expected shape {(camera.height, camera.width)} as the camera says, got {depth.shape}; "
            "resample it first or correct the calibration",
            "calibration-size",
        )
    plane = np.empty((camera.height, 3 * camera.width), np.uint8)  # here: NumPy says who owns what it allocates
    _hha(read_only(np.ascontiguousarray(depth)), *camera.ray_grid(), plane)
    return plane.reshape(camera.height, camera.width, 3)  # (H,3W) -> (H,W,3)


def decode_carla_depth(bgra: np.ndarray) -> np.ndarray:
    """CARLA's 24-bit packed depth, (H, W, 4) uint8 in B G R A order, to (H, W) float32 metres (sky is 1000 m)."""
    pixels = np.asarray(bgra)
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise UserError(
            f"packed depth: expected (H, W, 4) uint8 in BGRA order, got {pixels.shape} {pixels.dtype}", "array-shape"
        )
    return _unpack_carla(read_only(np.ascontiguousarray(pixels)))


def resample_depth(depth_m: np.ndarray, depth_camera: CameraModel, camera: CameraModel) -> np.ndarray:
    """Nearest-neighbour lookup of a depth image through the rays of another camera at the same place.

    Returns (H, W) float32 on the grid of `camera`; 0 (invalid) where the depth camera does not look.
    """
    depth = np.asarray(depth_m, dtype=np.float32)
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise UserError(
            f"depth_m: expected shape {(depth_camera.height, depth_camera.width)} as the calibration says for the "
            f"depth camera, got {depth.shape}; correct depth_camera in the calibration",
            "calibration-size",
        )
    source = pixel_lookup(camera, depth_camera, np.eye(3))
    return _look_up(read_only(np.ascontiguousarray(depth).reshape(-1)), source)


def register_depth(
    depth_m: np.ndarray, depth_camera: CameraModel, depth_to_camera: np.ndarray, camera: CameraModel
) -> np.ndarray:
    """Moves a depth image into a camera at another place: points, transform, z-buffer with a 3x3 footprint.

    Args:
        depth_m: (H', W') float32 metres, grid of `depth_camera`.
        depth_to_camera: (4, 4) float64, optical frame to optical frame.

    Returns:
        (H, W) float32 depth along the optical axis of `camera`; 0 where nothing was seen.
    """
    depth = np.asarray(depth_m, dtype=np.float32)
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise UserError(
            f"depth_m: expected shape {(depth_camera.height, depth_camera.width)} as the calibration says for the "
            f"depth camera, got {depth.shape}; correct depth_camera in the calibration",
            "calibration-size",
        )
    image = np.zeros((camera.height, camera.width), dtype=np.float32)
    ray_x, ray_y = depth_camera.ray_grid()
    for rows in depth_camera.row_blocks():
        z = depth[rows]
        valid = (z > 0.0) & (z < MAX_DEPTH_M)
        x, y = np.broadcast_arrays(ray_x[rows if len(ray_x) > 1 else slice(None)], ray_y[rows])
        points = np.stack([x[valid], y[valid], np.ones_like(x[valid])], axis=-1) * z[valid][:, None]  # (n,3)
        points = points @ depth_to_camera[:3, :3].T + depth_to_camera[:3, 3]
        uv, inside = camera.project(points)
        pixels = np.rint(uv[inside]).astype(np.int64)
        _splat_nearest(pixels, points[inside, 2].astype(np.float32), image)
    return image


_A0, _A1, _A2, _A3, _A4, _A5, _A6, _A7 = (
    np.float32(c)
    for c in (
        1.5707963050,
        -0.2145988016,
        0.0889789874,
        -0.0501743046,
        0.0308918810,
        -0.0170881256,
        0.0066700901,
        -0.0012624911,
    )
)  # arccos(x) = sqrt(1 - x) * (A0 + A1 x + ...) to 2e-8 for 0 <= x <= 1, Abramowitz and Stegun 4.4.46

# One image row after the other, and of a row one simple loop after the other: the compiler makes vector instructions of
# a loop without branches over few arrays, and all of a row stays in the nearest cache.


@compiled(cache=True, error_model="numpy")
def _load_row(depth, ray_x, ray_y, row, points):
    """One row of points x, y, z (3, W + 2) with a border; z is 0 where there is no depth."""
    x, y, z = points[0], points[1], points[2]
    if row >= depth.shape[0]:
        z[:] = 0.0
        return
    along, down = ray_x[min(row, ray_x.shape[0] - 1)], ray_y[row]
    if down.size == 1:
        for column in range(depth.shape[1]):
            y[column + 1] = down[0] * depth[row, column]
    else:
        for column in range(depth.shape[1]):
            y[column + 1] = down[column] * depth[row, column]
    for column in range(depth.shape[1]):
        d = depth[row, column]
        x[column + 1] = along[column] * d
        z[column + 1] = d if (d > 0.0) & (d < MAX_DEPTH_M) else np.float32(0.0)  # NaN and infinity are neither


@compiled(cache=True, error_model="numpy")
def _position_codes(points, nearness, heights):
    """Codes of distance and height, 0 where there is no depth."""
    y, z = points[1], points[2]
    for i in range(nearness.size):
        near, high = np.int32(inverse_distance_code(z[i + 1])), np.int32(height_code(-y[i + 1]))
        nearness[i] = near if z[i + 1] > 0.0 else 0
        heights[i] = high if z[i + 1] > 0.0 else 0


@compiled(cache=True, error_model="numpy")
def _steps(there_before, here, there_after, z_before, z_here, z_after, steps):
    """Difference to the neighbour before or after, whichever has the smaller depth step, so that edges stay sharp."""
    for i in range(steps.size):
        before, z, after = z_before[i], z_here[i], z_after[i]
        is_before = (before > 0.0) & ((after <= 0.0) | (abs(before - z) <= abs(after - z)))
        steps[i] = -(there_before[i] - here[i]) if is_before else there_after[i] - here[i]


@compiled(cache=True, error_model="numpy")
def _have_neighbours(above, here, below, known):
    """1 where a pixel and a neighbour of it in each direction have a depth, else 0."""
    for i in range(known.size):
        beside = (here[i] > 0.0) | (here[i + 2] > 0.0)
        known[i] = (here[i + 1] > 0.0) & beside & ((above[i + 1] > 0.0) | (below[i + 1] > 0.0))


@compiled(cache=True, error_model="numpy")
def _normal_cosines(right, down, known, cosines):
    """Cosine between the surface normal and "up"; where there is no normal 0, and `known` becomes 0."""
    for i in range(cosines.size):
        ax, ay, az = right[0, i], right[1, i], right[2, i]
        bx, by, bz = down[0, i], down[1, i], down[2, i]
        # right x down = away from the camera on a wall; the outward normal is its negative
        nx, ny, nz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        cosine = min(max(-ny / length, np.float32(-1.0)), np.float32(1.0))
        is_normal = (length > 0.0) & (known[i] > 0)
        known[i] = np.uint8(is_normal)
        cosines[i] = cosine if is_normal else np.float32(0.0)


@compiled(cache=True, error_model="numpy")
def _angle_codes(cosines, known, codes):
    """floor(1.5 + 254 arccos(cosine) / pi), 1..255, where known is 1; 0 where it is 0."""
    for i in range(codes.size):
        x = abs(cosines[i])
        series = ((_A7 * x + _A6) * x + _A5) * x + _A4
        series = (((series * x + _A3) * x + _A2) * x + _A1) * x + _A0
        angle = np.sqrt(np.float32(1.0) - x) * series
        code = np.float32(254.0 / np.pi) * (angle if cosines[i] >= 0 else np.float32(np.pi) - angle) + np.float32(1.5)
        codes[i] = np.uint8(np.int32(code)) * known[i]


@compiled(cache=True, error_model="numpy")
def _store_row(nearness, heights, angles, line):
    """Three rows of codes into one row (3W,) of pixels."""
    for i in range(nearness.size):
        line[3 * i], line[3 * i + 1], line[3 * i + 2] = nearness[i], heights[i], angles[i]


@compiled(cache=True, error_model="numpy")
def _hha(depth, ray_x, ray_y, plane):
    """Fill plane (H, 3W)."""
    height, width = depth.shape
    rows = np.zeros((3, 3, width + 2), dtype=np.float32)  # points of the row before, this one and the next, in turn
    right, down = np.empty((3, width), dtype=np.float32), np.empty((3, width), dtype=np.float32)
    nearness, heights = np.empty(width, dtype=np.uint8), np.empty(width, dtype=np.uint8)
    angles, known, cosines = (
        np.empty(width, dtype=np.uint8),
        np.empty(width, dtype=np.uint8),
        np.empty(width, dtype=np.float32),
    )
    _load_row(depth, ray_x, ray_y, 0, rows[0])
    for row in range(height):
        before, here, after = rows[(row + 2) % 3], rows[row % 3], rows[(row + 1) % 3]
        _load_row(depth, ray_x, ray_y, row + 1, after)
        _position_codes(here, nearness, heights)
        z = here[2]
        for axis in range(3):
            line = here[axis]
            _steps(line[:-2], line[1:-1], line[2:], z[:-2], z[1:-1], z[2:], right[axis])
            ends = before[axis][1:-1], after[axis][1:-1]
            _steps(ends[0], line[1:-1], ends[1], before[2][1:-1], z[1:-1], after[2][1:-1], down[axis])
        _have_neighbours(before[2], z, after[2], known)
        _normal_cosines(right, down, known, cosines)
        _angle_codes(cosines, known, angles)
        _store_row(nearness, heights, angles, plane[row])


@compiled(cache=True, error_model="numpy")
def inverse_distance_code(distance_m):
    """255 at 0 m, 128 at 10 m, 23 at 100 m, never 0 below 999 m."""
    half = np.float32(HALF_CODE_DISTANCE_M)
    return np.uint8(np.float32(255.0) * half / (half + np.float32(distance_m)) + np.float32(0.5))


@compiled(cache=True)
def height_code(height_m):
    """Height over the camera in metres to 1..255."""
    code = (np.float32(height_m) - np.float32(LOWEST_HEIGHT_M)) * np.float32(HEIGHT_CODES_PER_M) + np.float32(1.0)
    return np.uint8(min(max(code, np.float32(1.0)), np.float32(255.0)) + np.float32(0.5))


@compiled(cache=True)
def _unpack_carla(pixels):
    height, width, _ = pixels.shape
    depth = np.empty((height, width), dtype=np.float32)
    for row in range(height):
        for column in range(width):
            blue = np.int64(pixels[row, column, 0])
            green = np.int64(pixels[row, column, 1])
            red = np.int64(pixels[row, column, 2])
            depth[row, column] = (red + 256 * green + 65536 * blue) * (1000.0 / 16777215.0)
    return depth


@compiled(cache=True)
def _splat_nearest(pixels, depth, image):
    height, width = image.shape
    for index in range(pixels.shape[0]):
        for row in range(max(pixels[index, 1] - 1, 0), min(pixels[index, 1] + 2, height)):
            for column in range(max(pixels[index, 0] - 1, 0), min(pixels[index, 0] + 2, width)):
                if image[row, column] == 0.0 or depth[index] < image[row, column]:
                    image[row, column] = depth[index]


@compiled(cache=True)
def _look_up(values, index):
    """Values (N,) by flat index (H, W); 0 for -1."""
    found = np.zeros(index.shape, dtype=np.float32)
    for row in range(index.shape[0]):
        for column in range(index.shape[1]):
            if index[row, column] >= 0:
                found[row, column] = values[index[row, column]]
    return found
