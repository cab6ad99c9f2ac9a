"""What the page can show: drives, with what is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from any2seg_core.view.frames import DriveFrame
from any2seg_core.view.moments import MomentReader
from any2seg_core.vocabulary.modalities import SensorSuite


class DriveTopic(NamedTuple):
    """One topic of a drive; sensor: its title, "" for topics of none."""

    name: str
    kind: str
    sensor: str
    messages: int


@dataclass(frozen=True)
class Drive:
    """One recording.

    Attributes:
        drive_id: in addresses: letters and digits. title: name for people.
        start_ns, end_ns: log time of its first and last message.
        facts: (name, text) each: vehicle, date, weather, ... suite, sensors: what it has of which suite.
        topics: all of them. problems: what somebody should know, one line each.
        refusal: why it cannot be shown; "" if it can.
    """

    drive_id: str
    title: str
    start_ns: int
    end_ns: int
    suite: SensorSuite
    sensors: tuple[str, ...]
    rate_hz: float
    facts: Sequence[tuple[str, str]] = ()
    topics: Sequence[DriveTopic] = ()
    problems: Sequence[str] = ()
    refusal: str = ""

    @property
    def length_s(self) -> float:
        """From the first to the last message."""
        return max(self.end_ns - self.start_ns, 0) / 1e9


@dataclass(frozen=True)
class KnownFrames:
    """Frames of a drive. reached_s: how far they go; they are all where that is None."""

    frames: Sequence[DriveFrame] = field(default_factory=tuple)
    reached_s: float | None = None


class Drives(Protocol):
    """One recording, or the drives of a store.

    Attributes:
        idle: work in small steps that a thread does while nobody asks for a moment.
    """

    idle: Iterator[None]

    def drive(self, drive_id: str) -> Drive | None:
        """None where there is none of that name."""

    def frames(self, drive: Drive) -> KnownFrames:
        """What is known of it over time, by now."""

    def recording(self, drive_id: str) -> AbstractContextManager[Path]:
        """Where its recording lies on this machine, for as long as it is used; UserError where it is not there."""

    def open_reader(self, drive_id: str) -> AbstractContextManager[MomentReader]:
        """Opens its recording, with a checkpoint where there is one; UserError where that fails."""
