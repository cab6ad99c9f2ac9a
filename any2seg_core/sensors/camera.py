"""Camera geometry: intrinsics, lens distortion, region of interest and binning.

Pixel convention of the whole project: the centre of pixel (column u, row v) lies at (u, v), as in OpenCV; the image
covers [-0.5, width - 0.5) x [-0.5, height - 0.5). Camera frame: optical (x right, y down, z forward), metres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.limits import limits, raising
from any2seg_core.sensors.camera_info import UNNAMED_FRAME, camera_info_fields

DISTORTION_COEFFICIENTS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
_MODEL_ALIASES = {"": "plumb_bob", "none": "plumb_bob", "pinhole": "plumb_bob", "radtan": "plumb_bob",
                  "brown_conrady": "plumb_bob", "fisheye": "equidistant", "kannala_brandt": "equidistant",
                  "kannala_brandt4": "equidistant"}  # fmt: skip
_MAX_SIDE = 32768
_BLOCK_PIXELS = 1 << 17
_LARGEST_COEFFICIENT = 1e9  # those of real lenses stay below a thousand
_NEAREST_M = 1e-9  # what is nearer lies behind the camera


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Pinhole or fisheye camera.

    Attributes:
        width, height: image size in pixels.
        K: (3, 3) float64, [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] in pixels.
        D: (5,), (8,) or (4,) float64 coefficients in OpenCV's order; empty means none. Given longer, as OpenCV's full
            model has 12 or 14, the rest must be zero: it is the same lens.
        distortion_model: "plumb_bob" (k1 k2 p1 p2 k3), "rational_polynomial" (k1 k2 p1 p2 k3 k4 k5 k6) or
            "equidistant" (k1..k4 of Kannala and Brandt 2006, OpenCV's fisheye). A plumb_bob with k4 k5 k6 is a
            rational_polynomial. Other names of these are read too, in any case: pinhole, radtan, brown_conrady, none;
            fisheye, kannala_brandt.
        frame_id: name of the optical frame; UNNAMED_FRAME where nothing names it.

    Raises:
        UserError: wrong shape, non-finite number, unknown model, or focal length not positive.

    Examples:
        >>> from any2seg_core import CameraModel
        >>> CameraModel.from_fov(160, 96, 90.0).K.round(1).tolist()
        [[80.0, 0.0, 79.5], [0.0, 80.0, 47.5], [0.0, 0.0, 1.0]]
    """

    width: int
    height: int
    K: np.ndarray
    D: np.ndarray = field(default_factory=lambda: np.zeros(0))
    distortion_model: str = "plumb_bob"
    frame_id: str = UNNAMED_FRAME

    def __post_init__(self) -> None:
        width, height = _size(self.width, self.height)
        written = self.distortion_model.strip().lower().replace(" ", "_").replace("-", "_")
        model = _MODEL_ALIASES.get(written, written)
        if model not in DISTORTION_COEFFICIENTS:
            raise UserError(
                f"camera: unknown distortion_model {self.distortion_model!r}; use one of "
                f"{sorted(DISTORTION_COEFFICIENTS)}, or publish rectified images and set rectified to true",
                "camera-distortion",
            )
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "height", height)
        object.__setattr__(self, "K", _intrinsics(self.K))
        coefficients, model = _coefficients(self.D, model)
        object.__setattr__(self, "D", coefficients)
        object.__setattr__(self, "distortion_model", model)

    @classmethod
    def from_fov(cls, width: int, height: int, hfov_deg: float, frame_id: str = UNNAMED_FRAME) -> CameraModel:
        """Distortion-free camera with square pixels, horizontal field of view `hfov_deg` and a centred axis."""
        if not 0.0 < hfov_deg < 180.0:
            raise UserError(f"camera: hfov_deg must lie in (0, 180), got {hfov_deg}", "camera-intrinsics")
        width, height = _size(width, height)
        focal = width / (2.0 * math.tan(math.radians(hfov_deg) / 2.0))
        K = np.array([[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]])
        return cls(width, height, K, frame_id=frame_id)

    @classmethod
    def from_camera_info(
        cls, msg: Any, rectified: bool = False, size: tuple[int, int] | None = None
    ) -> CameraModel:
        """Reads a sensor_msgs/CameraInfo by field; K, P and D may be named in either case (ROS 1 or 2).

        K and D describe the raw image, P the rectified one (`rectified=True`; D is then zero and points are expected
        in the rectified frame). A P of zeros falls back to K. Binning and region of interest are applied with
        image_geometry's arithmetic: shift by the offset, then divide.

        Args:
            size: (H, W) of its images, for drivers that leave width and height at 0.

        Raises:
            MessageError: uncalibrated (K[0] == 0), a missing field, a wrong length, no size or an implausible focal
                length.
        """
        try:
            return cls(**camera_info_fields(msg, rectified, size))
        except MessageError:
            raise
        except UserError as error:
            raise MessageError(f"camera_info: {error}", "value") from error

    def scaled(self, width: int, height: int) -> CameraModel:
        """The same view on another pixel grid (what `cv2.resize` to that size sees)."""
        width, height = _size(width, height)
        if (width, height) == (self.width, self.height):
            return self
        sx, sy = width / self.width, height / self.height
        K = self.K.copy()
        K[0, :2] *= sx
        K[1, :2] *= sy
        K[0, 2] = (K[0, 2] + 0.5) * sx - 0.5
        K[1, 2] = (K[1, 2] + 0.5) * sy - 0.5
        return CameraModel(width, height, K, self.D, self.distortion_model, self.frame_id)

    def project(self, points_cam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Projects points given in the camera frame.

        Args:
            points_cam: (N, 3) metres, optical frame.

        Returns:
            uv: (N, 2) float64 pixels; NaN where the point lies behind the camera.
            valid: (N,) bool; in front, inside the image, and inside the range where the lens model is one to one.

        OpenCV's camera model (calib3d, "Detailed description"); agrees with `cv2.projectPoints`.
        """
        points = np.ascontiguousarray(points_cam, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise UserError(f"points_cam: expected shape (N, 3), got {points.shape}", "array-shape")
        return _project(read_only(points), *self.lens)

    @property
    def lens(self) -> tuple[np.ndarray, np.ndarray, bool, bool, float, int, int]:
        """What `project_into` takes after the points."""
        return (self.K, self.D, self.distortion_model == "equidistant", self.is_distorted, self._max_squared_radius,
                self.width, self.height)  # fmt: skip

    def rays(self) -> np.ndarray:
        """(H, W, 3) float32 direction through each pixel centre, scaled to z = 1 (so `rays * depth` are points)."""
        return self._rays

    def ray_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of `rays`, read-only float32 that broadcast to (H, W): (1, W) and (H, 1) of a plain pinhole."""
        return self._ray_grid

    @property
    def is_distorted(self) -> bool:
        """True when straight lines do not stay straight."""
        return self.distortion_model == "equidistant" or bool(np.any(self.D != 0.0))

    @cached_property
    def _rays(self) -> np.ndarray:
        x, y = np.broadcast_arrays(*self._ray_grid)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1)  # (H,W,3)
        rays.setflags(write=False)
        return rays

    @cached_property
    def _ray_grid(self) -> tuple[np.ndarray, np.ndarray]:
        return self.rays_of_rows(0, self.height)

    def rays_of_rows(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """`ray_grid` of the rows from `first` to before `last`, made anew and not kept."""
        K = self.K
        if self.is_distorted or K[0, 1] != 0.0:
            lens = (self.D, self.distortion_model == "equidistant", self.is_distorted)
            x, y = _unbent_grid(K, *lens, first, last, self.width)
        else:
            x = ((np.arange(self.width, dtype=np.float64) - K[0, 2]) / K[0, 0]).astype(np.float32)[None]  # (1,W)
            y = ((np.arange(first, last, dtype=np.float64) - K[1, 2]) / K[1, 1]).astype(np.float32)[:, None]  # (H,1)
        return read_only(x), read_only(y)

    def row_blocks(self) -> Iterator[slice]:
        """All rows, in blocks of some 130 000 pixels: for work that needs much memory per pixel."""
        step = max(1, _BLOCK_PIXELS // self.width)
        for first in range(0, self.height, step):
            yield slice(first, min(first + step, self.height))

    @cached_property
    def _max_squared_radius(self) -> float:
        """Largest x^2 + y^2 (z = 1) up to which the radial curve rises; beyond, far points fold back into the image."""
        if self.distortion_model == "equidistant":
            k1, k2, k3, k4 = self.D
            theta = math.sqrt(_first_positive_root([9.0 * k4, 7.0 * k3, 5.0 * k2, 3.0 * k1, 1.0]))
            return math.tan(theta) ** 2 if theta < math.pi / 2 else math.inf
        k1, k2, _, _, k3 = self.D[:5]
        above = np.poly1d([k3, k2, k1, 1.0])
        below = np.poly1d([*self.D[:4:-1], 1.0]) if len(self.D) == 8 else np.poly1d([1.0])
        # r N(s) / Q(s) with s = r^2 has the slope (N Q + 2 s (N' Q - N Q')) / Q^2.
        slope = above * below + np.poly1d([2.0, 0.0]) * (above.deriv() * below - above * below.deriv())
        return min(_first_positive_root(slope.coeffs), _first_positive_root(below.coeffs))


def same_intrinsics(one: CameraModel, other: CameraModel) -> bool:
    """Whether two cameras have the same size, K and distortion, whatever their frames are called."""
    return one is other or (
        (one.width, one.height, one.distortion_model) == (other.width, other.height, other.distortion_model)
        and np.array_equal(one.K, other.K)
        and np.array_equal(one.D, other.D)
    )


def read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view: compiled kernels see one type, whether or not a message owns the memory, and compile once."""
    view = array.view()
    view.setflags(write=False)
    return view


@compiled(cache=True, error_model="numpy")
def _bend(x, y, D, equidistant):
    """One point in normalised image coordinates through the lens; OpenCV's formulas."""
    s = x * x + y * y
    if equidistant:
        radius = np.sqrt(s)
        theta = np.arctan(radius)
        t = theta * theta
        bent = theta * (1.0 + t * (D[0] + t * (D[1] + t * (D[2] + t * D[3]))))
        scale = bent / radius if radius > 1e-8 else 1.0
        return x * scale, y * scale
    k4, k5, k6 = (D[5], D[6], D[7]) if D.size == 8 else (0.0, 0.0, 0.0)
    radial = (1.0 + s * (D[0] + s * (D[1] + s * D[4]))) / (1.0 + s * (k4 + s * (k5 + s * k6)))
    cross = 2.0 * x * y
    return (
        x * radial + D[2] * cross + D[3] * (s + 2.0 * x * x),
        y * radial + D[2] * (s + 2.0 * y * y) + D[3] * cross,
    )


@compiled(cache=True, error_model="numpy")
def _unbend(bent_x, bent_y, x, y, D, equidistant):
    """Newton's method on `_bend` from a first guess x, y; whether it got there, as it does where the lens is 1:1."""
    h = 1e-6
    for _ in range(12):
        fx, fy = _bend(x, y, D, equidistant)
        error_x, error_y = fx - bent_x, fy - bent_y
        if max(abs(error_x), abs(error_y)) < 1e-9:
            return x, y, True
        (xx, yx), (xy, yy) = _bend(x + h, y, D, equidistant), _bend(x, y + h, D, equidistant)
        a, b, c, d = (xx - fx) / h, (xy - fx) / h, (yx - fy) / h, (yy - fy) / h  # Jacobian [[a, b], [c, d]]
        determinant = max(a * d - b * c, 1e-3)  # beyond the fold: stay finite
        x -= (d * error_x - b * error_y) / determinant
        y -= (a * error_y - c * error_x) / determinant
    return x, y, False


@compiled(cache=True, error_model="numpy")
def _unbent_grid(K, D, equidistant, is_distorted, first, last, width):
    """x and y at z = 1 of the ray through each pixel of some rows, each (n, W) float32; nothing else is held."""
    out_x, out_y = np.empty((last - first, width), np.float32), np.empty((last - first, width), np.float32)
    for line in range(last - first):
        y = (first + line - K[1, 2]) / K[1, 1]
        shift_x, shift_y = 0.0, 0.0  # how far the lens has moved the pixel before: the next one is moved alike
        for column in range(width):
            x = (column - K[0, 2] - K[0, 1] * y) / K[0, 0]
            true_x, true_y, is_found = x, y, True
            if is_distorted:
                true_x, true_y, is_found = _unbend(x, y, x + shift_x, y + shift_y, D, equidistant)
            shift_x, shift_y = (true_x - x, true_y - y) if is_found else (0.0, 0.0)
            out_x[line, column], out_y[line, column] = true_x, true_y
    return out_x, out_y


@compiled(cache=True, error_model="numpy")
def project_into(x, y, z, K, D, equidistant, is_distorted, max_squared_radius, width, height, u, v, valid):
    """Pixels u, v of points x, y, z and which are valid, as `CameraModel.project` says, each (N,); for compiled code.

    One simple loop after the other: the compiler makes vector instructions of all but the lens.
    """
    for i in range(x.size):
        across, down = x[i] / z[i], y[i] / z[i]
        valid[i] = (z[i] > _NEAREST_M) & (across * across + down * down <= max_squared_radius)
        u[i], v[i] = across, down
    if is_distorted:
        for i in range(x.size):
            u[i], v[i] = _bend(u[i], v[i], D, equidistant)
    fx, skew, cx, fy, cy = K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2]
    for i in range(x.size):
        column, row = fx * u[i] + skew * v[i] + cx, fy * v[i] + cy
        valid[i] = valid[i] & (column >= -0.5) & (column < width - 0.5) & (row >= -0.5) & (row < height - 0.5)
        u[i], v[i] = column, row


@compiled(cache=True, error_model="numpy")
def _project(points, K, D, equidistant, is_distorted, max_squared_radius, width, height):
    x, y, z = points[:, 0].copy(), points[:, 1].copy(), points[:, 2].copy()
    u, v, valid = np.empty(x.size), np.empty(x.size), np.empty(x.size, dtype=np.bool_)
    project_into(x, y, z, K, D, equidistant, is_distorted, max_squared_radius, width, height, u, v, valid)
    uv = np.empty((x.size, 2))
    for i in range(x.size):
        uv[i, 0], uv[i, 1] = (u[i], v[i]) if z[i] > _NEAREST_M else (np.nan, np.nan)
    return uv, valid


def _first_positive_root(coefficients: Any) -> float:
    roots = np.roots(coefficients)
    real = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0.0)]
    return float(real.min()) if real.size else math.inf


