"""Depth images: the HHA plane, CARLA's packed depth, and resampling onto the camera plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only
from any2seg_core.sensors.lookup import pixel_lookup

MAX_DEPTH_M = 999.0
"""CARLA writes 1000 m for sky and the far plane; from here on a pixel has no depth."""

SATURATED = 65535
"""The largest of 16 bits: depth that did not fit, the sky of simulators, or a mark for none; it is no distance."""

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


def whole_depth_m(stored: np.ndarray, per_metre: float = 1000.0) -> np.ndarray:
    """Whole numbers of any shape, so many a metre, to float32 metres; 0, and 65535 where nothing is above, are none."""
    depth_m = np.divide(stored, np.float32(per_metre), dtype=np.float32)  # one pass: every depth message comes by
    if stored.max(initial=0) == SATURATED:
        depth_m[stored == SATURATED] = 0.0
    return depth_m


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

_ZERO, _ONE, _PI = np.float32(0.0), np.float32(1.0), np.float32(np.pi)
_FAR_M = np.float32(MAX_DEPTH_M)
_CODES_PER_RADIAN, _FIRST_ANGLE = np.float32(254.0 / np.pi), np.float32(1.5)
_KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_INLINE = _KERNEL | {"inline": "always"}  # a call in the loop over the pixels would keep it from vector instructions

# One loop over a row of pixels, without branches, into one array: the compiler makes vector instructions of that. Rows
# have a border of one pixel on both sides.


@compiled(**_KERNEL)
def _load_row(depth, row, z):
    """One row of depth (W,) with a border into (W + 2,); 0 where there is none."""
    if row >= depth.shape[0]:
        z[:] = _ZERO
        return
    for column in range(depth.shape[1]):
        d = depth[row, column]
        z[column + 1] = d if (d > _ZERO) & (d < _FAR_M) else _ZERO  # NaN and infinity are neither


@compiled(**_INLINE)
def _angle_code(cosine, is_upward):
    """floor(1.5 + 254 angle / pi), 1..255, of the angle between normal and "up".

    cosine: 0..1, without its sign, which `is_upward` says; NaN gives any number.
    """
    series = ((_A7 * cosine + _A6) * cosine + _A5) * cosine + _A4
    series = (((series * cosine + _A3) * cosine + _A2) * cosine + _A1) * cosine + _A0
    angle = np.sqrt(max(_ONE - cosine, _ZERO)) * series
    return np.int32(_CODES_PER_RADIAN * (angle if is_upward else _PI - angle) + _FIRST_ANGLE)


@compiled(**_INLINE)
def _pixel_codes(here, across, down):
    """Codes of distance, height and angle in the three lowest bytes, 0 where there is no depth.

    Args:
        here: x and y of the ray, and z. across, down: the same of the neighbours before and after, x x y y z z.

    Of two neighbours the one with the smaller step in depth counts, so that edges stay sharp.
    """
    ray_x, ray_y, z = here
    x_left, x_right, y_left, y_right, left, right = across
    x_above, x_below, y_above, y_below, above, below = down
    x, y = ray_x * z, ray_y * z
    is_left = (left > _ZERO) & ((right <= _ZERO) | (abs(left - z) <= abs(right - z)))
    beside = left if is_left else right
    ax = (x_left if is_left else x_right) * beside - x
    ay = (y_left if is_left else y_right) * beside - y
    az = beside - z
    is_above = (above > _ZERO) & ((below <= _ZERO) | (abs(above - z) <= abs(below - z)))
    over = above if is_above else below
    bx = (x_above if is_above else x_below) * over - x
    by = (y_above if is_above else y_below) * over - y
    bz = over - z
    # right x down = away from the camera on a wall; the outward normal is its negative
    nx, ny, nz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    is_upward = (ny <= _ZERO) != (is_left != is_above)  # each step to the left or upward turns the normal round
    angle = _angle_code(abs(ny) / length, is_upward)
    has_neighbours = ((left > _ZERO) | (right > _ZERO)) & ((above > _ZERO) | (below > _ZERO))
    codes = inverse_distance_code(z) | height_code(-y) << 8
    codes |= (angle if has_neighbours & (length > _ZERO) else np.int32(0)) << 16
    return codes if z > _ZERO else np.int32(0)


@compiled(**_KERNEL)
def _pinhole_codes(above, here, below, ray_x, y_above, y_here, y_below, codes):
    """Codes of a row of a camera whose rays have the same x in a column and the same y in a row."""
    for i in range(codes.size):
        x = ray_x[i + 1]
        across = ray_x[i], ray_x[i + 2], y_here, y_here, here[i], here[i + 2]
        codes[i] = _pixel_codes((x, y_here, here[i + 1]), across, (x, x, y_above, y_below, above[i + 1], below[i + 1]))


@compiled(**_KERNEL)
def _lens_codes(above, here, below, rays_above, rays, rays_below, codes):
    """Codes of a row of any camera; rays (2W + 4,): x y x y ..."""
    for i in range(codes.size):
        k = 2 * i
        across = rays[k], rays[k + 4], rays[k + 1], rays[k + 5], here[i], here[i + 2]
        down = rays_above[k + 2], rays_below[k + 2], rays_above[k + 3], rays_below[k + 3], above[i + 1], below[i + 1]
        codes[i] = _pixel_codes((rays[k + 2], rays[k + 3], here[i + 1]), across, down)


@compiled(**_KERNEL)
def _load_rays(ray_x, ray_y, row, rays):
    """One row of rays with a border, x y x y ...; rows beyond the image are left as they are: no depth is there."""
    if row < ray_x.shape[0]:
        for column in range(ray_x.shape[1]):
            rays[2 * column + 2], rays[2 * column + 3] = ray_x[row, column], ray_y[row, column]


@compiled(**_KERNEL)
def _store_row(codes, line):
    """A row of codes (W,) into one row (3W,) of pixels."""
    for i in range(codes.size):
        code = codes[i]
        line[3 * i], line[3 * i + 1], line[3 * i + 2] = code & 255, code >> 8 & 255, code >> 16


@compiled(**_KERNEL)
def _hha(depth, ray_x, ray_y, plane):
    """Fill plane (H, 3W); rays as `CameraModel.ray_grid` has them."""
    height, width = depth.shape
    is_pinhole = ray_x.shape[0] == 1 and ray_y.shape[1] == 1
    z = np.zeros((3, width + 2), dtype=np.float32)  # of the row before, this one and the next, in turn
    rays = np.zeros((1 if is_pinhole else 3, 2 * width + 4), dtype=np.float32)
    columns = np.zeros(width + 2, dtype=np.float32)
    codes = np.empty(width, dtype=np.int32)
    _load_row(depth, 0, z[0])
    if is_pinhole:
        columns[1:-1] = ray_x[0]
    else:
        _load_rays(ray_x, ray_y, 0, rays[0])
    for row in range(height):
        before, here, after = (row + 2) % 3, row % 3, (row + 1) % 3
        _load_row(depth, row + 1, z[after])
        if is_pinhole:
            ys = ray_y[max(row - 1, 0), 0], ray_y[row, 0], ray_y[min(row + 1, height - 1), 0]
            _pinhole_codes(z[before], z[here], z[after], columns, *ys, codes)
        else:
            _load_rays(ray_x, ray_y, row + 1, rays[after])
            _lens_codes(z[before], z[here], z[after], rays[before], rays[here], rays[after], codes)
        _store_row(codes, plane[row])


@compiled(**_KERNEL)
def inverse_distance_code(distance_m):
    """255 at 0 m, 128 at 10 m, 23 at 100 m, never 0 below 999 m; int32, which loops convert faster than uint8."""
    half = np.float32(HALF_CODE_DISTANCE_M)
    return np.int32(np.float32(255.0) * half / (half + np.float32(distance_m)) + np.float32(0.5))


@compiled(**_KERNEL)
def height_code(height_m):
    """Height over the camera in metres to 1..255, int32."""
    code = (np.float32(height_m) - np.float32(LOWEST_HEIGHT_M)) * np.float32(HEIGHT_CODES_PER_M) + np.float32(1.0)
    return np.int32(min(max(code, np.float32(1.0)), np.float32(255.0)) + np.float32(0.5))


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
