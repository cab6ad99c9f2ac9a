"""Which sensors a data set is read with, and which of them gives points."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import POINTS

_LOG = logging.getLogger(__name__)


class HasClassesAndSuite:
    """The classes and the sensors of a data set.

    Attributes:
        label_space: of the class those as published.
        suite: of the class those as published. takes_suite: whether one may ask for others.
    """

    label_space: LabelSpace
    suite: SensorSuite
    takes_suite: ClassVar[bool] = False

    @classmethod
    def label_space_of(cls, root: Path) -> LabelSpace:
        """Classes of the data set in a folder, before it is opened; UserError for a wrong file of them."""
        return cls.label_space

    @classmethod
    def suite_of(cls, root: Path) -> SensorSuite:
        """Those of the data set in a folder, where nobody asks for others."""
        return cls.suite


def chosen_suite(own: SensorSuite, asked: SensorSuite | None, name: str, takes_suite: bool) -> SensorSuite:
    """The suite to read a data set with; UserError where it has its own alone and another is asked for."""
    if asked is None or asked == own:
        return own
    if not takes_suite:
        raise UserError(
            f"suite={asked.name}: {name} has the sensors of the suite {own.name}; leave suite out", "option-unsupported"
        )
    return asked


def point_sensor(suite: SensorSuite) -> str:
    """The LiDAR whose points give sparse labels: the first sensor of points, "" without one."""
    return next(iter(suite.of_kind(POINTS)), "")


def require_point_labels(root: Path, kind: str, suite: SensorSuite, read: tuple[str, ...], has_labels: bool) -> None:
    """UserError where a data set cannot give sparse labels of LiDAR points.

    Args:
        read: the sensors that are read. has_labels: whether there are labels of the points themselves.
    """
    sensor, way_out = point_sensor(suite), "use points, scribbles or blocks"
    if not sensor:
        raise UserError(f"sparse labels of the LiDAR: {kind} has none; {way_out}", "option-unsupported")
    if has_labels:
        return
    if sensor not in read:
        raise UserError(
            f"sparse labels of the LiDAR: they are taken where {sensor} shows a point, which is not among the "
            f"modalities {', '.join(read)}; add it, or {way_out}",
            "option-unsupported",
        )
    _LOG.warning("%s has no labels of LiDAR points: taken from the images where planes show one", root)
