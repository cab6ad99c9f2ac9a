"""Sensor files of a recipe -> arrays; what cannot be read is a CorruptFileError that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

from any2seg_core.base.array_files import read_array
from any2seg_core.base.errors import UserError
from any2seg_core.data.deliver import read_depth_m as read_carla_depth
from any2seg_core.data.images import CorruptFileError, read_image, three_channels
from any2seg_core.data.recipe_parts import SensorFiles
from any2seg_core.files.clouds import LIDAR_STRENGTHS, RADAR_STRENGTHS
from any2seg_core.files.events import read_events
from any2seg_core.files.points import read_stored_points
from any2seg_core.files.samples import read_stored_depth, require_metres
from any2seg_core.sensors.depth import whole_depth_m
from any2seg_core.sensors.returns import NO_RETURN_M2, IntensityScale, gather_returns, shares_of_range
from any2seg_core.vocabulary.sensor import COLOUR, GREY, THERMAL16, Sensor

_FULL = 255.0
_ORIENTATION, _EXIF_BYTES = 0x0112, 4096  # the tag, and where in a file EXIF begins at the latest
_TURNS = {
    3: cv2.ROTATE_180,
    6: cv2.ROTATE_90_CLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}  # mirrored ones do not occur
_Read = TypeVar("_Read")

_KEYS = {"points-ambiguous": "columns", "event-time-unit": "time_unit"}
"""Code of an error -> key of the recipe that says what the file does not."""


def own_error(name: str, read: Callable[[], _Read]) -> _Read:
    """What a reader gives; its UserError as the CorruptFileError of this one file, with the key that would help."""
    try:
        return read()
    except CorruptFileError:
        raise
    except UserError as error:
        if error.code == "package-missing":
            raise
        key = _KEYS.get(error.code)
        hint = f" (in a recipe: sensors.{name}.{key})" if key else ""
        raise CorruptFileError(f"{error}{hint}", error.code) from None


def read_points_and_kept(path: Path, sensor: Sensor, part: SensorFiles) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) float32 x, y, z in metres and intensity 0..1; and which (M,) rows of the file these N returns are.

    The intensity of a sensor with a range, as a radar's, is brought from that to 0..1. Others without
    ``intensity_max`` must have 0..1: found in each file by itself, the same surface would have another code in every
    frame.
    """
    strengths = LIDAR_STRENGTHS if sensor.value_range is None else RADAR_STRENGTHS
    stored = own_error(sensor.name, lambda: read_stored_points(path, ",".join(part.columns), strengths))
    with np.errstate(over="ignore", invalid="ignore"):
        x, y, z = (np.ascontiguousarray(column, np.float32) for column in stored[:3])
        strength = np.ones(1, np.float32) if stored.strength is None else stored.strength.astype(np.float32)
        kept = np.isfinite(x) & np.isfinite(y) & np.isfinite(z) & (x * x + y * y + z * z >= NO_RETURN_M2)
    if stored.strength is not None and sensor.value_range is not None:
        strength = shares_of_range(strength, sensor.value_range)
    elif stored.strength is not None and not part.intensity_max:
        found = IntensityScale().full(strength, is_unsigned=stored.strength.dtype.kind == "u")
        if found > 1.0:
            raise CorruptFileError(
                f"{path}: intensity goes up to {strength.max():g}: say which value means 1, "
                f"sensors.{sensor.name}.intensity_max: {found:.0f}",
                "file-content",
            )
    return gather_returns(x, y, z, strength, np.float32(part.intensity_max or 1.0)), kept


def read_depth(path: Path, name: str, part: SensorFiles, disparity_m: float = 0.0) -> np.ndarray:
    """(H, W) float32 metres, 0 where unknown.

    Args:
        disparity_m: focal length in pixels times baseline in metres, for ``coding: disparity``.
    """
    if part.coding == "carla":
        return read_carla_depth(path)
    stored = own_error(name, lambda: read_stored_depth(path))
    unknown = np.isin(stored, part.invalid) if part.invalid else np.zeros(1, bool)
    if part.coding == "sun-rgbd":  # the lowest three bits are the highest
        stored = (stored >> 3) | (stored << 13).astype(np.uint16)
    if stored.dtype.kind == "f":
        own_error(name, lambda: require_metres(path, stored))
        depth_m = stored.astype(np.float32)
    elif part.coding == "disparity":
        shift = np.maximum(stored.astype(np.float32) - 1.0, 0.0) / np.float32(part.depth_scale)  # pixels
        depth_m = np.divide(np.float32(disparity_m), shift, out=np.zeros_like(shift), where=shift > 0)
    else:
        depth_m = whole_depth_m(stored, part.depth_scale)
    return np.where(unknown, np.float32(0.0), depth_m)


def read_event_window(path: Path, name: str, part: SensorFiles) -> np.ndarray:
    """(N,) EVENT_DTYPE of a file; CorruptFileError for one without events."""
    events = own_error(name, lambda: read_events(path, part.time_unit))
    if not len(events):
        raise CorruptFileError(f"{path}: holds no events; restore it or remove the frame", "file-content")
    return events


def read_picture(path: Path, sensor: Sensor, upright_size: Callable[[], tuple[int, int] | None]) -> np.ndarray:
    """An image file -> (H, W, 3) uint8 RGB of a colour image, (H, W) uint8 of grey and thermal8, uint16 of thermal16.

    Args:
        upright_size: asked for a picture with an EXIF orientation: (H, W) that it shall have. It stays as it is stored
            where it has that size, and is turned where it has it then; None: turned.
    """
    image = _in_format(path, sensor, read_image(path, (np.uint16,) if sensor.format == THERMAL16 else (np.uint8,)))
    turn = _turn(path)
    if turn is None:
        return image
    size = upright_size()
    turned = cv2.rotate(image, turn)
    return turned if size is None or (image.shape[:2] != size and turned.shape[:2] == size) else image


def _in_format(path: Path, sensor: Sensor, image: np.ndarray) -> np.ndarray:
    if sensor.format == COLOUR:
        return three_channels(image)
    if image.ndim == 2:
        return image
    if sensor.format == GREY:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if (image != image[..., :1]).any():
        raise CorruptFileError(
            f"{path}: holds colours, which say no temperature: give the counts of {sensor.name}, one channel",
            "file-content",
        )
    return np.ascontiguousarray(image[..., 0])


def read_given_plane(path: Path, name: str) -> np.ndarray:
    """A plane that is taken as it is: 8-bit images as they are, 16-bit ones and float arrays as float32, 255 = 1."""
    if path.suffix != ".npy":
        image = read_image(path, (np.uint8, np.uint16))
        if image.dtype == np.uint16:
            image = image.astype(np.float32) / np.float32(np.iinfo(np.uint16).max) * np.float32(_FULL)
        return three_channels(image)
    array = own_error(name, lambda: read_array(path))
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or array.dtype.kind not in "fu":
        raise CorruptFileError(
            f"{path}: holds {array.dtype} {array.shape}, a plane is (H, W) or (H, W, 3) float or uint8", "file-content"
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float32) * np.float32(_FULL)
    return three_channels(array)


def _turn(path: Path) -> int | None:
    """How a picture is to be turned by its EXIF orientation; None for one that is upright, or says nothing."""
    with path.open("rb") as file:
        if b"Exif\0\0" not in file.read(_EXIF_BYTES):
            return None
    try:
        with Image.open(path) as opened:
            return _TURNS.get(int(opened.getexif().get(_ORIENTATION, 1)))
    except Exception:  # Pillow's parser raises whatever broken tags make it
        return None
