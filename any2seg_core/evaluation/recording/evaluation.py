"""What comes of an evaluation of a recording."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from any2seg_core.evaluation.bootstrap import FrameBlocks
from any2seg_core.evaluation.frame_views import FrameView
from any2seg_core.evaluation.recording.scores import Phase
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore


@dataclass
class Evaluation:
    """What came of it.

    Attributes:
        conditions: first line of the JSON lines file. phases: intervals between faults.
        blocks: counts of the frames with a truth, by subset.
        board: scores by subset, over all frames, per number of the phase and per name of `WINDOWS`.
        injected: fault -> sensor -> messages hit.
        unreadable: the same of messages that a fault should have hit and that could not be read.
        absent: modality -> why it was not fused -> frames.
        unusable: why -> sets of which no message could be used. silent_frames: moments at which a set was due and none
            came (`ExpectedOutputMonitor`). Both have no labels and are missed by every subset.
        invalid_frames: frames with pixels whose logits are not finite; they are unlabelled and missed.
        reliability: sensor -> mean and lowest score, see `ReliabilityTally.document`.
        novelty: sensor -> how unlike training its frames are, see `NoveltyTally.document`; empty where the checkpoint
            has no statistics of its features.
        encodings: sensor -> how often it was `encoded`, and `reused` as its plane was that of the set before; empty for
            models that encode their sensors together, and with noise.
        worst: frames to look at. silent: modality -> spans in seconds in which it was not fused. end_s: length.
    """

    conditions: dict[str, Any]
    phases: list[Phase]
    board: Scoreboard
    blocks: FrameBlocks
    injected: dict[str, dict[str, int]] = field(default_factory=dict)
    unreadable: dict[str, dict[str, int]] = field(default_factory=dict)
    absent: dict[str, Counter[str]] = field(default_factory=dict)
    unusable: Counter[str] = field(default_factory=Counter)
    silent_frames: int = 0
    invalid_frames: int = 0
    reliability: dict[str, dict[str, Any]] = field(default_factory=dict)
    novelty: dict[str, dict[str, float | None]] = field(default_factory=dict)
    encodings: dict[str, dict[str, int]] = field(default_factory=dict)
    worst: list[FrameView] = field(default_factory=list)
    silent: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    end_s: float = 0.0
    has_truth: bool = False

    @property
    def scores(self) -> list[dict[str, SubsetScore]]:
        """Per phase, subset letters -> score; empty for a phase without a frame."""
        return [self.board.groups.get(number, {}) for number in range(len(self.phases))]

    def total(self) -> dict[str, SubsetScore]:
        """Scores over all phases."""
        return self.board.total
