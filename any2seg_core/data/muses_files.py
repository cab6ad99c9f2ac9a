"""Files of MUSES -> arrays: calib.json, LiDAR `.bin`, event `.h5`, and the images that its SDK projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.array_files import read_arrays
from any2seg_core.base.errors import UserError
from any2seg_core.base.pictures import read_picture
from any2seg_core.base.text_files import read_json
from any2seg_core.data.images import CorruptFileError
from any2seg_core.files.event_hdf5 import h5py_with_filters, read_hdf5_events
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.lidar import encode_projection

CALIBRATION_FILE = "calib.json"
PROJECTED_FOLDER = "projected_to_rgb"
CAMERA_SIZE = (1920, 1080)  # width, height
EVENT_SIZE = (1280, 720)

_POINT_COLUMNS = 6  # x front, y left, z up (m), intensity 0..255, ring, time (s)
_FULL_INTENSITY = 255.0
_NEAREST_M = 1.0  # the SDK drops what is nearer: returns from the car itself
_PNG_SCALE, _PNG_SHIFT = 150.0, 100.0  # the SDK's 16-bit images hold (value + 100) * 150


def read_calibration(root: Path) -> Calibration:
    """calib.json -> the camera's plane with transforms of LiDAR and event camera; UserError names the missing key.

    MUSES' images and events are free of lens distortion already.
    """
    path = root / CALIBRATION_FILE
    if not path.exists():
        raise UserError(f"{path}: missing; raw sensor files need it, it comes with MUSES", "file-missing")
    document = read_json(path)
    try:
        camera, event = (_entry(document, "intrinsics", name, "K") for name in ("rgb", "event"))
        lidar_to_camera, event_to_camera = (
            _transform(_entry(document, "extrinsics", name)) for name in ("lidar2rgb", "event2rgb")
        )
        return Calibration(
            CameraModel(*CAMERA_SIZE, camera, frame_id="frame_camera"),
            event_camera=CameraModel(*EVENT_SIZE, event, frame_id="event_camera"),
            lidar_to_camera=lidar_to_camera,
            event_to_camera=event_to_camera,
        )
    except UserError as error:
        raise UserError(f"{path}: {error}", error.code) from None


def _entry(document: Any, *keys: str) -> Any:
    for depth, key in enumerate(keys):
        if not isinstance(document, dict) or key not in document:
            raise UserError(
                f"has no {'.'.join(keys[: depth + 1])}; take the calib.json that comes with MUSES", "key-missing"
            )
        document = document[key]
    return document


def _transform(values: Any) -> Any:
    """The last row of a rigid transform may be left out."""
    is_short = isinstance(values, list) and len(values) == 3
    return [*values, [0.0, 0.0, 0.0, 1.0]] if is_short else values


def read_points(path: Path) -> np.ndarray:
    """LiDAR `.bin`, rows of six float64 -> (N, 4) float32 x, y, z (m) and intensity 0..1; nothing nearer than 1 m."""
    try:
        values = np.fromfile(path, "<f8")
        size = path.stat().st_size
    except OSError as error:
        raise CorruptFileError(f"{path}: cannot be read ({error.strerror}); restore it", "file-unreadable") from None
    if size == 0 or size % (8 * _POINT_COLUMNS):
        raise CorruptFileError(
            f"{path}: has {size} bytes, not rows of {_POINT_COLUMNS} float64; download it again", "file-content"
        )
    rows = values.reshape(-1, _POINT_COLUMNS)  # (N, 6)
    points = rows[:, :4].astype(np.float32)
    points[:, 3] /= _FULL_INTENSITY
    return points[np.linalg.norm(rows[:, :3], axis=1) >= _NEAREST_M]


def read_events(path: Path, window_ns: int) -> np.ndarray:
    """Event `.h5` -> (N,) EVENT_DTYPE (t in nanoseconds) of the last ``window_ns``; needs the extra ``muses``.

    The window ends at the newest event and is open at its start.
    """
    h5py_with_filters("muses")  # one that is missing is no corrupt file
    try:
        return read_hdf5_events(path, "us", window_ns, extra="muses")
    except UserError as error:
        raise CorruptFileError(f"{error}; download it again, or use source=projected", error.code) from None


def read_projection(path: Path, name: str) -> np.ndarray:
    """An image of the SDK's projection script -> (H, W, 3) uint8 plane.

    LiDAR: the codes of `project_points` without its footprint, height over the LiDAR instead of the camera. Events: 40
    per positive and per negative event, saturating (the SDK's counts wrap at 256), no recency.
    """
    image = _load(path)
    if image.ndim != 3 or image.shape[2] != 3:
        raise CorruptFileError(
            f"{path}: expected (H, W, 3) of the SDK, got {image.shape}; project it again", "file-content"
        )
    if name == "event":
        if image.dtype.kind not in "uif":
            raise CorruptFileError(
                f"{path}: holds {image.dtype}, expected counts of events; project it again", "file-content"
            )
        return np.clip(np.nan_to_num(image.astype(np.float32)) * 40.0, 0.0, 255.0).astype(np.uint8)
    if image.dtype == np.uint16:
        image = image.astype(np.float32) / _PNG_SCALE - _PNG_SHIFT
    elif image.dtype.kind != "f":
        raise CorruptFileError(
            f"{path}: holds {image.dtype}, expected float32 or a 16-bit PNG; project it again", "file-content"
        )
    scaled = image.astype(np.float32)
    scaled[..., 1] /= _FULL_INTENSITY
    return encode_projection(scaled)


def _load(path: Path) -> np.ndarray:
    if path.suffix == ".png":
        try:
            return read_picture(path)  # written by OpenCV: comes back in the order it was in
        except UserError as error:
            raise CorruptFileError(
                f"{path}: not a readable image ({error}); project this scene again", "file-format"
            ) from None
    try:
        loaded = read_arrays(path)
        return loaded["arr_0"] if isinstance(loaded, dict) else loaded
    except (UserError, KeyError) as error:
        reason = error if isinstance(error, UserError) else f"{path}: no NumPy file of the SDK"
        raise CorruptFileError(f"{reason}; project it again", "file-format") from None
