"""Whether the name of an image topic fits the lens that its camera_info describes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from any2seg_core.sensors.camera import CameraModel

_WORD_ENDS = re.compile(r"(?<=[a-z])(?=[A-Z])")  # imageRect is image_rect
_RECTIFIED = re.compile(
    r"(^|[/_])(rect(ified)?|undistort(ed)?|(?<!color_)(?<!colour_)corrected)([/_]|$)", re.IGNORECASE
)
_RAW = re.compile(r"(^|[/_])raw([/_]|$)", re.IGNORECASE)


def rectified_note(topic: str, msg: Any, rectified: bool) -> str:
    """What speaks against `rectified` in the name of the images that a sensor_msgs/CameraInfo goes with; "" if nothing.

    image_proc publishes rectified images beside the camera_info of the raw ones.
    """
    words = _WORD_ENDS.sub("_", topic)
    if rectified:
        called_raw = _RAW.search(words) and not _RECTIFIED.search(words)
        return f"{topic} is called raw, and rectified is true: is it rectified?" if called_raw else ""
    if not _RECTIFIED.search(words):
        return ""
    raw, straight = (CameraModel.from_camera_info(msg, choice, (1, 1)) for choice in (False, True))
    if not raw.is_distorted and np.allclose(raw.K, straight.K, rtol=1e-3):
        return ""
    return (
        f"{topic} is called rectified, and camera_info describes a lens (D is not zero, or P is not K): "
        "set rectified to true, or other sensors are drawn beside its picture"
    )
