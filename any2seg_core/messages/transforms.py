"""TransformTree: coordinate frames as they come on /tf and /tf_static, looked up at the stamps of measurements.

What tf2 does, as far as a perception node needs it: interpolation in time, static edges, and a lookup between two times
through a frame that stands still. Knows no ROS, so that a recording is judged with the same transforms as a live drive.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, insort
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.messages import stamp_ns

_HISTORY_NS = 10_000_000_000
# Publishers of one frame may be a little out of order; what lies further behind is another time: a loop, a reset
# simulator, or the newest pose so far was the one that had a wrong stamp.
_BACKWARD_JUMP_NS = 1_000_000_000
_LONGEST_EXTRAPOLATION_NS = 200_000_000
_MAX_DEPTH = 100
# A robot has some hundred frames; programs that make a new one for each thing that they see have no end of them.
_MOST_FRAMES = 2048
_MOST_POSES = 20_000  # of one frame: 2 kHz for as long as poses are kept
_QUATERNION_TOLERANCE = 1e-2

WORLD_FRAMES = ("odom", "map")
"""Frames that stand still, by REP 105; the first one never jumps."""


class WorldPose(NamedTuple):
    """(4, 4) float64 of a frame to one that stands still, metres, and the name of the latter."""

    world: str
    to_world: np.ndarray


def pose_matrix(
    translation: Sequence[float] | np.ndarray, quaternion_xyzw: Sequence[float] | np.ndarray
) -> np.ndarray:
    """(4, 4) float64 of a translation in metres and a quaternion of any length but zero."""
    x, y, z, w = np.asarray(quaternion_xyzw, np.float64) / np.linalg.norm(quaternion_xyzw)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix


def _slerp(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Shoemake 1985: the rotation a share of the shorter way from one unit quaternion to another."""
    cosine = float(one @ other)
    other, cosine = (-other, -cosine) if cosine < 0.0 else (other, cosine)
    if cosine > 1.0 - 1e-9:
        return one + share * (other - one)
    angle = np.arccos(cosine)
    return (np.sin((1.0 - share) * angle) * one + np.sin(share * angle) * other) / np.sin(angle)


class _Edge:
    """Pose of a child frame in its parent over time."""

    def __init__(self, parent: str, is_static: bool) -> None:
        self.parent, self.is_static = parent, is_static
        self._poses: list[tuple[int, tuple[float, ...]]] = []  # ordered by stamp: x y z and quaternion x y z w

    def add(self, stamp: int, pose: tuple[float, ...]) -> None:
        if self.is_static:
            self._poses = [(stamp, pose)]
            return
        if self._poses and stamp < self._poses[-1][0] - _BACKWARD_JUMP_NS:
            self._poses.clear()
        index = bisect_left(self._poses, stamp, key=_stamp)
        if index < len(self._poses) and self._poses[index][0] == stamp:
            self._poses[index] = (stamp, pose)
        else:
            insort(self._poses, (stamp, pose), key=_stamp)
        too_old = bisect_left(self._poses, self._poses[-1][0] - _HISTORY_NS, key=_stamp)
        del self._poses[: max(too_old, len(self._poses) - _MOST_POSES)]

    def says(self, parent: str, pose: tuple[float, ...]) -> bool:
        """Whether the newest pose is this one."""
        return self.parent == parent and bool(self._poses) and self._poses[-1][1] == pose

    def at(self, time_ns: int) -> np.ndarray | None:
        """(4, 4) child to parent, or None when the nearest known pose is too far away in time."""
        if self.is_static:
            return _matrix(np.array(self._poses[0][1]))
        index = bisect_left(self._poses, time_ns, key=_stamp)
        if index in (0, len(self._poses)):
            stamp, pose = self._poses[min(index, len(self._poses) - 1)]
            return _matrix(np.array(pose)) if abs(stamp - time_ns) <= _LONGEST_EXTRAPOLATION_NS else None
        (before_ns, before), (after_ns, after) = self._poses[index - 1], self._poses[index]
        share = (time_ns - before_ns) / (after_ns - before_ns)
        one, other = np.array(before), np.array(after)
        moved = one + share * (other - one)
        moved[3:] = _slerp(one[3:], other[3:], share)
        return _matrix(moved)


