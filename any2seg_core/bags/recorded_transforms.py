"""Transforms of a recording, and what they say about the place of each sensor against the camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.bags.extrinsics import left_out_notes
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.static_transforms import StaticFollower, StaticTransforms
from any2seg_core.bags.storage import is_latched
from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages.transforms import TransformTree
from any2seg_core.sensors.camera import CameraModel

_TF_KINDS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_MOVING_MESSAGES = 400
_SAME = 1e-6  # metres and radians
_ALONG = 0.9
_BODY_TO_OPTICAL = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # REP 103


class RecordedTransforms(NamedTuple):
    """What a recording says about frames.

    Attributes:
        static: over time. topics: of transforms that move.
        tree: static ones and the first moving ones. fixed_tree: static ones alone. stamps_ns: times to ask `tree` at.
        is_whole: whether all moving ones are in `tree`. notes: what else to tell, one line each.
    """

    static: StaticTransforms
    topics: tuple[str, ...]
    tree: TransformTree
    fixed_tree: TransformTree
    stamps_ns: list[int]
    is_whole: bool
    notes: tuple[str, ...]


class FoundExtrinsics(NamedTuple):
    """Place of a sensor: (4, 4) to the camera, None: not known; of one that moves the middle of several moments.

    Attributes:
        is_fixed: whether it never changes. words: where it is from. problem: what is wrong, "" if nothing is.
        note: what else to tell, "" if there is nothing.
    """

    to_camera: np.ndarray | None
    is_fixed: bool
    words: str = ""
    problem: str = ""
    note: str = ""


def read_transforms(bag: Recording, sensor_topics: Sequence[str]) -> RecordedTransforms:
    """All static transforms of a recording and the first moving ones.

    Args:
        sensor_topics: of the sensors, whose stamps tell which clock stamps are of.
    """
    topics = {name: topic for name, topic in bag.topics.items() if topic.kind in _TF_KINDS and topic.count}
    static_topics = [name for name, topic in topics.items() if is_latched(name, topic.qos)]
    moving_topics = [name for name in topics if name not in static_topics]
    span_ns = (bag.start_ns or 0, 2**63 if bag.end_ns is None else bag.end_ns)
    ahead_ns = _ahead_ns(bag, sensor_topics) if static_topics else 0
    static = StaticTransforms(_messages(bag, static_topics), span_ns, ahead_ns)
    tree, fixed_tree = TransformTree(), TransformTree()
    stamps_ns: set[int] = set()
    follower = StaticFollower(static, fixed_tree)
    StaticFollower(static, tree)
    complaints = Counter(follower.complaints) + static.complaints
    taken = 0
    for _, message in islice(_messages(bag, moving_topics), _MOVING_MESSAGES):
        complaints.update(tree.add_message(message, is_static=False))
        stamps_ns.update(_stamp_ns(item) for item in message.transforms)
        taken += 1
    notes = tuple(
        f"/tf_static: {edge} has several values from the same time on: the one that was written last is used"
        for edge in static.contradictions
    )
    return RecordedTransforms(
        static, tuple(moving_topics), tree, fixed_tree, sorted(stamps_ns) or [0], taken < _MOVING_MESSAGES,
        (*left_out_notes(complaints), *notes),
    )  # fmt: skip


def find_extrinsics(
    recorded: RecordedTransforms, name: str, camera: str, sensor: str, start_ns: int
) -> FoundExtrinsics:
    """Place of a sensor against the camera.

    Args:
        name: of the sensor, for notes. camera, sensor: frames; "" where headers name none.
        start_ns: begin of the recording, for notes.
    """
    if not sensor or not camera:
        missing = "sensor" if camera else "camera"
        return FoundExtrinsics(None, True, "", f"headers name no frame ({missing}), so no transform can be looked up")
    fixed = recorded.fixed_tree.lookup(camera, 0, sensor, 0)
    stamps_ns = recorded.stamps_ns
    times_ns = [stamps_ns[k] for k in sorted({0, len(stamps_ns) // 4, len(stamps_ns) // 2, len(stamps_ns) - 1})]
    known_ns = [t for t in times_ns if recorded.tree.lookup(camera, t, sensor, t) is not None]
    if fixed is None and not known_ns:
        where = "/tf_static or /tf" if recorded.is_whole else f"/tf_static or the first {_MOVING_MESSAGES} of /tf"
        return FoundExtrinsics(None, recorded.is_whole, "", f"no transform from {sensor} to {camera} in {where}")
    tree, time_ns = (recorded.fixed_tree, 0) if fixed is not None else (recorded.tree, known_ns[len(known_ns) // 2])
    values = _values(recorded.static, tree, lambda: tree.lookup(camera, time_ns, sensor, time_ns))
    words, note = f"tf: {sensor} -> {camera}", ""
    if fixed is None:
        words += ", followed through /tf at each stamp"
    if len(values) > 1:
        words += f", each of {len(values)} values of /tf_static at its time"
        note = f"{name}: {_change_text(values, start_ns)}"
    return FoundExtrinsics(values[0][1], fixed is not None and len(values) == 1, words, "", note)


def why_not_optical(
    to_camera: np.ndarray, camera: str, sensor: str, is_camera: bool, in_view: Callable[[np.ndarray], float | None]
) -> str:
    """What speaks against optical frames (z forward) of the camera, and of the other sensor where it is a camera too.

    Two optical frames that look the same way have the same z axis; that of a LiDAR points up, its x axis forward. A
    cloud can be given in an optical frame too, and a camera can look down: then the points say what is right.

    Args:
        to_camera: (4, 4) sensor to camera. camera, sensor: their frames.
        in_view: the share of the points of a scan that such a transform brings into the picture; None: not known.
    """
    if is_camera:
        if abs(to_camera[2, 2]) >= 1 - _ALONG or max(to_camera[2, 0], to_camera[0, 2]) <= _ALONG:
            return ""
        suspect, other = (sensor, camera) if to_camera[2, 0] > _ALONG else (camera, sensor)
        if "optical" in suspect:  # it looks aside, then
            return ""
        if suspect == sensor:
            return f"x of {sensor} looks along {camera}: is it an optical frame (REP 103)?"
        return f"{other} looks along x of {camera}: is {camera} an optical frame (REP 103)?"
    if abs(to_camera[2, 2]) <= _ALONG or camera == sensor:
        return ""
    as_it_is, turned = in_view(to_camera), in_view(_BODY_TO_OPTICAL @ to_camera)
    if as_it_is and turned is not None and as_it_is >= turned:
        return ""
    return f"frame {camera} looks along the vertical of {sensor}: is it an optical frame (REP 103)?"


def share_in_view(points: np.ndarray, to_camera: np.ndarray, camera: CameraModel) -> float:
    """Share of (N, 3) points that fall into the picture, 0..1; N at least 1."""
    _, valid = camera.project(points.astype(np.float64) @ to_camera[:3, :3].T + to_camera[:3, 3])
    return float(valid.mean())


def _values(
    static: StaticTransforms, tree: TransformTree, lookup: Callable[[], np.ndarray | None]
) -> list[tuple[int, np.ndarray]]:
    """(bag time, sensor to camera) of the first value and of each that differs from the one before."""
    follower = StaticFollower(static, tree)
    first = lookup()
    values = [] if first is None else [(0, first)]
    for time_ns in sorted({change.time_ns for change in static.changes}):
        follower.go_to(time_ns)
        to_camera = lookup()
        is_same = values and to_camera is not None and np.allclose(to_camera, values[-1][1], rtol=0.0, atol=_SAME)
        if to_camera is not None and not is_same:
            values.append((time_ns, to_camera))
    follower.go_to(0)
    return values


def _change_text(values: list[tuple[int, np.ndarray]], start_ns: int) -> str:
    (_, before), (time_ns, after) = values[:2]
    turn = before[:3, :3].T @ after[:3, :3]
    degrees = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1.0, 1.0)))
    count, metres = len(values) - 1, np.linalg.norm(after[:3, 3] - before[:3, 3])
    return (
        f"/tf_static changes its transform to the camera {'once' if count == 1 else f'{count} times'}, first "
        f"{(time_ns - start_ns) / NS_PER_S:.1f} s after the start by {metres:.2f} m and {degrees:.1f} degrees: each "
        "set gets the value of its time, the first one before that"
    )


def _messages(bag: Recording, topics: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """(bag time, message) of those that can be read; of a damaged one the lookup says what is missing, if anything."""
    for message in bag.messages(topics) if topics else ():
        with suppress(MessageError):
            yield message.time_ns, message.value


def _ahead_ns(bag: Recording, topics: Sequence[str]) -> int:
    """How far the stamps of the sensors are ahead of the bag's time where that is another clock, else 0."""
    for message in bag.messages(topics) if topics else ():
        with suppress(MessageError):
            if message.stamp_ns:
                ahead_ns = message.stamp_ns - message.time_ns
                return ahead_ns if abs(ahead_ns) > NS_PER_S else 0
    return 0


def _stamp_ns(item: Any) -> int:
    return item.header.stamp.sec * NS_PER_S + item.header.stamp.nanosec
