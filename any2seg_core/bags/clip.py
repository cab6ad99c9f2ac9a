"""A part of a recording as an MCAP file of its own: all topics, their messages as they were stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from any2seg_core.bags.codec import Codec
from any2seg_core.bags.mcap_records import QOS_KEY
from any2seg_core.bags.mcap_writing import McapParts
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.storage import Stored, StoredTopic, is_latched
from any2seg_core.base.errors import UserError

_MOST_LATCHED = 50  # of one topic: several publishers each send their own


def clip_parts(path: Path, from_ns: int, until_ns: int) -> Iterator[bytes]:
    """The bytes of the file, in parts of about a megabyte; memory does not grow with its length.

    Messages are those of the recording, byte for byte; ones that were compressed one by one are unpacked, which the
    recording says and a single file cannot. What was latched before, as transforms that stand still, comes first, at
    the beginning of the clip: without it the clip has no calibration.

    Args:
        path: recording of any kind. from_ns, until_ns: log times, the second one excluded.

    Raises:
        UserError: the recording cannot be read, or the interval is empty; before the first part.
    """
    if until_ns <= from_ns:
        raise UserError(f"a clip from {from_ns} to {until_ns} ns: its end must lie behind its start", "value-range")
    with Recording(path) as bag:
        topics = bag.stored_topics
        forms = {topic.serialization for topic in topics}
        parts = McapParts({frozenset(["cdr"]): "ros2", frozenset(["ros1"]): "ros1"}.get(frozenset(forms), ""))
        channels: dict[StoredTopic, int] = {}
        yield parts.head()
        for topic, time_ns, data in chain(_latched(bag, topics, from_ns), bag.stored(topics, from_ns, until_ns)):
            if topic not in channels:
                channels[topic] = _declare(parts, topic)
            yield from parts.message(channels[topic], time_ns, data)
        yield from parts.end()


def _latched(bag: Recording, topics: list[StoredTopic], before_ns: int) -> Iterator[Stored]:
    wanted = [each for each in topics if is_latched(each.name, each.qos)]
    last: dict[StoredTopic, deque[bytes]] = {topic: deque(maxlen=_MOST_LATCHED) for topic in wanted}
    for topic, _, data in bag.stored(wanted, None, before_ns):
        if data not in last[topic]:
            last[topic].append(data)
    for topic, kept in last.items():
        for data in kept:
            yield topic, before_ns, data


def _declare(parts: McapParts, topic: StoredTopic) -> int:
    encoding, data = topic.schema
    name = topic.kind
    if topic.serialization == "ros1":
        name = name.replace("/msg/", "/")
    if not encoding:
        encoding, data = _definition(topic)
    schema = parts.schema(name, encoding, data) if name else 0
    return parts.channel(topic.name, schema, topic.serialization, {QOS_KEY: topic.qos_text} if topic.qos_text else {})


def _definition(topic: StoredTopic) -> tuple[str, bytes]:
    """Notation and text of a type that was not stored in an MCAP file; ("", b"") where nobody knows it."""
    is_ros1 = topic.serialization == "ros1"
    if topic.form and topic.definition.strip():
        return {"msg": "ros1msg" if is_ros1 else "ros2msg", "idl": "ros2idl"}[topic.form], topic.definition.encode()
    store = Codec(topic.kind, topic.definition, topic.form, topic.serialization).store
    if store is None or topic.kind not in store.fielddefs:
        return "", b""
    text, _ = store.generate_msgdef(topic.kind, ros_version=1 if is_ros1 else 2)
    return "ros1msg" if is_ros1 else "ros2msg", text.encode()
