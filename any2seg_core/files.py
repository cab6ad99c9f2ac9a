"""Sensor files -> arrays in SI units. Every defect is a UserError that names the file and the fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from any2seg_core.array_files import read_array, read_arrays
from any2seg_core.errors import UserError
from any2seg_core.limits import require_room
from any2seg_core.pictures import open_picture
from any2seg_core.sensors.events import EVENT_DTYPE

_POINT_FLOATS = 4
_EVENT_FIELDS = ("x", "y", "t", "p")


def read_rgb(path: Path) -> np.ndarray:
    """Colour or grey image file of 8 bits per channel -> (H, W, 3) uint8 RGB; an alpha channel is dropped."""
    image = _open_image(path)
    if image.mode.startswith(("I", "F")):  # Pillow would cut all that is brighter than 255 off
        raise UserError(f"{path} has {image.mode} pixels: a camera image has 8 bits per channel; convert it")
    return np.asarray(image.convert("RGB"))


def read_depth_m(path: Path) -> np.ndarray:
    """Depth file -> (H, W) float32 metres along the optical axis.

    ``.npy``: float metres. Image with one 16-bit channel: millimetres, 0 = invalid.
    """
    if path.suffix == ".npy":
        depth = read_array(path)
        if depth.ndim != 2 or depth.dtype.kind != "f":
            raise UserError(f"{path} holds {depth.dtype} {depth.shape}: a depth .npy is (H, W) float metres")
        return depth.astype(np.float32)
    image = np.asarray(_open_image(path))
    if image.ndim != 2 or image.dtype not in (np.uint16, np.int32):
        raise UserError(
            f"{path} has {image.dtype} pixels of shape {image.shape}: a depth image has one 16-bit channel of "
            "millimetres; give metres as a float .npy otherwise"
        )
    return image.astype(np.float32) / 1000.0


def read_points(path: Path) -> np.ndarray:
    """LiDAR file -> (N, 4) float32: x, y, z in metres in the LiDAR frame, intensity 0..1.

    ``.bin``: consecutive little-endian float32 rows, as KITTI writes them. ``.npy``: (N, 4) or (N, 3) float.
    """
    if path.suffix == ".npy":
        points = read_array(path)
        if points.ndim != 2 or points.shape[1] not in (3, 4) or points.dtype.kind != "f":
            raise UserError(f"{path} holds {points.dtype} {points.shape}: a LiDAR .npy is (N, 4) float x y z intensity")
        if points.shape[1] == 3:
            points = np.column_stack([points, np.ones(len(points))])  # (N, 4)
        return np.ascontiguousarray(points, np.float32)
    values = np.frombuffer(_read_bytes(path), "<u1")
    if values.size == 0 or values.size % (4 * _POINT_FLOATS):
        raise UserError(
            f"{path} has {values.size} bytes, not rows of {_POINT_FLOATS} float32 (x y z intensity): "
            "convert it, or give an .npy"
        )
    return values.view("<f4").reshape(-1, _POINT_FLOATS).astype(np.float32)  # (N, 4)


def read_events(path: Path) -> np.ndarray:
    """Event file -> (N,) structured array EVENT_DTYPE, t in nanoseconds.

    ``.npz`` with arrays x, y, t (ns) and p (0 or 1, or -1 and 1), or ``.npy`` with a structured array of these fields.
    """
    columns = _load_columns(path)
    missing = [name for name in _EVENT_FIELDS if name not in columns]
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}: event files hold x, y, t (nanoseconds) and p")
    sizes = {name: columns[name].shape for name in _EVENT_FIELDS}
    if len(set(sizes.values())) > 1 or columns["x"].ndim != 1:
        raise UserError(f"{path} has arrays of shapes {sizes}: x, y, t and p must be one-dimensional and equally long")
    count = len(columns["x"])
    require_room(count * EVENT_DTYPE.itemsize, path.stat().st_size, f"{path}: a file of {count} events")
    events = np.empty(count, EVENT_DTYPE)
    for name in ("x", "y", "t"):
        events[name] = _whole_numbers(path, name, columns[name], np.iinfo(EVENT_DTYPE[name]))
    if columns["p"].dtype.kind not in "biuf":
        raise UserError(f"{path} has {columns['p'].dtype} as p: polarity is 0 or 1, or -1 and 1")
    events["p"] = np.where(columns["p"] > 0, 1, -1)
    return events


def _whole_numbers(path: Path, name: str, values: np.ndarray, limits: np.iinfo) -> np.ndarray:
    """The values if nothing is lost by storing them as integers: seconds, NaN and -1 must not wrap round silently."""
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.floor(values)).all()))
    if not whole or (values.size and not limits.min <= values.min() <= values.max() <= limits.max):
        unit = "nanoseconds" if name == "t" else "pixels"
        raise UserError(f"{path}: {name} must be whole {unit} in {limits.min}..{limits.max}; convert this array")
    return values


def _open_image(path: Path) -> Image.Image:
    try:
        return open_picture(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no image at {path}: check the path") from None
    except (OSError, UserError) as error:
        raise UserError(f"{path} is not a readable image ({error}): give a PNG or JPEG") from None


def _load_columns(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an .npz archive, or fields of a structured .npy array, by name."""
    loaded = read_arrays(path)
    return loaded if isinstance(loaded, dict) else {name: loaded[name] for name in loaded.dtype.names or ()}


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no file at {path}: check the path") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check that it is a file you may read") from None
