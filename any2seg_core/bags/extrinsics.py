"""Extrinsics that change while a recording runs: of a pan head through /tf, of a new calibration through /tf_static."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from any2seg_core.bags.reader import Recorded
from any2seg_core.bags.static_transforms import StaticFollower, StaticTransforms
from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages.transforms import TransformTree, WorldPose, odometry_as_transforms
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sync import SampleSet
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import POINTS

ODOMETRY_KIND = "nav_msgs/msg/Odometry"
_MOST_COMPLAINTS, _TOLD_COMPLAINTS = 100, 5
_OTHER_CLOCK_NS = NS_PER_S  # stamps that are further from the bag's time are of another clock


@dataclass(frozen=True)
class RecordedExtrinsics:
    """Sensors whose transform to the camera the recording's own transforms give.

    Attributes:
        names: those of them that a pass looks up for each set. fixed: the others, which never move on the vehicle.
        suite: whose they are.
        topics: of transforms that move, or of an odometry in their place.
        static: the static ones; latched, so the first value counts from the start.
        fixed_frame: as the node's parameter.
    """

    names: tuple[str, ...]
    fixed: tuple[str, ...]
    topics: tuple[str, ...]
    static: StaticTransforms
    fixed_frame: str = ""
    suite: SensorSuite = VEHICLE

    def through(self, fixed_frame: str) -> RecordedExtrinsics:
        """The same by way of a frame that stands still: then a cloud moves between its stamp and the camera's."""
        if not fixed_frame:
            return self
        moved = tuple(name for name in self.fixed if name in self.suite.of_kind(POINTS))
        return replace(self, names=(*self.names, *moved), fixed_frame=fixed_frame)


def left_out_notes(complaints: Counter[str]) -> tuple[str, ...]:
    """One line for each of the most frequent things that make no sense in transforms."""
    return tuple(f"{line}: left out ({count} times), the others are used"
                 for line, count in complaints.most_common(_TOLD_COMPLAINTS))  # fmt: skip


class ExtrinsicsFollower:
    """One pass: takes transforms as they come, and gives the extrinsics of a set at the moment it is emitted.

    Attributes:
        left_out: what makes no sense in a transform -> how often; the others of its message are used.
    """

    def __init__(self, extrinsics: RecordedExtrinsics) -> None:
        self.left_out: Counter[str] = Counter()
        self._recorded, self._tree = extrinsics, TransformTree()
        self._static = StaticFollower(extrinsics.static, self._tree)

    def take(self, message: Recorded) -> None:
        """Any message of the recording; those of other topics are ignored. MessageError: it cannot be read."""
        if message.topic in self._recorded.topics:
            is_odometry = message.kind == ODOMETRY_KIND
            transforms = odometry_as_transforms(message.value) if is_odometry else message.value
            complaints = self._tree.add_message(transforms, is_static=False)
            self.left_out.update(c for c in complaints if c in self.left_out or len(self.left_out) < _MOST_COMPLAINTS)

    def at(self, sample_set: SampleSet, time_ns: int, frames: FrameBuilder) -> dict[str, np.ndarray | None]:
        """Sensor -> (4, 4) to the camera, of what is connected at a set; `time_ns`: bag time when it was complete."""
        self._go_to(sample_set, time_ns)
        newest = {}
        for name in (self._recorded.suite.camera, *self._recorded.names):
            if name in sample_set.samples:
                found = sample_set.samples[name]
                sample = found[-1]
                newest[name] = (_frame_id(sample.payload), sample.stamp_ns)
        return frames.find_extrinsics(self._tree, newest, sample_set.stamp_ns, self._recorded.fixed_frame)

    def pose(self, sample_set: SampleSet, time_ns: int, frames: FrameBuilder) -> WorldPose | None:
        """Where the camera is at the stamp of a set; `time_ns` as in `at`."""
        self._go_to(sample_set, time_ns)
        return self._tree.world_pose(frames.camera_frame, sample_set.stamp_ns, self._recorded.fixed_frame)

    def _go_to(self, sample_set: SampleSet, time_ns: int) -> None:
        is_same_clock = abs(time_ns - sample_set.stamp_ns) <= _OTHER_CLOCK_NS
        self._static.go_to(sample_set.stamp_ns if is_same_clock else time_ns)


def _frame_id(payload: Any) -> str:
    try:
        return str(payload.header.frame_id)
    except MessageError:
        return ""  # damaged: its sensor will be left out
