"""Whether the name of an image topic fits the lens that its camera_info describes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.camera_info import camera_info_fields

_WORD_ENDS = re.compile(r"(?<=[a-z])(?=[A-Z])")  # imageRect is image_rect
_RECTIFIED = re.compile(
    r"(^|[/_])(rect(ified)?|undistort(ed)?|(?<!color_)(?<!colour_)corrected)([/_]|$)", re.IGNORECASE
)
_OFF_CENTRE = 0.055  # of the width or the height; KITTI's K: 0.060 and 0.098, its P: 0.009 and 0.039
_RAW = re.compile(r"(^|[/_])raw([/_]|$)", re.IGNORECASE)


def rectified_note(topic: str, msg: Any, rectified: bool) -> str:
    """What speaks against `rectified` in a sensor_msgs/CameraInfo and the name of its images; "" if nothing.

    image_proc publishes rectified images beside the camera_info of the raw ones; kitti2bag calls KITTI's rectified and
    cut images raw.
    """
    words = _WORD_ENDS.sub("_", topic)
    (x, y), of_straight = (_principal_point(msg, choice) for choice in (False, True))
    is_cut = _is_off_centre(x, y) and not _is_off_centre(*of_straight)
    if rectified:
        called_raw = _RAW.search(words) and not _RECTIFIED.search(words)
        return f"{topic} is called raw, and rectified is true: is it rectified?" if called_raw and not is_cut else ""
    raw, straight = (CameraModel.from_camera_info(msg, choice, (1, 1)) for choice in (False, True))
    if not raw.is_distorted and np.allclose(raw.K, straight.K, rtol=1e-3):
        return ""
    if _RECTIFIED.search(words):
        return (
            f"{topic} is called rectified, and camera_info describes a lens (D is not zero, or P is not K): "
            "set rectified to true, or other sensors are drawn beside its picture"
        )
    if not is_cut:
        return ""
    return (
        f"{topic} seems to be rectified and cut, as KITTI's is: the principal point of K lies at {100 * x:.0f} % of "
        f"its width and {100 * y:.0f} % of its height, that of P near the middle: set rectified to true, or other "
        "sensors are drawn beside its picture"
    )


def _principal_point(msg: Any, rectified: bool) -> tuple[float, float]:
    """As shares of width and height."""
    fields = camera_info_fields(msg, rectified, (1, 1))
    return fields["K"][0, 2] / fields["width"], fields["K"][1, 2] / fields["height"]


def _is_off_centre(x: float, y: float) -> bool:
    """Farther from the middle than any lens is mounted."""
    return max(abs(x - 0.5), abs(y - 0.5)) > _OFF_CENTRE
