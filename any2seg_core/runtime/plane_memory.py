"""PlaneMemory: a message that comes again is not projected again, and an equal plane is the same array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from any2seg_core.base.fixed_arrays import fixed, same_bytes
from any2seg_core.runtime.decoding import Reading
from any2seg_core.runtime.geometry import PlaneSource


@dataclass
class _Kept:
    """Of the newest message of one sensor.

    Attributes:
        message_ns, source: its stamp, and the geometry of its plane.
        plane: (H, W, 3), fixed; None where it lies in memory of the message.
        array: copy of what the message holds, where messages of this sensor come again; else None.
        came_again: it was in more than one set.
    """

    message_ns: int
    source: PlaneSource
    plane: np.ndarray | None
    array: np.ndarray | None
    came_again: bool = False


class PlaneMemory:
    """Planes of one stream of sets: those of slow sensors are made once, though their message is in several sets.

    A plane is used again only if the message holds the same bytes as the one it was made of, compared with a copy, and
    the geometry is the same. Copies are kept of sensors whose last message came again, so that others pay nothing.
    Bounded: one plane and one message for each sensor.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def forget(self) -> None:
        """Time has jumped."""
        self._kept.clear()

    def plane(self, name: str, reading: Reading, source: PlaneSource, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` returns, (H, W, 3): the same array as for the last message, `fixed`, where both are equal.

        Args:
            reading: the message. source: all else that its plane is made of. make: projects it; UserError as it raises.
        """
        kept = self._kept.get(name)
        is_again = kept is not None and (kept.message_ns, kept.source) == (reading.message_ns, source)
        if kept is not None and is_again:
            kept.came_again = True
            if kept.plane is not None and kept.array is not None and same_bytes(reading.array, kept.array):
                return kept.plane
        comes_again = kept is not None and kept.came_again
        plane = make()
        own: np.ndarray | None = None
        if comes_again or not np.may_share_memory(plane, reading.array):
            own = fixed(plane.copy() if np.may_share_memory(plane, reading.array) else plane)
            if kept is not None and kept.plane is not None and same_bytes(own, kept.plane):
                own = kept.plane
        self._kept[name] = _Kept(reading.message_ns, source, own, reading.array.copy() if comes_again else None)
        self._kept[name].came_again = is_again
        return plane if own is None else own
