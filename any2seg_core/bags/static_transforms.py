"""Static transforms of a recording over its time: each value from when it was published, the first one before that.

A recording can hold several values of one static transform: a sensor was calibrated anew, or two recordings were
joined. Tools that cut recordings copy all static transforms of the whole into every piece, with the piece's begin as
time of the bag; their stamps say then from when they hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages.transforms import TransformTree, read_transform

_OTHER_CLOCK_NS = 365 * 86400 * NS_PER_S  # so far from the bag's time no stamp is one of its clock


class StaticValue(NamedTuple):
    """Pose of a frame from a bag time on: x y z in metres and the unit quaternion x y z w."""

    time_ns: int
    stamp_ns: int
    parent: str
    child: str
    pose: tuple[float, ...]

    def is_same(self, other: StaticValue | None) -> bool:
        """Whether another value says the same."""
        return other is not None and (self.parent, self.pose) == (other.parent, other.pose)


class StaticTransforms:
    """What /tf_static says and when.

    Args:
        messages: (bag time, tf2_msgs/TFMessage) in the order of the bag.
        span_ns: first and last bag time of the recording. What holds before its begin is known by the newest value
            alone, and what begins after its end never holds.
        ahead_ns: how far the stamps of the recording are ahead of the bag's time, where they are of another clock.

    Attributes:
        first: value of each frame at the begin of the recording. changes: the later ones that differ, by time.
        complaints: what makes no sense and was left out -> how often.
        contradictions: frames with several values from the same time on of which no stamp says which is newer.
    """

    def __init__(
        self, messages: Iterable[tuple[int, Any]], span_ns: tuple[int, int] = (0, 2**63), ahead_ns: int = 0
    ) -> None:
        self.complaints: Counter[str] = Counter()
        self.contradictions: tuple[str, ...] = ()
        self._ahead_ns = ahead_ns
        found: dict[tuple, StaticValue] = {}
        for time_ns, message in messages:
            for item in message.transforms:
                self._take(found, time_ns, item)
        self.first, self.changes = self._over_time(sorted(found.values(), key=lambda value: value[:2]), *span_ns)

    def _take(self, found: dict[tuple, StaticValue], time_ns: int, item: Any) -> None:
        try:
            parent, child, stamp_ns, pose = read_transform(item)
        except MessageError as error:
            self.complaints[str(error)] += 1
            return
        own_ns = stamp_ns - self._ahead_ns
        is_stamped = stamp_ns > 0 and abs(own_ns - time_ns) < _OTHER_CLOCK_NS
        key = (parent, child, stamp_ns if is_stamped else -time_ns, pose)  # one that was seen before is a copy
        from_ns = max(time_ns, own_ns) if is_stamped else time_ns
        found.setdefault(key, StaticValue(from_ns, stamp_ns, parent, child, pose))

    def _over_time(
        self, values: list[StaticValue], start_ns: int, end_ns: int
    ) -> tuple[tuple[StaticValue, ...], tuple[StaticValue, ...]]:
        first: dict[str, StaticValue] = {}
        newest: dict[str, StaticValue] = {}
        changes: list[StaticValue] = []
        doubtful: dict[str, None] = {}
        for value in values:
            last = newest.get(value.child)
            if value.is_same(last) or (last is not None and value.time_ns > end_ns):
                continue
            if last is not None and last.time_ns == value.time_ns and last.stamp_ns == value.stamp_ns:
                doubtful[f"{value.parent} to {value.child}"] = None
            newest[value.child] = value
            if last is None or value.time_ns <= start_ns:
                first[value.child] = value
            else:
                changes.append(value)
        self.contradictions = tuple(doubtful)
        return tuple(first.values()), tuple(changes)


class StaticFollower:
    """Brings the static transforms of a tree to one time after the other; back in time they begin anew.

    Attributes:
        complaints: frames that the tree has no room for, one line each.
    """

    def __init__(self, static: StaticTransforms, tree: TransformTree) -> None:
        self.complaints: list[str] = []
        self._static, self._tree, self._taken = static, tree, 0
        self._add(static.first)
        changed = {value.child for value in static.changes}
        self._first = tuple(value for value in static.first if value.child in changed)

    def go_to(self, time_ns: int) -> None:
        """The tree has the values of this bag time from now on."""
        changes = self._static.changes
        if self._taken and changes[self._taken - 1].time_ns > time_ns:
            self._add(self._first)
            self._taken = 0
        begin = self._taken
        while self._taken < len(changes) and changes[self._taken].time_ns <= time_ns:
            self._taken += 1
        self._add(changes[begin : self._taken])

    def _add(self, values: Iterable[StaticValue]) -> None:
        for value in values:
            try:
                self._tree.add(value.parent, value.child, value.stamp_ns, value.pose, is_static=True)
            except MessageError as error:
                self.complaints.append(str(error))
