"""Where one sensor is and what lens it has, and where a calibration file says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, POINTS

_ORTHONORMAL_TOLERANCE = 1e-3


class PlaceKeys(NamedTuple):
    """Where a calibration file says what `SensorPlace` holds; "" where it cannot."""

    camera: str = ""
    to_camera: str = ""
    frame: str = ""


_KEYS_OF_FIRST = {
    DEPTH: ("depth", PlaceKeys("depth_camera", "depth_to_camera")),
    EVENTS: ("event", PlaceKeys("event_camera", "event_to_camera")),
    POINTS: ("lidar", PlaceKeys("", "lidar_to_camera", "lidar_frame")),
}
"""Per kind the sensor that the file's own keys are for, where there is one of this name, and these keys."""


def place_keys(name: str, suite: SensorSuite = VEHICLE) -> PlaceKeys:
    """Keys of one sensor in a calibration file.

    Those at the top are for the camera of the suite, and for the sensors called depth, event and lidar; where none is
    called so, for the only one of that kind. All others have an entry below ``sensors``.
    """
    if name == suite.camera:
        return PlaceKeys("camera")
    kind = suite.sensor(name).kind
    first, keys = _KEYS_OF_FIRST.get(kind, ("", PlaceKeys()))
    of_kind = suite.of_kind(kind)
    if keys != PlaceKeys() and name == (first if first in of_kind else of_kind[0] if len(of_kind) == 1 else ""):
        return keys
    return PlaceKeys(*("" if part == "camera" and kind == POINTS else f"sensors.{name}.{part}"
                       for part in PlaceKeys._fields))  # fmt: skip


@dataclass(frozen=True, eq=False)
class SensorPlace:
    """What is known of one sensor; None is unknown.

    Attributes:
        camera: its intrinsics; None: those of the camera of the suite.
        to_camera: (4, 4) float64 from its frame (optical of cameras, else x forward, y left, z up) to the camera's
            optical frame, metres; None: a camera at the same place, or a cloud that cannot be used.
        frame: name of its frame where it has no intrinsics that name it.
    """

    camera: CameraModel | None = None
    to_camera: np.ndarray | None = None
    frame: str | None = None


def checked_place(place: SensorPlace, name: str) -> SensorPlace:
    """The same place with a read-only transform; UserError for one that is not rigid."""
    if place.to_camera is None:
        return place
    return replace(place, to_camera=rigid_transform(place.to_camera, f"sensors.{name}.to_camera"))


def rigid_transform(values: Any, name: str) -> np.ndarray:
    """Checks that `values` is a rigid transform; returns it as a read-only (4, 4) float64 array or raises UserError."""
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name}: must be four rows of four numbers", "transform-invalid") from None
    if matrix.shape != (4, 4):
        raise UserError(f"{name}: must be four rows of four numbers, got shape {matrix.shape}", "transform-invalid")
    if not np.isfinite(matrix).all():
        raise UserError(f"{name}: holds NaN or infinity; write the measured numbers", "not-finite")
    if not np.allclose(matrix[3], [0.0, 0.0, 0.0, 1.0]):
        raise UserError(
            f"{name}: the last row must be [0, 0, 0, 1]; a transposed matrix has the translation there",
            "transform-invalid",
        )
    rotation = matrix[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > _ORTHONORMAL_TOLERANCE:
        raise UserError(
            f"{name}: the rotation is not orthonormal (error {error:.2g}); give a rotation with unit axes",
            "transform-invalid",
        )
    if np.linalg.det(rotation) < 0.0:
        raise UserError(
            f"{name}: the rotation mirrors (determinant -1); flip the sign of one axis", "transform-invalid"
        )
    matrix.setflags(write=False)
    return matrix
