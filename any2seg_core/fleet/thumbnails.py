"""What the camera of a recording saw at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from any2seg_core.bags.reader import Recorded, Recording
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.fleet.queries import ask
from any2seg_core.fleet.remote import shown_url
from any2seg_core.fleet.sources import indexed_source, local_excerpt
from any2seg_core.fleet.store import FleetStore
from any2seg_core.messages.readers import StreamReader
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import COLOUR, GREY, IMAGE

_AROUND_S = 2.0  # of log time, that a message may be late

_CAMERAS = "SELECT sensor, topic FROM topics JOIN recordings USING (recording_id) WHERE url = ? AND sensor IS NOT NULL"
_ID = "SELECT recording_id FROM recordings WHERE url = ?"


def camera_pictures(
    store: FleetStore, url: str, moments: Mapping[int, float]
) -> tuple[dict[int, np.ndarray], str]:
    """Pictures of the first camera of a recording.

    Args:
        url: of a recording in the index. moments: stamp in nanoseconds -> seconds from the start of the recording.

    Returns:
        (stamp -> (H, W, 3) uint8 RGB, why others are not there or "").
    """
    topics: dict[str, str] = dict(ask(store, _CAMERAS, [url]).rows)
    found: dict[int, np.ndarray] = {}
    waiting = list(moments.items())
    try:
        source = indexed_source(url, ask(store, _ID, [url]).rows[0][0])
        while waiting:
            at_s = waiting[0][1]
            with local_excerpt(source, at_s - _AROUND_S, at_s + _AROUND_S) as copy:
                suite = read_settings(copy.path).sensors
                name = next((each for each in _cameras(suite) if each in topics), None)
                if name is None:
                    return {}, f"{shown_url(url)}: has no camera"
                count = len(waiting) if copy.is_whole else 1  # what was fetched as a whole is not fetched again
                here, waiting = waiting[:count], waiting[count:]
                with Recording(copy.path) as bag:
                    start_ns = copy.start_ns or bag.start_ns or 0
                    for stamp_ns, at_s in here:
                        around_ns = start_ns + round(at_s * NS_PER_S)
                        picture = _nearest(bag, topics[name], name, suite, stamp_ns, around_ns)
                        found |= {} if picture is None else {stamp_ns: picture}
    except UserError as error:
        return found, str(error)
    return found, ""


def _cameras(suite: SensorSuite) -> Sequence[str]:
    return [name for name in suite.of_kind(IMAGE) if suite.sensor(name).format in (COLOUR, GREY)]


def _nearest(
    bag: Recording, topic: str, name: str, suite: SensorSuite, stamp_ns: int, around_ns: int
) -> np.ndarray | None:
    """The picture whose stamp is nearest; None without one that can be read."""
    reach_ns = round(_AROUND_S * NS_PER_S)
    best: tuple[int, Recorded] | None = None
    for message in bag.messages([topic], around_ns - reach_ns, around_ns + reach_ns):
        try:
            apart_ns = abs((message.stamp_ns or message.time_ns) - stamp_ns)
        except MessageError:
            continue
        if best is None or apart_ns < best[0]:
            best = apart_ns, message
    if best is None:
        return None
    try:
        pixels = StreamReader(suite=suite).read(name, best[1].value)
    except MessageError:
        return None
    if pixels.dtype != np.uint8:
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)  # (H, W, 3)
