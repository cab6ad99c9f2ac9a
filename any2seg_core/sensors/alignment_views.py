"""One sensor of any kind against the camera's picture: numbers, and a picture to look at."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.sensors.alignment import (
    Alignment,
    draw_jumps,
    draw_points,
    draw_squares,
    measure_alignment,
    measure_picture,
    measure_points,
)
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS


def require_showable(name: str, suite: SensorSuite) -> None:
    """UserError for a sensor that is not in the suite, or has nothing to compare with the camera's picture."""
    kind = suite.sensor(name).kind
    if name == suite.camera or kind == EVENTS:
        why = "is the camera, which the others are drawn over" if name == suite.camera else "has events, no edges"
        raise UserError(f"--sensor {name}: {why}: choose another sensor", "option-unsupported")


def compare_with_picture(
    picture: np.ndarray, sample: np.ndarray, name: str, rig: SensorRig
) -> tuple[Alignment, np.ndarray]:
    """Looks at the camera's picture and one other sensor of the same moment.

    Args:
        picture: (H, W, 3) uint8. sample: the raw array of the other sensor, as `SensorRig.planes` takes it.
        name: of the other sensor: points, depth or an image.

    Returns:
        What they say, and (H, W, 3) uint8: all points over the picture; of depth the nearer sides of jumps in range;
        of an image squares of the one and the other in turns.

    Raises:
        UserError: the calibration lacks what the sensor needs, or an array that does not fit it.
    """
    size = picture.shape[:2]
    if rig.suite.sensor(name).kind == POINTS:
        where = rig.calibration, name, rig.suite
        return measure_alignment(picture, sample, *where), draw_points(picture, sample, *where)
    if rig.suite.sensor(name).kind == DEPTH:
        aligned = rig.aligned_points({name: sample}, size)
        assert aligned is not None  # there is a depth image
        xyz = aligned[np.isfinite(aligned[..., 2])].astype(np.float64)  # (N,3)
        return measure_points(picture, xyz, rig.camera(size)), draw_jumps(picture, xyz, rig.camera(size))
    assert rig.suite.sensor(name).kind == IMAGE  # see require_showable
    white = np.full_like(sample, np.iinfo(sample.dtype).max)
    other, seen = (rig.planes({name: each}, 0, size)[name] for each in (sample, white))
    is_seen = (seen == 255).all(axis=2)
    return measure_picture(picture, other, is_seen, rig.camera(size)), draw_squares(picture, other, is_seen)
