"""Where the vehicle is at each frame, as far as its recording says so."""

from __future__ import annotations

import math
from typing import Any

from any2seg_core.bags.opened import OpenBag
from any2seg_core.bags.reader import Recorded
from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.evaluation.recording.run import RecordingRun

FIX_KIND = "sensor_msgs/msg/NavSatFix"
_OLDEST_NS = NS_PER_S
_NOWHERE = {"latitude": None, "longitude": None, "x_m": None, "y_m": None, "heading_rad": None}


def fix_topic(opened: OpenBag) -> str:
    """The topic with most of a recording's fixes; "" where there is none."""
    counts = {name: topic.count for name, topic in opened.bag.topics.items() if topic.kind == FIX_KIND and topic.count}
    return max(sorted(counts), key=counts.__getitem__, default="")


class PositionLog:
    """The newest NavSatFix and the newest odometry of a recording, a second old at most.

    Args:
        run: whose messages are watched.
    """

    def __init__(self, run: RecordingRun) -> None:
        self._fix: Recorded | None = None
        self._odometry: Recorded | None = None
        if fix := fix_topic(run.opened):
            run.watch(fix, self._take_fix)
        if odometry := run.opened.choice.map.odometry:
            run.watch(odometry, self._take_odometry)

    def _take_fix(self, message: Recorded) -> None:
        self._fix = message

    def _take_odometry(self, message: Recorded) -> None:
        self._odometry = message

    def at(self, time_ns: int) -> dict[str, float | None]:
        """latitude, longitude in degrees; x_m, y_m, heading_rad in the frame of the odometry; None where not known.

        Args:
            time_ns: log time of the frame.
        """
        found: dict[str, float | None] = dict(_NOWHERE)
        if self._fix is not None and time_ns - self._fix.time_ns <= _OLDEST_NS:
            found |= _read(self._fix, _fix_of)
        if self._odometry is not None and time_ns - self._odometry.time_ns <= _OLDEST_NS:
            found |= _read(self._odometry, _pose_of)
        return found


def _read(message: Recorded, values_of: Any) -> dict[str, float]:
    """Finite numbers of a message; none of one that is none of its kind."""
    try:
        values: dict[str, float] = values_of(message.value)
    except (MessageError, AttributeError, TypeError, ValueError):
        return {}
    return values if all(map(math.isfinite, values.values())) else {}


def _fix_of(message: Any) -> dict[str, float]:
    if message.status.status < 0:  # no fix
        return {}
    latitude, longitude = float(message.latitude), float(message.longitude)
    return {"latitude": latitude, "longitude": longitude} if abs(latitude) <= 90 and abs(longitude) <= 360 else {}


def _pose_of(message: Any) -> dict[str, float]:
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    heading = math.atan2(2 * (turn.w * turn.z + turn.x * turn.y), 1 - 2 * (turn.y**2 + turn.z**2))
    return {"x_m": float(place.x), "y_m": float(place.y), "heading_rad": heading}