def _size(width: Any, height: Any) -> tuple[int, int]:
    if int(width) != width or int(height) != height or not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise UserError(
            f"camera: width and height must be whole numbers in 1..{_MAX_SIDE}, got {width} x {height}", "camera-size"
        )
    if width * height > limits().camera_pixels:
        raise UserError(
            f"camera: {width} x {height} are {width * height / 1e6:.0f} million pixels, {limits().camera_mpx} are "
            f"allowed; {raising('camera_mpx')}",
            "limit-exceeded",
        )
    return int(width), int(height)


def _frozen(values: Any, name: str) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"camera: {name} must hold numbers, got {values!r}", "camera-intrinsics") from None
    if not np.isfinite(array).all():
        raise UserError(
            f"camera: {name} holds NaN or infinity; calibrate the camera again or correct the number", "not-finite"
        )
    array.setflags(write=False)
    return array


def _intrinsics(values: Any) -> np.ndarray:
    K = _frozen(values, "K")
    if K.shape != (3, 3):
        raise UserError(f"camera: K must have shape (3, 3), got {K.shape}", "camera-intrinsics")
    if K[0, 0] <= 0.0 or K[1, 1] <= 0.0:
        raise UserError(
            f"camera: uncalibrated, focal lengths must be positive, got fx={K[0, 0]:g} fy={K[1, 1]:g}; "
            "give a calibration file",
            "camera-uncalibrated",
        )
    if K[1, 0] != 0.0 or not np.array_equal(K[2], [0.0, 0.0, 1.0]):
        raise UserError("camera: K must read [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]", "camera-intrinsics")
    return K


