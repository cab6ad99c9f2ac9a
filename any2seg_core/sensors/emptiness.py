"""Planes without a single pixel: a sensor that sends, but nothing that the model could see."""

from __future__ import annotations

import numpy as np

from any2seg_core.sensors.depth import MAX_DEPTH_M
from any2seg_core.sensors.images import image_codes
from any2seg_core.sensors.places import place_keys
from any2seg_core.sensors.returns import NO_RETURN_M2
from any2seg_core.sensors.rig import SensorRig, is_plane
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS, Sensor


def is_empty(plane: np.ndarray) -> bool:
    """Whether no pixel of a plane (H, W, 3) is set: in every encoding, zeros mean that there is nothing."""
    return not (plane[len(plane) // 2].any() or plane.any())  # the middle row answers nearly always


def why_empty(sensor: Sensor, sample: np.ndarray, rig: SensorRig | None, stamp_ns: int) -> str:
    """One line about a sample whose plane is empty, with the counts that tell the cause.

    Args:
        sample: what the plane was made of, or the plane itself.
        rig: geometry with which it was made; None for a plane that was given as such.
        stamp_ns: end of the event window.
    """
    is_given = rig is None or (sensor.kind != IMAGE and is_plane(sample))
    if rig is None or is_given:
        return f"{sensor.name}: all pixels of its {'image' if sensor.kind == IMAGE else 'plane'} are 0"
    return f"{sensor.name}: {_REASONS[sensor.kind](sensor, sample, rig, stamp_ns)}"


def _why_no_light(sensor: Sensor, picture: np.ndarray, rig: SensorRig, _stamp_ns: int) -> str:
    if image_codes(picture, sensor).any():
        keys = place_keys(sensor.name, rig.suite)
        return f"nothing of its image falls into the camera's; check {keys.camera} and {keys.to_camera}"
    if picture.any() and sensor.value_range is not None:
        return f"none of its {picture.size} pixels lies above {sensor.value_range[0]:g}, where its range begins"
    return "all pixels of its image are 0"


def _why_no_depth(sensor: Sensor, depth_m: np.ndarray, rig: SensorRig, _stamp_ns: int) -> str:
    count = int(np.count_nonzero((depth_m > 0.0) & (depth_m < MAX_DEPTH_M)))
    if count == 0:
        return f"none of its {depth_m.size} pixels has a depth (finite, above 0 and below {MAX_DEPTH_M:g} m)"
    keys = place_keys(sensor.name, rig.suite)
    return f"none of its {count} depths falls into the picture; check {keys.camera} and {keys.to_camera}"


def _why_no_event(sensor: Sensor, events: np.ndarray, rig: SensorRig, stamp_ns: int) -> str:
    start_ns, window_ms = stamp_ns - rig.event_window_ns, rig.event_window_ns / 1e6
    count = int(np.count_nonzero((events["t"] > start_ns) & (events["t"] <= stamp_ns)))
    if count:
        keys = place_keys(sensor.name, rig.suite)
        return f"none of the {count} events in the window falls into the picture; check {keys.camera}, {keys.to_camera}"
    others = f"; its messages hold {len(events)} others" if len(events) else ""
    return f"no event in the window of {window_ms:g} ms{others}"


def _why_no_point(sensor: Sensor, points: np.ndarray, rig: SensorRig, _stamp_ns: int) -> str:
    total = len(points)
    if total == 0:
        return "its cloud has no point"
    xyz = points[:, :3].astype(np.float64)  # (N,3)
    with np.errstate(invalid="ignore", over="ignore"):
        is_return = np.isfinite(xyz).all(axis=1) & ((xyz**2).sum(axis=1) >= NO_RETURN_M2)
    transform = rig.place(sensor.name).to_camera
    assert transform is not None  # without it the rig takes no cloud
    seen = xyz[is_return] @ transform[:3, :3].T + transform[:3, 3]  # (n,3) in the camera's frame
    counts = {"no returns (at the origin or not finite)": total - len(seen)}
    is_behind, is_far = seen[:, 2] <= 0.0, np.linalg.norm(seen, axis=1) >= MAX_DEPTH_M
    counts["behind the camera"] = int(np.count_nonzero(is_behind))
    counts[f"farther than {MAX_DEPTH_M:g} m"] = int(np.count_nonzero(is_far & ~is_behind))
    counts["outside"] = int(np.count_nonzero(~is_far & ~is_behind))
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    way_out = f"; check {place_keys(sensor.name, rig.suite).to_camera}" if len(seen) else ""
    return f"none of its {total} points falls into the picture: {said}{way_out}"


_REASONS = {IMAGE: _why_no_light, DEPTH: _why_no_depth, EVENTS: _why_no_event, POINTS: _why_no_point}
