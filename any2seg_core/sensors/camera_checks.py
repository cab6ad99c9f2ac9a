"""Whether a camera_info fits what else is known: the calibration, and the name of the images that it comes with."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from any2seg_core.errors import MessageError
from any2seg_core.sensors.camera import CameraModel

_RECTIFIED = re.compile(r"(^|[/_])rect(ified)?([/_]|$)", re.IGNORECASE)
_RAW = re.compile(r"(^|[/_])raw([/_]|$)", re.IGNORECASE)
_FOCAL_FACTOR = 2.0  # no lens changes by itself so much; a K of CARLA 0.9.16 is off by four and more


def rectified_note(topic: str, msg: Any, rectified: bool) -> str:
    """What speaks against `rectified` in the name of the images that a sensor_msgs/CameraInfo goes with; "" if nothing.

    image_proc publishes rectified images beside the camera_info of the raw ones.
    """
    if rectified:
        called_raw = _RAW.search(topic) and not _RECTIFIED.search(topic)
        return f"{topic} is called raw, and rectified is true: is it rectified?" if called_raw else ""
    if not _RECTIFIED.search(topic):
        return ""
    raw, straight = (CameraModel.from_camera_info(msg, choice, (1, 1)) for choice in (False, True))
    if not raw.is_distorted and np.allclose(raw.K, straight.K, rtol=1e-3):
        return ""
    return (
        f"{topic} is called rectified, and camera_info describes a lens (D is not zero, or P is not K): "
        "set rectified to true, or other sensors are drawn beside its picture"
    )


def check_focal_lengths(said: CameraModel, known: CameraModel | None) -> None:
    """MessageError when a camera_info contradicts the calibration; another size may be scaled or cut out."""
    if known is None:
        return
    scales = (1.0, said.width / known.width, said.height / known.height)
    for axis in range(2):
        focal, expected = said.K[axis, axis], known.K[axis, axis]
        low, high = min(scales) * expected / _FOCAL_FACTOR, max(scales) * expected * _FOCAL_FACTOR
        if not low <= focal <= high:
            raise MessageError(
                f"camera_info: focal length {focal:.0f} px contradicts the calibration's {expected:.0f} px at "
                f"{known.width}x{known.height} (CARLA 0.9.16 publishes a wrong K): correct the publisher or the file",
                "geometry",
            )
