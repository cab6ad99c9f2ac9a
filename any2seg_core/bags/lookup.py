"""The very messages that known sets were made of, found again in a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from any2seg_core.bags.codec import LazyPayload
from any2seg_core.bags.reader import Recording
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.vocabulary.topics import TopicMap


def read_sets(
    path: Path, topics: TopicMap, wanted: Mapping[int, Mapping[str, Sequence[int]]]
) -> dict[int, dict[str, list[Any]]]:
    """Find messages by their header stamps.

    Args:
        path: bag. topics: which topic carries which sensor.
        wanted: stamp of the set -> modality -> header stamps of its messages, nanoseconds.

    Returns:
        Stamp of the set -> modality -> messages, ready for ``FrameBuilder.build``. A message that the bag does not
        hold is left out.
    """
    found: dict[int, dict[str, list[Any]]] = {stamp_ns: {} for stamp_ns in wanted}
    names = {topic: name for name, topic in topics.streams.items()}
    sets_of: dict[tuple[str, int], list[int]] = {}
    for set_stamp_ns, members in wanted.items():
        for name, stamps_ns in members.items():
            for stamp_ns in stamps_ns:
                sets_of.setdefault((name, stamp_ns), []).append(set_stamp_ns)
    with Recording(path) as bag:
        for message in bag.messages(names):
            name = names[message.topic]
            try:
                header_ns = message.stamp_ns
            except MessageError:
                continue  # no set was made of it
            for set_stamp_ns in sets_of.get((name, header_ns), ()) if header_ns is not None else ():
                found[set_stamp_ns].setdefault(name, []).append(LazyPayload(message))
    return found


def start_ns(path: Path) -> int:
    """The log time of its first message; UserError for a bag that cannot be read or holds none."""
    with Recording(path) as bag:
        if bag.start_ns is None:
            raise UserError(f"{path}: holds no message; record it anew or give another bag", "bag-empty")
        return bag.start_ns
