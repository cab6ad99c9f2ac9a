"""Pictures of all formats on the camera plane: codes of 8 bit, brought there by the rotation between the cameras."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only
from any2seg_core.sensors.lookup import Tables
from any2seg_core.vocabulary.sensor import COLOUR, PLANE, THERMAL8, THERMAL16, Sensor

_OUTSIDE = -2.0  # pixels: no part of the picture reaches so far


def image_codes(array: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Codes of a picture, before it is brought anywhere.

    Args:
        array: (H, W, 3) uint8 RGB of a colour image or plane, (H, W) uint8 of grey and thermal8, (H, W) uint16 counts
            of thermal16.

    Returns:
        (H, W, 3) or (H, W) uint8. Thermal: 0 at the lower end of the sensor's range and below, 255 at the upper end.

    Raises:
        UserError: another shape or dtype.
    """
    dtype = np.uint16 if sensor.format == THERMAL16 else np.uint8
    is_flat = sensor.format not in (COLOUR, PLANE)
    is_right = array.dtype == dtype and (array.ndim == 2 if is_flat else array.shape[2:] == (3,))
    if not is_right:
        order = "" if is_flat else " in RGB order"
        shape = "(H, W)" if is_flat else "(H, W, 3)"
        raise UserError(
            f"{sensor.name}: expected {shape} {np.dtype(dtype).name}{order}, got {array.shape} {array.dtype}",
            "array-shape",
        )
    if sensor.format not in (THERMAL8, THERMAL16):
        return array
    assert sensor.value_range is not None  # thermal sensors have one
    return _codes_of_range(*sensor.value_range, dtype)[array]


@lru_cache(maxsize=16)
def _codes_of_range(low: float, high: float, dtype: type) -> np.ndarray:
    """Code of each count, (256,) or (65536,) uint8."""
    counts = np.arange(np.iinfo(dtype).max + 1, dtype=np.float64)
    return read_only(np.round(255.0 * np.clip((counts - low) / (high - low), 0.0, 1.0)).astype(np.uint8))


def warp_image(codes: np.ndarray, source: CameraModel, target: CameraModel, rotation: np.ndarray) -> np.ndarray:
    """A picture as another camera at the same place would have taken it, bilinear; 0 where `source` does not look.

    The warp is the infinite homography K R K'^-1 (Hartley and Zisserman, section 8.4.2), lens distortion included:
    exact for distant things, and off by baseline * focal / distance for near ones.

    Args:
        codes: (H', W') or (H', W', 3) uint8 on the grid of `source`.
        rotation: (3, 3) float64, d_target = R @ d_source.

    Returns:
        (H, W) or (H, W, 3) uint8 on the grid of `target`.
    """
    places, weights = _maps.find(target, source, rotation.T)
    return cv2.remap(codes, places, weights, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def _make_maps(target: CameraModel, source: CameraModel, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where `source` sees what each pixel of `target` sees, as `cv2.remap` takes it: (H, W, 2) int16, (H, W) uint16."""
    pixels = np.full((target.height, target.width, 2), _OUTSIDE, np.float32)
    for rows in target.row_blocks():
        x, y = np.broadcast_arrays(*target.rays_of_rows(rows.start, rows.stop))
        rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3).astype(np.float64)  # (n,3)
        uv, valid = source.project(rays @ rotation.T)
        inside = np.clip(uv[valid], 0.0, (source.width - 1, source.height - 1))  # half a pixel beyond the last centre
        pixels[rows].reshape(-1, 2)[valid] = inside
    places, weights = cv2.convertMaps(pixels[..., 0], pixels[..., 1], cv2.CV_16SC2)
    return np.asarray(places), np.asarray(weights)


_maps = Tables(_make_maps)


def three_channels(codes: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 -> (H, W, 3)."""
    return codes if codes.ndim == 3 else cv2.merge([codes] * 3)
