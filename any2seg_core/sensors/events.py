"""Event camera packets on the camera plane: windows cut on event time, counts and recency per pixel."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only, same_intrinsics
from any2seg_core.sensors.lookup import pixel_lookup

EVENT_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "i1")])
"""One event: column, row, time in nanoseconds, polarity (positive: > 0). 13 bytes, packed."""

DEFAULT_WINDOW_NS = 50_000_000
_COUNT_STEP = 40
_SAME_PIXEL = np.empty((0, 0), np.int32)  # stands for a map that changes nothing, and saves reading it per event
_SAME_PIXEL.setflags(write=False)


def render_events(
    events: np.ndarray,
    window_end_ns: int,
    window_ns: int,
    event_camera: CameraModel,
    camera: CameraModel,
    event_to_camera_rotation: np.ndarray,
) -> np.ndarray:
    """Counts and recency of the events in (end - window, end], warped by the rotation between the two cameras.

    The warp is the infinite homography K R K'^-1 (Hartley and Zisserman, section 8.4.2), lens distortion included:
    exact for distant things, and off by baseline * focal / distance for near ones.

    Args:
        events: (N,) structured with fields x, y, t (ns), p, found by name, in any order of time; pixels outside the
            event camera are ignored.
        event_camera, camera: intrinsics of the sensor and of the plane.
        event_to_camera_rotation: (3, 3) float64, d_camera = R @ d_event.

    Returns:
        (H, W, 3) uint8: [0] 40 per positive event, saturating; [1] the same for negative ones; [2] recency of the
        newest event, 255 at the end of the window to 1 at its start; 0, 0, 0 without events.

    Raises:
        UserError: not a structured event array, a window that is not positive, or a rotation that is not (3, 3).
    """
    _check(events)
    rotation = np.asarray(event_to_camera_rotation, dtype=np.float64)
    if window_ns <= 0 or rotation.shape != (3, 3):
        raise UserError(
            f"events: window_ns must be positive and the rotation (3, 3), got {window_ns}, {rotation.shape}",
            "value-range",
        )
    if camera.K[0, 0] <= event_camera.K[0, 0]:
        is_same = np.array_equal(rotation, np.eye(3)) and same_intrinsics(event_camera, camera)
        if is_same and not camera.is_distorted:
            target = _SAME_PIXEL
        else:  # several event pixels may share a camera pixel
            target = pixel_lookup(event_camera, camera, rotation)
        return _accumulate(events, window_end_ns, window_ns, event_camera, target, camera)
    # The plane is finer than the sensor: draw on the sensor grid, then look each camera pixel up, so no holes appear.
    drawn = _accumulate(events, window_end_ns, window_ns, event_camera, _SAME_PIXEL, event_camera)
    return _gather(read_only(drawn.reshape(-1, 3)), pixel_lookup(camera, event_camera, rotation.T))


def _check(events: np.ndarray) -> None:
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if not {"x", "y", "t", "p"} <= set(names) or np.ndim(events) != 1:
        raise UserError(
            f"events: expected a one-dimensional structured array with fields x, y, t (ns), p, got fields {names}",
            "array-shape",
        )


def _accumulate(
    events: np.ndarray, end_ns: int, window_ns: int, source: CameraModel, target: np.ndarray, camera: CameraModel
) -> np.ndarray:
    """Events of the grid of `source` into (H, W, 3) on that of `camera`; `target` as `pixel_lookup` returns it."""
    plane = np.zeros((camera.height * camera.width, 3), dtype=np.uint8)
    if events.dtype != EVENT_DTYPE:  # NumPy casts structures by position: bring the fields into order by name first
        events = events[["x", "y", "t", "p"]].astype(EVENT_DTYPE)
    events = read_only(events)
    columns = (events["x"], events["y"], events["t"], events["p"])
    _accumulate_into(plane, *columns, int(end_ns), int(window_ns), target, source.height, source.width)
    return plane.reshape(camera.height, camera.width, 3)  # (HW,3) -> (H,W,3)


@compiled(cache=True)
def _gather(pixels, source):
    """(H, W, 3) of pixels (N, 3) by their flat index; zeros for -1."""
    plane = np.zeros((source.shape[0], source.shape[1], 3), dtype=np.uint8)
    for row in range(source.shape[0]):
        for column in range(source.shape[1]):
            found = source[row, column]
            if found >= 0:
                plane[row, column] = pixels[found]
    return plane


@compiled(cache=True, error_model="numpy")
def _accumulate_into(plane, x, y, t, p, end_ns, window_ns, target, height, width):
    codes_per_ns = 255.0 / window_ns
    is_moved = target.size > 0
    for i in range(x.shape[0]):
        age = end_ns - t[i]
        if age < 0 or age >= window_ns or x[i] >= width or y[i] >= height:
            continue
        pixel = np.int64(y[i]) * width + x[i]
        if is_moved:
            pixel = np.int64(target[y[i], x[i]])
            if pixel < 0:
                continue
        channel = 0 if p[i] > 0 else 1
        plane[pixel, channel] = min(255, plane[pixel, channel] + _COUNT_STEP)
        passed = np.int64(age * codes_per_ns)  # 255 age // window, without the slow division
        if passed * window_ns > age * 255:
            passed -= 1
        elif (passed + 1) * window_ns <= age * 255:
            passed += 1
        plane[pixel, 2] = max(plane[pixel, 2], 255 - passed)
