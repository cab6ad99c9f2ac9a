"""Sensor files -> arrays in SI units. Every defect is a UserError that names the file and the fix."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from any2seg_core.base.array_files import read_array, read_arrays
from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import require_room
from any2seg_core.base.pictures import open_picture, picture_head
from any2seg_core.runtime.point_files import read_points
from any2seg_core.sensors.events import EVENT_DTYPE

__all__ = ["read_depth_m", "read_events", "read_points", "read_rgb"]

_LOG = logging.getLogger(__name__)

_ORIENTATION = 0x0112  # tag of EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_BYTES_OF_8_BITS = 4  # per pixel with 8 bits per channel, at most
_EVENT_FIELDS = ("x", "y", "t", "p")


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


def read_depth_m(path: Path, per_metre: float = 1000.0) -> np.ndarray:
    """Depth file -> (H, W) float32 metres along the optical axis.

    ``.npy``: float metres. Image with one 16-bit channel: `per_metre` units a metre (1000: millimetres, 256: KITTI),
    0 = invalid.
    """
    if not 0.0 < per_metre < float("inf"):
        raise UserError(
            f"depth scale {per_metre:g}: give units per metre, 1000 for millimetres, 256 for KITTI", "value-range"
        )
    if path.suffix == ".npy":
        depth = read_array(path)
        if depth.ndim != 2 or depth.dtype.kind != "f":
            raise UserError(
                f"{path} holds {depth.dtype} {depth.shape}: a depth .npy is (H, W) float metres", "file-content"
            )
        return depth.astype(np.float32)
    image = np.asarray(_open_image(path))
    if image.ndim != 2 or image.dtype not in (np.uint16, np.int32):
        raise UserError(
            f"{path} has {image.dtype} pixels of shape {image.shape}: a depth image has one 16-bit channel of "
            "millimetres; give metres as a float .npy otherwise",
            "file-content",
        )
    return image.astype(np.float32) / np.float32(per_metre)


def read_events(path: Path) -> np.ndarray:
    """Event file -> (N,) structured array EVENT_DTYPE, t in nanoseconds.

    ``.npz`` with arrays x, y, t (ns) and p (0 or 1, or -1 and 1), or ``.npy`` with a structured array of these fields.
    """
    columns = _load_columns(path)
    missing = [name for name in _EVENT_FIELDS if name not in columns]
    if missing:
        raise UserError(
            f"{path} has no {', '.join(missing)}: event files hold x, y, t (nanoseconds) and p", "file-content"
        )
    sizes = {name: columns[name].shape for name in _EVENT_FIELDS}
    if len(set(sizes.values())) > 1 or columns["x"].ndim != 1:
        raise UserError(
            f"{path} has arrays of shapes {sizes}: x, y, t and p must be one-dimensional and equally long",
            "file-content",
        )
    count = len(columns["x"])
    require_room(count * EVENT_DTYPE.itemsize, path.stat().st_size, f"{path}: a file of {count} events")
    events = np.empty(count, EVENT_DTYPE)
    for name in ("x", "y", "t"):
        events[name] = _whole_numbers(path, name, columns[name], np.iinfo(EVENT_DTYPE[name]))
    if columns["p"].dtype.kind not in "biuf":
        raise UserError(f"{path} has {columns['p'].dtype} as p: polarity is 0 or 1, or -1 and 1", "file-content")
    events["p"] = np.where(columns["p"] > 0, 1, -1)
    return events


def _whole_numbers(path: Path, name: str, values: np.ndarray, limits: np.iinfo) -> np.ndarray:
    """The values if nothing is lost by storing them as integers: seconds, NaN and -1 must not wrap round silently."""
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.floor(values)).all()))
    if not whole or (values.size and not limits.min <= values.min() <= values.max() <= limits.max):
        unit = "nanoseconds" if name == "t" else "pixels"
        raise UserError(
            f"{path}: {name} must be whole {unit} in {limits.min}..{limits.max}; convert this array", "file-content"
        )
    return values


def _open_image(path: Path) -> Image.Image:
    try:
        return open_picture(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no image at {path}: check the path", "file-missing") from None
    except (OSError, UserError) as error:
        raise UserError(f"{path} is not a readable image ({error}): give a PNG or JPEG", "file-format") from None


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


def _load_columns(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an .npz archive, or fields of a structured .npy array, by name."""
    loaded = read_arrays(path)
    return loaded if isinstance(loaded, dict) else {name: loaded[name] for name in loaded.dtype.names or ()}
