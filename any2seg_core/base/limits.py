"""How much memory an input may ask for: one set of limits for every decoder and reader.

A small file or message can claim to be huge. Whoever decodes asks here how large the result may be, before memory is
taken for it. ``ANY2SEG_LIMITS`` raises limits, for every program of this project alike:

    ANY2SEG_LIMITS="result_mib=400 text_nodes=500000" any2seg predict ...
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from any2seg_core.base.errors import UserError

VARIABLE = "ANY2SEG_LIMITS"
_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one input may ask for; all values are positive.

    Attributes:
        result_mib: MiB that one decoded result (picture, cloud, array, unpacked chunk) may take, however few bytes it
            comes from.
        ratio: bytes that a result may take per byte delivered, where that is more.
        recording_mib: MiB that all compressed chunks of one recording, or a recording compressed as a whole, may unpack
            to, however small it is.
        recording_ratio: bytes that they may unpack to per byte delivered, where that is more.
        recording_messages: messages of a recording; or a quarter of its bytes, where that is more.
        camera_mpx: million pixels of a camera for which look-up tables and planes are made.
        text_kib: KiB of a YAML or JSON text.
        text_nodes: keys, values and lists of a YAML text, each alias counted as what it repeats.
        text_depth: levels of nesting of a YAML or JSON text.
    """

    result_mib: int = 64
    ratio: int = 64
    recording_mib: int = 1024
    recording_ratio: int = 1000
    recording_messages: int = 250_000
    camera_mpx: int = 13
    text_kib: int = 65_536
    text_nodes: int = 100_000
    text_depth: int = 64

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise UserError(f"limit {each.name}={value!r}: give a whole number above 0", "value-range")

    def result_bytes(self, delivered: int) -> int:
        """Bytes that a result may take that is made from so many delivered bytes."""
        return max(self.result_mib * _MIB, self.ratio * delivered)

    def recording_bytes(self, delivered: int) -> int:
        """Bytes that the chunks of a recording of so many bytes may unpack to."""
        return max(self.recording_mib * _MIB, self.recording_ratio * delivered)

    def messages_of(self, delivered: int) -> int:
        """Messages that a recording of so many bytes may hold."""
        return max(self.recording_messages, delivered // 4)

    @property
    def camera_pixels(self) -> int:
        return self.camera_mpx * 1_000_000

    @property
    def text_bytes(self) -> int:
        return self.text_kib * 1024


_in_use: Limits | None = None


def limits() -> Limits:
    """The limits in use: the defaults, changed by ``ANY2SEG_LIMITS``; UserError where that cannot be read."""
    global _in_use
    if _in_use is None:
        _in_use = parse_limits(os.environ.get(VARIABLE, ""))
    return _in_use


@contextmanager
def limits_of(**changes: int) -> Iterator[Limits]:
    """Other limits for a while, in this process; for programs that know their inputs."""
    global _in_use
    before = limits()
    _in_use = replace(before, **changes)
    try:
        yield _in_use
    finally:
        _in_use = before


def parse_limits(text: str) -> Limits:
    """``name=number`` pairs, separated by spaces or commas -> Limits; UserError names the pair at fault."""
    known = {each.name for each in fields(Limits)}
    values = {}
    for pair in text.replace(",", " ").split():
        name, _, number = pair.partition("=")
        if name not in known or not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise UserError(
                f"{VARIABLE}: {pair!r} is no name=number; names are {', '.join(sorted(known))}", "value-format"
            )
        values[name] = int(number)
    return Limits(**values)


def raising(name: str) -> str:
    """The way out, for a message that refuses an input: how this limit is raised."""
    return f"if it is genuine, raise the limit with {VARIABLE}={name}=..."


def require_room(needed: int, delivered: int, what: str) -> None:
    """UserError where `delivered` bytes may not ask for a result of `needed` bytes; `what` names it."""
    allowed = limits().result_bytes(delivered)
    if needed > allowed:
        asked = f"asks for {needed / _MIB:.0f} MiB of memory, {allowed / _MIB:.0f} are allowed"
        raise UserError(f"{what} of {delivered} bytes {asked}; {raising('result_mib')}", "limit-exceeded")
