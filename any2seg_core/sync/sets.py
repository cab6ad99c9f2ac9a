"""What goes into the synchroniser as settings, and what comes out: sets and counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from any2seg_core.base.errors import UserError
from any2seg_core.sync.clock import BACKWARD_JUMP_NS, MS
from any2seg_core.sync.stream import Gap, Sample, StreamConfig, StreamStats


@dataclass(frozen=True)
class SyncConfig:
    """Settings of the synchroniser. All times in nanoseconds.

    Attributes:
        streams: settings per stream; a stream that is never published is legal.
        reference_priority: streams that may open a set, best first.
        timeout_ns: longest wait of a set after the arrival of its reference sample.
        timeout_without_reference_ns: how long a better reference is waited for at the start, and the least silence
            after which a stream counts as dead.
        min_streams: sets with fewer streams are not emitted.
        max_collectors: most sets open at a time; the oldest is emitted early.
        jump_reset_ns: a reference stamp this far after the last set is a jump in time.
        publish_late: also emit sets that are older than the last one.

    Examples:
        >>> from any2seg_core import StreamConfig, SyncConfig
        >>> SyncConfig({"rgb": StreamConfig()}, reference_priority=("lidar",))
        Traceback (most recent call last):
        any2seg_core.base.errors.UserError: reference_priority ('lidar',): name each of ['rgb'] at most once
    """

    streams: dict[str, StreamConfig]
    reference_priority: tuple[str, ...]
    timeout_ns: int = 50 * MS
    timeout_without_reference_ns: int = 200 * MS
    min_streams: int = 1
    max_collectors: int = 10
    jump_reset_ns: int = 10_000 * MS
    publish_late: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference_priority", tuple(self.reference_priority))
        unknown = [name for name in self.reference_priority if name not in self.streams]
        if unknown or not self.reference_priority or len(set(self.reference_priority)) < len(self.reference_priority):
            raise UserError(
                f"reference_priority {self.reference_priority}: name each of {sorted(self.streams)} at most once",
                "value-unknown",
            )
        least = {"timeout_ns": 0, "timeout_without_reference_ns": 1, "min_streams": 1, "max_collectors": 1,
                 "jump_reset_ns": BACKWARD_JUMP_NS}  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name}: must be at least {low}, got {getattr(self, name)}", "value-range")


@dataclass(frozen=True)
class SampleSet:
    """Samples that belong together.

    Attributes:
        stamp_ns: time of the set: stamp of the reference sample minus the offset of its stream.
        reference: stream that opened the set.
        samples: per stream that is there, its samples ordered by stamp: one, of a "window" stream one or more.
        missing: per stream that is not there, a key of SYNC_REASONS where something is wrong with what it sends, else
            "never_seen", "dead", "disabled", "stale" (alive, but nothing near enough) or "timeout" (was waited for in
            vain).
        age_ns: per stream that is there, target minus stamp of the (newest) sample; negative means newer.
        offsets_ns: per stream that is there, its `StreamConfig.offset_ns` at that moment.
        gaps: per stream that is missing as "stale" or "timeout", how far away its nearest message is.
        faults: per stream with something wrong in what it sends, whether it is there or not, one line that says what.
    """

    stamp_ns: int
    reference: str
    samples: dict[str, tuple[Sample, ...]]
    missing: dict[str, str]
    age_ns: dict[str, int]
    offsets_ns: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, Gap] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SyncStats:
    """Counts since construction, and the reference stream of the moment.

    `sets_incomplete` were not emitted: a required stream was missing, or there were fewer than `min_modalities`.
    """

    streams: dict[str, StreamStats]
    sets_emitted: int
    sets_incomplete: int
    resets: int
    reference: str | None
