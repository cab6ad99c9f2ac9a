"""What the readers of storage files share: losses, and quality of service as rosbag2 stores it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from any2seg_core.bags.codec import Form
from any2seg_core.bags.storage import RecordedQos
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_yaml

FORMS: dict[str, Form] = {"ros2msg": "msg", "ros1msg": "msg", "ros2idl": "idl", "omgidl": "idl"}
_QOS_WORDS = {
    "reliability": ("system_default", "reliable", "best_effort", "unknown", "best_available"),
    "durability": ("system_default", "transient_local", "volatile", "unknown", "best_available"),
    "history": ("system_default", "keep_last", "keep_all", "unknown"),
}


@dataclass(frozen=True)
class Lost:
    """A part of a file that cannot be read, behind which reading goes on.

    Attributes:
        what: for people, such as "the chunk at byte 4096 (its checksum differs)".
    """

    what: str


def parse_qos(text: Any) -> tuple[RecordedQos, ...]:
    """Profiles as rosbag2 stores them (YAML, words or numbers); none where they cannot be read."""
    try:
        entries = parse_yaml(text, "offered_qos_profiles") if isinstance(text, str) else None
    except UserError:
        return ()
    profiles = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            words = {name: _qos_word(entry.get(name), known) for name, known in _QOS_WORDS.items()}
            depth = entry.get("depth")
            profiles.append(RecordedQos(**words, depth=depth if isinstance(depth, int) else 0))
    return tuple(profiles)


def _qos_word(value: Any, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value.lower() in known:
        return value.lower()
    return known[value] if isinstance(value, int) and 0 <= value < len(known) else "unknown"
