"""Event camera packets on the camera plane: windows cut on event time, counts and recency per pixel."""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np

from any2seg_core.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only

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
            f"events: window_ns must be positive and the rotation (3, 3), got {window_ns}, {rotation.shape}"
        )
    if camera.K[0, 0] <= event_camera.K[0, 0]:
        target = _pixel_map(event_camera, camera, rotation.tobytes())  # several event pixels share a camera pixel
        return _accumulate(events, window_end_ns, window_ns, event_camera, target, camera)
    # The plane is finer than the sensor: draw on the sensor grid, then look each camera pixel up, so no holes appear.
    drawn = _accumulate(events, window_end_ns, window_ns, event_camera, _SAME_PIXEL, event_camera)
    source = _pixel_map(camera, event_camera, np.ascontiguousarray(rotation.T).tobytes())
    return np.append(drawn.reshape(-1, 3), np.zeros((1, 3), np.uint8), axis=0)[source]  # (H,W,3); -1 reads the zeros


def _check(events: np.ndarray) -> None:
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if not {"x", "y", "t", "p"} <= set(names) or np.ndim(events) != 1:
        raise UserError(
            f"events: expected a one-dimensional structured array with fields x, y, t (ns), p, got fields {names}"
        )


@lru_cache(maxsize=16)
def _pixel_map(source: CameraModel, target: CameraModel, rotation_bytes: bytes) -> np.ndarray:
    """(H', W') int32 flat target pixel of each source pixel, -1 where it falls outside; _SAME_PIXEL for one grid."""
    rotation = np.frombuffer(rotation_bytes, dtype=np.float64).reshape(3, 3)
    directions = source.rays().reshape(-1, 3).astype(np.float64) @ rotation.T  # (H'W',3)
    uv, valid = target.project(directions)
    column, row = np.floor(uv[valid] + 0.5).astype(np.int64).T
    index = np.full(valid.shape, -1, dtype=np.int32)
    index[valid] = row * target.width + column
    same_size = (source.height, source.width) == (target.height, target.width)
    if same_size and np.array_equal(index, np.arange(index.size)):
        return _SAME_PIXEL
    return read_only(index.reshape(source.height, source.width))


def _accumulate(
    events: np.ndarray, end_ns: int, window_ns: int, source: CameraModel, target: np.ndarray, camera: CameraModel
) -> np.ndarray:
    """Events of the grid of `source` into (H, W, 3) on that of `camera`; `target` as `_pixel_map` returns it."""
    plane = np.zeros((camera.height * camera.width, 3), dtype=np.uint8)
    if events.dtype != EVENT_DTYPE:  # NumPy casts structures by position: bring the fields into order by name first
        events = events[list(EVENT_DTYPE.names)].astype(EVENT_DTYPE)
    events = read_only(events)
    columns = (events["x"], events["y"], events["t"], events["p"])
    _accumulate_into(plane, *columns, int(end_ns), int(window_ns), target, source.height, source.width)
    return plane.reshape(camera.height, camera.width, 3)  # (HW,3) -> (H,W,3)


@numba.njit(cache=True, error_model="numpy")
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
