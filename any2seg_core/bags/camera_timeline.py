"""camera_info over the time of a recording: each value from its stamp on, the first one before that."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from any2seg_core.bags.codec import Recorded
from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.sensors.camera import CameraModel, same_intrinsics

_STAMP_END = 12  # of CDR: encapsulation, seconds, nanoseconds


class CameraTimeline:
    """Notes the camera_info of some cameras as they come.

    Args:
        read: makes intrinsics of a camera's message, None where nothing comes of it; may raise UserError.
    """

    def __init__(self, read: Callable[[str, Any], CameraModel | None]) -> None:
        self._read = read
        self._bytes: dict[str, bytes] = {}
        self._known: dict[str, list[tuple[int, int, CameraModel]]] = {}  # stamp, bag time, intrinsics

    def take(self, name: str, message: Recorded) -> None:
        """The next camera_info of a camera; raises what `read` raises."""
        content = bytes(message.data[_STAMP_END:])
        if content == self._bytes.get(name):
            return
        camera = self._read(name, message.value)
        known = self._known.setdefault(name, [])
        if camera is None:
            return
        self._bytes[name] = content
        if not known or not same_intrinsics(known[-1][2], camera):
            known.append((_stamp_of(message), message.time_ns, camera))

    def changed(self, stamp_ns: int) -> dict[str, CameraModel]:
        """Camera -> its intrinsics at a stamp, of those that have several over the recording so far."""
        return {
            name: known[max(bisect_right(known, stamp_ns, key=lambda entry: entry[0]) - 1, 0)][2]
            for name, known in self._known.items()
            if len(known) > 1
        }

    def notes(self, start_ns: int) -> list[str]:
        """One line for each camera whose intrinsics change; `start_ns`: begin of the recording."""
        return [
            f"{name}: camera_info changes {'once' if len(known) == 2 else f'{len(known) - 1} times'}, first "
            f"{(known[1][1] - start_ns) / NS_PER_S:.1f} s after the start, from {_text(known[0][2])} to "
            f"{_text(known[1][2])}: each set gets that of its time"
            for name, known in self._known.items()
            if len(known) > 1
        ]


def _stamp_of(message: Recorded) -> int:
    try:
        return message.stamp_ns or message.time_ns
    except MessageError:
        return message.time_ns


def _text(camera: CameraModel) -> str:
    return f"{camera.width}x{camera.height} with a focal length of {camera.K[0][0]:.1f} px"
