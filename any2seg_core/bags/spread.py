"""Some frames from all over a recording, to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from any2seg_core.bags.opened import OpenBag
from any2seg_core.bags.reader import Recorded
from any2seg_core.base.units import NS_PER_S
from any2seg_core.runtime.frame import Frame


def spread_frames(
    opened: OpenBag, sensors: Sequence[str], count: int, on_message: Callable[[], None] = lambda: None
) -> Iterator[tuple[float, Frame]]:
    """The first frame of each of some equal parts of a recording in which all of some sensors are usable.

    Args:
        opened: the recording. sensors: each of them one that it has, and that its calibration can bring to the camera.
        count: of parts. on_message: called for every message that was read, for a progress bar.

    Yields:
        Seconds after the first message of the recording, and the frame.
    """
    opened = replace(opened, modalities=opened.suite.canonical(sensors))
    start_ns, end_ns = opened.bag.start_ns or 0, opened.bag.end_ns or 0
    length_ns, next_part = max(end_ns - start_ns, 1), 0

    def counted(messages: Iterable[Recorded]) -> Iterator[Recorded]:
        for message in messages:
            on_message()
            yield message

    for bag_set in opened.sets(transform=counted):
        part = (bag_set.time_ns - start_ns) * count // length_ns
        if part < next_part or not set(sensors) <= set(bag_set.sample_set.samples):
            continue
        frame = bag_set.frame()
        if set(sensors) <= set(frame.planes):
            yield (bag_set.time_ns - start_ns) / NS_PER_S, frame
            next_part = part + 1
            if next_part >= count:
                return