class TransformTree:
    """Frames and their poses in each other; any thread.

    It holds at most 2048 frames: a new one replaces the moving one that was not heard of for longest.

    Examples:
        >>> tree = TransformTree()
        >>> tree.add_message(message, is_static=True)  # a tf2_msgs/TFMessage
        >>> lidar_to_camera = tree.lookup("camera_optical", image_ns, "lidar", cloud_ns, fixed="odom")
    """

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}  # by child frame, in the order in which they were heard of last
        self._lock = threading.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever added."""
        return not self._edges

    def add_message(self, message: Any, is_static: bool) -> tuple[str, ...]:
        """Take the transforms of a tf2_msgs/TFMessage, each for itself as tf2 does.

        Returns:
            One line for each that makes no sense and was left out: a number that is not finite, a quaternion whose
            length is not 1, a frame without a name or above itself, a stamp that is none, a field that is missing, one
            more static frame than are held.
        """
        transforms = getattr(message, "transforms", None)
        if not isinstance(transforms, Sequence | np.ndarray):
            return ("tf: the message has no list of transforms",)
        complaints = []
        for item in transforms:
            try:
                self.add(*read_transform(item), is_static)
            except MessageError as error:
                complaints.append(str(error))
        return tuple(complaints)

    def static_changes(self, message: Any) -> list[str]:
        """Static transforms of a tf2_msgs/TFMessage that are others than those of the tree, "PARENT to CHILD" each."""
        changes = []
        for item in getattr(message, "transforms", ()):
            with suppress(MessageError):
                parent, child, _, pose = read_transform(item)
                with self._lock:
                    edge = self._edges.get(child)
                if edge is not None and edge.is_static and not edge.says(parent, pose):
                    changes.append(f"{parent} to {child}")
        return changes

    def add(self, parent: str, child: str, stamp: int, pose: tuple[float, ...], is_static: bool) -> None:
        """Take one transform as `read_transform` gives it; MessageError: there are too many static frames."""
        with self._lock:
            edge = self._edges.get(child)
            if edge is None:
                self._make_room(child)
            if edge is None or (edge.parent, edge.is_static) != (parent, is_static):
                edge = _Edge(parent, is_static)
            self._edges.pop(child, None)
            self._edges[child] = edge
            edge.add(stamp, pose)

    def _make_room(self, child: str) -> None:
        if len(self._edges) < _MOST_FRAMES:
            return
        stalest = next((name for name, edge in self._edges.items() if not edge.is_static), None)
        if stalest is None:
            raise MessageError(f"tf: {child} is left out: there are {_MOST_FRAMES} static frames already", "value")
        del self._edges[stalest]

    def clear(self) -> None:
        """Forget what moves, as after a jump in time; static transforms are latched and stay."""
        with self._lock:
            self._edges = {child: edge for child, edge in self._edges.items() if edge.is_static}

    def lookup(self, target: str, target_ns: int, source: str, source_ns: int, fixed: str = "") -> np.ndarray | None:
        """Transform of coordinates at one time to coordinates at another.

        Args:
            target, source: frames. target_ns, source_ns: the time that each is meant at.
            fixed: frame that stands still between the two times; empty, or not connected to both: the transform
                between the frames at `source_ns`.

        Returns:
            (4, 4) float64, p_target = T @ p_source; None when the frames are not connected at that time.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        with self._lock:
            if fixed:
                moved = self._between(fixed.lstrip("/"), source, source_ns)
                back = self._between(fixed.lstrip("/"), target, target_ns)
                if moved is not None and back is not None:
                    return np.linalg.inv(back) @ moved
            return self._between(target, source, source_ns)

    def world_pose(self, frame: str, time_ns: int, fixed: str = "") -> WorldPose | None:
        """Where a frame is against one that stands still; None where the two are not connected at that time.

        Args:
            fixed: frame that stands still; empty: the first of `WORLD_FRAMES` that is connected.
        """
        for world in (fixed,) if fixed else WORLD_FRAMES:
            with self._lock:
                to_world = self._between(world.lstrip("/"), frame.lstrip("/"), time_ns)
            if to_world is not None:
                return WorldPose(world, to_world)
        return None

    def _between(self, target: str, source: str, time_ns: int) -> np.ndarray | None:
        up_from_target, up_from_source = self._ancestors(target, time_ns), self._ancestors(source, time_ns)
        for frame, source_to_frame in up_from_source.items():
            if frame in up_from_target:
                return np.linalg.inv(up_from_target[frame]) @ source_to_frame
        return None

    def _ancestors(self, frame: str, time_ns: int) -> dict[str, np.ndarray]:
        """Frame and those above it -> transform of coordinates in `frame` to them; nearest first."""
        found, to_ancestor = {frame: np.eye(4)}, np.eye(4)
        while (edge := self._edges.get(frame)) is not None and len(found) < _MAX_DEPTH:
            step = edge.at(time_ns)
            if step is None:
                break
            to_ancestor, frame = step @ to_ancestor, edge.parent
            if frame in found:
                break  # a cycle: publishers contradict each other
            found[frame] = to_ancestor
        return found


def odometry_as_transforms(message: Any) -> Any:
    """A nav_msgs/Odometry, like a tf2_msgs/TFMessage of its one pose; MessageError: it is none."""
    try:
        pose = message.pose.pose
        transform = SimpleNamespace(translation=pose.position, rotation=pose.orientation)
        item = SimpleNamespace(header=message.header, child_frame_id=message.child_frame_id, transform=transform)
    except AttributeError as error:
        raise MessageError(f"odometry: no Odometry ({error})", "field") from None
    return SimpleNamespace(transforms=[item])


def read_transform(item: Any) -> tuple[str, str, int, tuple[float, ...]]:
    """(parent, child, stamp in ns, pose) of a geometry_msgs/TransformStamped; MessageError when it makes no sense.

    The pose is that of the child in its parent: x, y, z in metres and the unit quaternion x, y, z, w.
    """
    try:
        move, turn = item.transform.translation, item.transform.rotation
        pose = tuple(float(value) for value in (move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w))
        child, parent = (str(name).lstrip("/") for name in (item.child_frame_id, item.header.frame_id))
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise MessageError(f"tf: no TransformStamped ({error})", "field") from None
    if not child or not parent or child == parent:
        raise MessageError(f"tf: frames {parent!r} and {child!r} must be two names", "value")
    if not np.isfinite(pose).all():
        raise MessageError(f"tf: {parent} to {child} holds NaN or infinity", "value")
    length = math.hypot(*pose[3:])
    if not abs(length - 1.0) <= _QUATERNION_TOLERANCE:
        raise MessageError(
            f"tf: {parent} to {child} is no rigid transform (quaternion of length {length:.3g})", "value"
        )
    try:
        stamp = stamp_ns(item.header)
    except MessageError as error:
        raise MessageError(f"tf: {parent} to {child}: {error}", "stamp") from None
    return parent, child, stamp, (*pose[:3], *(value / length for value in pose[3:]))


def _matrix(pose: np.ndarray) -> np.ndarray:
    return pose_matrix(pose[:3], pose[3:])


def _stamp(entry: tuple[int, Any]) -> int:
    return entry[0]
