"""Pictures of a moment: what each sensor saw, points over the camera's picture, and what the model makes of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from any2seg_core.base.errors import UserError
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.overlay import overlay
from any2seg_core.sensors.alignment import draw_points, range_colours
from any2seg_core.view.moments import Moment
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, POINTS

_ALPHA = 0.5
_QUALITY = 85
_WIDEST = 1280  # a page of pictures, not the recording itself
OVERLAY, LABELS, CONFIDENCE = "overlay", "labels", "confidence"


class Picture(NamedTuple):
    """One picture of a moment. name: in its address. pixels: draws it, (H, W, 3) uint8 RGB."""

    name: str
    title: str
    pixels: Callable[[], np.ndarray]


def pictures_of(moment: Moment, suite: SensorSuite, space: LabelSpace | None) -> list[Picture]:
    """What there is to see, the camera first; empty where there is no set.

    Args:
        suite: of the sensors. space: classes of the labels; None without a checkpoint.
    """
    frame = moment.frame
    return [] if frame is None else [*_of_sensors(frame, suite), *_of_labels(moment, frame, suite, space)]


def _of_labels(moment: Moment, frame: Frame, suite: SensorSuite, space: LabelSpace | None) -> Iterator[Picture]:
    result = moment.segmentation
    if result is None or space is None:
        return
    drawn = partial(overlay, result.labels, frame.planes, space, _ALPHA, suite)
    yield Picture(OVERLAY, "labels over it", drawn)
    yield Picture(LABELS, "labels", partial(space.colourise, result.labels))
    if result.confidence is not None:
        yield Picture(CONFIDENCE, "confidence, bright is sure", partial(_grey, result.confidence))


def _of_sensors(frame: Frame, suite: SensorSuite) -> Iterator[Picture]:
    camera = frame.planes.get(suite.camera)
    for name in sorted(frame.planes, key=lambda each: each != suite.camera):
        sensor, plane = suite.sensor(name), frame.planes[name]
        if sensor.kind == POINTS and camera is not None and _has_place(frame, name):
            assert frame.rig is not None  # see _has_place
            drawn = partial(draw_points, camera, frame.samples[name], frame.rig.calibration, name, suite)
            yield Picture(name, f"{sensor.title} on the camera", drawn)
        elif sensor.kind == DEPTH and frame.samples[name].ndim == 2:
            yield Picture(name, f"{sensor.title}, red is near", partial(_depth, frame.samples[name]))
        else:
            yield Picture(name, sensor.title, partial(np.asarray, plane))


def _has_place(frame: Frame, name: str) -> bool:
    return frame.rig is not None and frame.rig.calibration.place(name, frame.rig.suite).to_camera is not None


def _depth(depth_m: np.ndarray) -> np.ndarray:
    """(H, W) metres -> colours of points as near; black where nothing was measured."""
    is_known = np.isfinite(depth_m) & (depth_m > 0)
    colours = range_colours(np.where(is_known, depth_m, 1.0))
    return np.where(is_known[..., None], colours, np.uint8(0))


def _grey(share: np.ndarray) -> np.ndarray:
    return np.repeat(np.round(share * 255).astype(np.uint8)[..., None], 3, axis=2)


def encoded(picture: Picture) -> tuple[bytes, str]:
    """Bytes of an image file and their media type; the file is at most 1280 pixels wide.

    UserError where the sensor's array does not fit its calibration.
    """
    pixels = picture.pixels()
    height, width = pixels.shape[:2]
    if width > _WIDEST:
        how = cv2.INTER_NEAREST if picture.name == LABELS else cv2.INTER_AREA
        pixels = cv2.resize(pixels, (_WIDEST, max(round(height * _WIDEST / width), 1)), interpolation=how)
    buffer, image = io.BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if picture.name == LABELS:
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), "image/png"
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue(), "image/jpeg"


def named(pictures: list[Picture], name: str) -> Picture:
    """One of them; UserError where the moment has none of this name."""
    found = next((picture for picture in pictures if picture.name == name), None)
    if found is None:
        raise UserError(f"no picture {name!r}: there are {', '.join(each.name for each in pictures)}", "value-unknown")
    return found
