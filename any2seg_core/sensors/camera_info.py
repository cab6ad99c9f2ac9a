"""Fields of a sensor_msgs/CameraInfo, in the case of ROS 1 or of ROS 2."""

from __future__ import annotations

from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError

UNNAMED_FRAME = "camera"
"""frame_id of intrinsics that name none: then the frame of the images holds."""
# A lens of less than two degrees is not on a car; CARLA 0.9.16 publishes such numbers by mistake (carla#9462).
_MAX_FOCAL_PER_WIDTH = 30.0


def camera_info_notes(msg: Any, rectified: bool) -> tuple[str, ...]:
    """What in a readable sensor_msgs/CameraInfo a user should know, one line each; most messages give nothing."""
    if not rectified:
        return ()
    P = _matrix(msg, "p", (3, 4))
    if P[0, 0] == 0.0:
        return ("camera_info has no P (P[0] is 0): K and D are used, as if the image were not rectified",)
    if P[0, 3] != 0.0 or P[1, 3] != 0.0:
        return ("camera_info's P holds the baseline of a stereo pair: transforms must lead to this very camera",)
    return ()


def _read(msg: Any, *names: str) -> Any:
    for name in names:
        if hasattr(msg, name):
            return getattr(msg, name)
    raise MessageError(f"camera_info: no field {names[0]!r}; expected a sensor_msgs/CameraInfo", "field")


def _matrix(msg: Any, name: str, shape: tuple[int, int]) -> np.ndarray:
    try:
        values = np.array(_read(msg, name, name.upper()), dtype=np.float64)
        return values.reshape(shape)
    except (TypeError, ValueError):
        raise MessageError(f"camera_info: field {name!r} must hold {shape[0] * shape[1]} numbers", "field") from None


def _size_of_images(size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        raise MessageError(
            "camera_info: width and height are 0, and the size of its images is not known yet; fill them in the driver",
            "size",
        )
    return size


def camera_info_fields(msg: Any, rectified: bool, size: tuple[int, int] | None) -> dict[str, Any]:
    """Arguments of a CameraModel, as `CameraModel.from_camera_info` says; MessageError as there."""
    K, D, model = _matrix(msg, "k", (3, 3)), _read(msg, "d", "D"), str(_read(msg, "distortion_model"))
    if K[0, 0] == 0.0:
        raise MessageError(
            "camera_info: uncalibrated (K[0] == 0); calibrate the camera or give a calibration file", "value"
        )
    if rectified:
        P = _matrix(msg, "p", (3, 4))
        if P[0, 0] != 0.0:  # publishers that leave P at zero are common
            K, D, model = P[:, :3].copy(), [], "plumb_bob"
    width, height = _read(msg, "width"), _read(msg, "height")
    try:
        binning = [max(int(_read(msg, name)), 1) for name in ("binning_x", "binning_y")]
        roi = _read(msg, "roi")
        x, y, roi_width, roi_height = (int(_read(roi, n)) for n in ("x_offset", "y_offset", "width", "height"))
        if roi_width > 0 and roi_height > 0:
            width, height = roi_width, roi_height
        width, height = int(width) // binning[0], int(height) // binning[1]
        if width == 0 or height == 0:
            height, width = _size_of_images(size)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, MessageError):
            raise
        raise MessageError(f"camera_info: sizes, binning and roi must be whole numbers ({error})", "field") from None
    K[0, 2] -= x
    K[1, 2] -= y
    K[0] /= binning[0]
    K[1] /= binning[1]
    if K[0, 0] > _MAX_FOCAL_PER_WIDTH * max(width, 1):
        raise MessageError(
            f"camera_info: focal length {K[0, 0]:.0f} px is implausible for a width of {width} px "
            "(CARLA 0.9.16 publishes such a K by mistake); give a calibration file",
            "value",
        )
    frame_id = str(getattr(getattr(msg, "header", None), "frame_id", "") or UNNAMED_FRAME)
    return {"width": width, "height": height, "K": K, "D": D, "distortion_model": model, "frame_id": frame_id}