def _coefficients(values: Any, model: str) -> tuple[np.ndarray, str]:
    """D in the length of its model, and the model; UserError for a lens that no model here describes."""
    D = _frozen(values, "D")
    if (np.abs(D) > _LARGEST_COEFFICIENT).any():
        raise UserError(
            f"camera: D holds {np.abs(D).max():.3g}, which no lens has; calibrate the camera again", "camera-distortion"
        )
    if model == "plumb_bob" and D.ndim == 1 and D[5:].any():
        model = "rational_polynomial"  # OpenCV goes by the number of coefficients, whatever the model is called
    expected = DISTORTION_COEFFICIENTS[model]
    if D.ndim == 1 and D.size > expected:
        if D[expected:].any():
            way_out = "calibrate with fewer coefficients, or publish rectified images and set rectified to true"
            raise UserError(
                f"camera: {model} takes {expected} distortion coefficients in D, got {D.size} with others than 0 "
                f"behind them (thin prism, tilt): {way_out}",
                "camera-distortion",
            )
        D = _frozen(D[:expected], "D")
    may_be_shorter = D.size == 0 or (model == "plumb_bob" and D.size == 4) or (expected == 8 and D.size in (4, 5))
    if D.ndim == 1 and may_be_shorter:
        D = _frozen(np.concatenate([D, np.zeros(expected - D.size)]), "D")
    if D.shape != (expected,):
        raise UserError(
            f"camera: {model} takes {expected} distortion coefficients in D, got shape {D.shape}", "camera-distortion"
        )
    return D, model
