"""Sensor files -> arrays in SI units. Every defect is a UserError that names the file and the fix."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from any2seg_core.base.array_files import read_arrays
from any2seg_core.base.errors import UserError
from any2seg_core.base.pictures import open_picture, picture_head, read_picture
from any2seg_core.files.events import read_events
from any2seg_core.files.points import read_points
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.depth import MAX_DEPTH_M, whole_depth_m
from any2seg_core.sensors.returns import IntensityScale
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, GREY, POINTS, THERMAL8, THERMAL16, Sensor

__all__ = ["FileOptions", "read_depth_m", "read_events", "read_points", "read_rgb", "read_samples"]

_LOG = logging.getLogger(__name__)

_ORIENTATION = 0x0112  # tag of EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_MILLIMETRES = 1000.0
_LEAST_DEPTH_BYTES = 2  # 8 bits of millimetres end at 0.26 m
_BYTES_OF_8_BITS = 4  # per pixel with 8 bits per channel, at most


@dataclass(frozen=True)
class FileOptions:
    """What files do not say themselves; the defaults leave it to the readers.

    Attributes:
        depth_scale: see `read_depth_m`. event_time_unit: see `read_events`. point_columns, intensity_max: see
            `read_points`.
    """

    depth_scale: float = 0.0
    event_time_unit: str = ""
    point_columns: str = ""
    intensity_max: float = 0.0


def read_samples(
    paths: Mapping[str, Path],
    calibration: Calibration | None,
    options: FileOptions,
    suite: SensorSuite = VEHICLE,
    scales: Mapping[str, IntensityScale] | None = None,
) -> dict[str, np.ndarray]:
    """One file per sensor -> its raw array, as `SensorRig.planes` takes it; UserError names the file at fault.

    Args:
        scales: sensor -> what its files before have told of its intensity, where these files are not the first.
    """
    read = {}
    for name, path in paths.items():
        scale = None if scales is None else scales.get(name)
        read[name] = _read(suite.sensor(name), path, calibration, options, suite, scale)
    return read


def _read(
    sensor: Sensor,
    path: Path,
    calibration: Calibration | None,
    options: FileOptions,
    suite: SensorSuite,
    scale: IntensityScale | None,
) -> np.ndarray:
    if sensor.kind == DEPTH:
        return read_depth_m(path, options.depth_scale)
    if sensor.kind == POINTS:
        return read_points(path, options.point_columns, options.intensity_max, sensor.value_range, scale)
    size = None
    if calibration is not None:
        camera = calibration.place(sensor.name, suite).camera or calibration.camera
        size = (camera.height, camera.width)
    if sensor.kind == EVENTS:
        return read_events(path, options.event_time_unit, size)
    if sensor.format in (THERMAL8, THERMAL16):
        return read_counts(path, 2 if sensor.format == THERMAL16 else 1)
    colours = read_rgb(path, size)
    return cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY) if sensor.format == GREY else colours


def read_counts(path: Path, bytes_per_count: int) -> np.ndarray:
    """Image file of a thermal camera -> (H, W) raw counts, uint8 or uint16; UserError for colours or another size."""
    pixels = read_picture(path)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():  # grey that was stored as colour
        pixels = np.ascontiguousarray(pixels[..., 0])
    if pixels.ndim != 2 or pixels.dtype != np.dtype(f"u{bytes_per_count}"):
        raise UserError(
            f"{path} has {pixels.dtype} pixels of shape {pixels.shape}: the suite says one channel of counts of "
            f"{8 * bytes_per_count} bits; give such an image or correct its format",
            "file-content",
        )
    return pixels


def read_rgb(path: Path, camera_size: tuple[int, int] | None = None) -> np.ndarray:
    """Colour or grey image file of 8 bits per channel -> (H, W, 3) uint8 RGB; an alpha channel is dropped.

    A picture with an EXIF orientation is turned upright, as viewers show it, and a warning is logged. It stays as it is
    stored where that is the size of the calibrated camera, whose intrinsics hold for the sensor's own rows and columns.

    Args:
        camera_size: (H, W) of the calibrated camera; None: there is no calibration.
    """
    image = _open_image(path)
    if image.mode.startswith(("I", "F")) or _has_16_bits(path):  # Pillow would cut bits off
        raise UserError(
            f"{path} has more than 8 bits per channel: a camera image has 8; convert it by its significant bits",
            "file-content",
        )
    turned = _UPRIGHT.get(_orientation(image))
    if turned is not None:
        is_stored = camera_size == (image.height, image.width)
        rule = "read as stored, as the calibration has it" if is_stored else "turned upright"
        _LOG.warning("%s: has an EXIF orientation: %s", path, rule)
        image = image if is_stored else image.transpose(turned)
    return np.asarray(image.convert("RGB"))


def read_depth_m(path: Path, per_metre: float = 0.0) -> np.ndarray:
    """Depth file -> (H, W) float32 metres along the optical axis; 0 = invalid.

    Floats, in ``.npy``, ``.npz`` of one array or TIFF, are metres. Whole numbers, in these or in an image of one 16-bit
    channel, are `per_metre` units a metre; 65535 is no depth, as 0.

    Args:
        per_metre: 1000 for millimetres, 256 for KITTI; 0: millimetres, and a warning says so, as no file does.

    Raises:
        UserError: another kind of image, or floats of which most are beyond 1 km, which are no metres.
    """
    if not 0.0 <= per_metre < float("inf"):
        raise UserError(
            f"depth scale {per_metre:g}: give units per metre, 1000 for millimetres, 256 for KITTI", "value-range"
        )
    depth = read_stored_depth(path)
    if depth.dtype.kind == "f":
        require_metres(path, depth)
        return depth.astype(np.float32)
    depth_m = whole_depth_m(depth, per_metre or _MILLIMETRES)
    if not per_metre and depth.any():
        reach = f"up to {depth_m.max():.1f} m"
        _LOG.warning("%s: depth is read as millimetres, %s (--depth-scale 256 for KITTI's)", path, reach)
    return depth_m


def read_stored_depth(path: Path) -> np.ndarray:
    """Depth file -> (H, W) whole numbers or floats as they are stored; see `read_depth_m`."""
    if path.suffix in (".npy", ".npz"):
        depth = _single_array(path)
        if depth.ndim != 2 or depth.dtype.kind not in "fiu" or depth.dtype.itemsize < _LEAST_DEPTH_BYTES:
            raise UserError(
                f"{path} holds {depth.dtype} {depth.shape}: a depth array is (H, W) float metres, or whole numbers of "
                "at least 16 bits",
                "file-content",
            )
    else:
        depth = np.asarray(_open_image(path, "a 16-bit PNG, a TIFF, or metres as a float .npy"))
        if depth.ndim != 2 or depth.dtype not in (np.uint16, np.int32, np.float32):
            raise UserError(
                f"{path} has {depth.dtype} pixels of shape {depth.shape}: a depth image has one 16-bit channel of "
                "millimetres, or float metres (TIFF); give metres as a float .npy otherwise",
                "file-content",
            )
    return depth


def _single_array(path: Path) -> np.ndarray:
    loaded = read_arrays(path)
    if isinstance(loaded, dict):
        if len(loaded) != 1:
            raise UserError(
                f"{path} is an .npz archive of {', '.join(loaded) or 'nothing'}: give one array of depth",
                "file-content",
            )
        return next(iter(loaded.values()))
    return loaded


def require_metres(path: Path, depth: np.ndarray) -> None:
    """UserError for (H, W) floats of which most are beyond 1 km."""
    values = depth[np.isfinite(depth) & (depth > 0)]
    if values.size and np.median(values) > MAX_DEPTH_M:
        raise UserError(
            f"{path} holds floats around {np.median(values):.0f}, which are no metres: divide millimetres by 1000",
            "file-content",
        )


def _open_image(path: Path, way_out: str = "a PNG or JPEG") -> Image.Image:
    try:
        return open_picture(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no image at {path}: check the path", "file-missing") from None
    except (OSError, UserError) as error:
        raise UserError(f"{path} is not a readable image ({error}): give {way_out}", "file-format") from None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow's parser raises whatever broken tags make it
        return 1


def _has_16_bits(path: Path) -> bool:
    """Whether a PNG has 16-bit channels, of which Pillow keeps the upper half of colours and says nothing."""
    try:
        return picture_head(path.read_bytes()).pixel_bytes > _BYTES_OF_8_BITS
    except (OSError, UserError):  # a plain bmp or ppm
        return False
