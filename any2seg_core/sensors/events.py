"""Event camera packets on the camera plane: windows cut on event time, counts and recency per pixel."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel, read_only, same_intrinsics
from any2seg_core.sensors.event_cells import (
    are_few,
    count_events,
    draw_cells,
    draw_few,
    gather_cells,
    move_cells,
    pick_events,
)
from any2seg_core.sensors.lookup import pixel_lookup
from any2seg_core.sensors.picks import Picks

EVENT_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "i1")])
"""One event: column, row, time in nanoseconds, polarity (positive: > 0). 13 bytes, packed."""

DEFAULT_WINDOW_NS = 50_000_000
_SAME = read_only(np.empty(0, np.int32))


def render_events(
    events: np.ndarray,
    window_end_ns: int,
    window_ns: int,
    event_camera: CameraModel,
    camera: CameraModel,
    event_to_camera_rotation: np.ndarray,
    picked: Picks | None = None,
) -> np.ndarray:
    """Counts and recency of the events in (end - window, end], warped by the rotation between the two cameras.

    The warp is the infinite homography K R K'^-1 (Hartley and Zisserman, section 8.4.2), lens distortion included:
    exact for distant things, and off by baseline * focal / distance for near ones.

    Args:
        events: (N,) structured with fields x, y, t (ns), p, found by name, in any order of time; pixels outside the
            event camera are ignored.
        event_camera, camera: intrinsics of the sensor and of the plane.
        event_to_camera_rotation: (3, 3) float64, d_camera = R @ d_event.
        picked: pixels of the plane; nothing else of it is made then.

    Returns:
        (H, W, 3) uint8, or (h, w, 3) of picked pixels: [0] 40 per positive event, saturating; [1] the same for negative
        ones; [2] recency of the newest event, 255 at the end of the window to 1 at its start; 0, 0, 0 without events.

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
    if events.dtype != EVENT_DTYPE:  # NumPy casts structures by position: bring the fields into order by name first
        events = events[["x", "y", "t", "p"]].astype(EVENT_DTYPE)
    packed, window = read_only(np.ascontiguousarray(events)), (int(window_end_ns), int(window_ns))
    size = event_camera.height, event_camera.width
    is_same = np.array_equal(rotation, np.eye(3)) and same_intrinsics(event_camera, camera) and not camera.is_distorted
    if picked is not None and is_same:
        return draw_cells(count_events(pick_events(packed, *picked.numbers), *window, *picked.size), *picked.size)
    is_finer = camera.K[0, 0] > event_camera.K[0, 0]
    if are_few(packed, *size) and not is_finer:
        target = _SAME if is_same else pixel_lookup(event_camera, camera, rotation).reshape(-1)
        plane = draw_few(packed, *window, size, (camera.height, camera.width), target)
        return plane if picked is None else picked.of(plane)
    cells = count_events(packed, *window, *size)
    if is_same:
        return draw_cells(cells, *size)
    return _placed(cells, event_camera, camera, rotation, picked)


def _placed(
    cells: np.ndarray, event_camera: CameraModel, camera: CameraModel, rotation: np.ndarray, picked: Picks | None
) -> np.ndarray:
    """Cells (H' W',) of the event camera on the grid of the camera, (H, W, 3), or at its picked pixels."""
    if camera.K[0, 0] > event_camera.K[0, 0]:  # a finer plane looks its pixels up, so that no holes appear
        source = pixel_lookup(camera, event_camera, rotation.T)
        return gather_cells(cells, source if picked is None else picked.of(source))
    target = pixel_lookup(event_camera, camera, rotation).reshape(-1)  # several event pixels may share a camera pixel
    plane = move_cells(cells, target, camera.height, camera.width)
    return plane if picked is None else picked.of(plane)


def _check(events: np.ndarray) -> None:
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if not {"x", "y", "t", "p"} <= set(names) or np.ndim(events) != 1:
        raise UserError(
            f"events: expected a one-dimensional structured array with fields x, y, t (ns), p, got fields {names}",
            "array-shape",
        )
