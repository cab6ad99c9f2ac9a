"""Several recordings, or other data sets of the same sensors and classes, as one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.data.samples import Cache, FrameDataset, Sample
from any2seg_core.vocabulary.contract import Normalisation
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS


@dataclass(frozen=True)
class JoinedFrame:
    """One frame of one of several data sets.

    Attributes:
        name: unique among all of them. part: number of its data set. index: its number there. own: what it is there.
    """

    name: str
    part: int
    index: int
    own: Any


class JoinedDataset(FrameDataset):
    """The frames of several data sets of one split in a row.

    A sensor that only some of them have is absent in the frames of the others. Labels are those of all, or of none
    where one of them has none: then those of the others are not read.

    Args:
        parts: at least two, opened.

    Raises:
        UserError: other sensors, classes, encodings, statistics or event windows than the first has; it names the data
            set.
    """

    def __init__(self, parts: Sequence[FrameDataset]) -> None:
        first = parts[0]
        self.parts, self.kind, self.splits, self.cases = list(parts), first.kind, first.splits, first.cases
        self.root, self.split, self.skip_corrupt = first.root, first.split, first.skip_corrupt
        self.suite, self.label_space, self.pseudo, self.sparse = first.suite, first.label_space, None, first.sparse
        self.labelled = all(part.labelled for part in parts)
        for part in parts[1:]:
            self._require_alike(part)
        if not self.labelled:
            self.parts = [_unlabelled(part) for part in parts]
        self.is_choice = first.is_choice
        self.modalities = self.suite.canonical({name for part in parts for name in part.modalities})
        self.frames = [
            JoinedFrame(name, number, index, frame)
            for number, part in enumerate(parts)
            for index, (name, frame) in enumerate(zip(_names(parts, number), part.frames, strict=True))
        ]
        self._begin("none")

    def __getitem__(self, index: int) -> Sample:
        """As of the data set that the frame is from, under its name here."""
        if self._samples is not None and (cached := self._samples[index]) is not None:
            return cached
        frame = self.frames[index]
        return self.parts[frame.part][frame.index]._replace(frame=frame)

    def part(self, indices: Sequence[int], cache: Cache = "none", labelled: bool = True) -> FrameDataset:
        """As of every data set."""
        chosen = copy.copy(self)
        if not labelled:
            chosen.parts = [part.part(range(len(part)), labelled=False) for part in self.parts]
        chosen.frames = [self.frames[index] for index in indices]
        chosen.labelled = self.labelled and labelled
        chosen._whole = self  # its files may be temporary and go with it
        chosen._begin(cache)
        return chosen

    def labels(self, index: int) -> np.ndarray:
        """(H, W) uint8 train ids of one frame."""
        frame = self.frames[index]
        return self.parts[frame.part].labels(frame.index)

    @classmethod
    def on_disk(cls, root: Path, suite: SensorSuite | None = None) -> tuple[str, ...]:
        """None: no folder holds one."""
        return ()

    def present(self, frame: JoinedFrame) -> tuple[str, ...]:
        """The sensors of that frame."""
        return self.parts[frame.part].present(frame.own)

    @property
    def encodings(self) -> dict[str, str]:
        """As all of them have it."""
        return {name: code for part in reversed(self.parts) for name, code in part.encodings.items()}

    @property
    def event_window_ns(self) -> int:
        """As the first has it."""
        return self.parts[0].event_window_ns

    @property
    def normalisation(self) -> dict[str, Normalisation]:
        """As the first has it."""
        return self.parts[0].normalisation

    def files(self, frame: JoinedFrame) -> dict[str, list[Path]]:
        """As of its data set."""
        return self.parts[frame.part].files(frame.own)

    def read_plane(self, frame: JoinedFrame, name: str) -> np.ndarray:
        """As of its data set."""
        return self.parts[frame.part].read_plane(frame.own, name)

    def read_labels(self, frame: JoinedFrame) -> np.ndarray:
        """As of its data set."""
        return self.parts[frame.part].read_labels(frame.own)

    def condition(self, frame: JoinedFrame) -> str:
        """As of its data set."""
        return self.parts[frame.part].condition(frame.own)

    def recording(self, frame: JoinedFrame) -> str:
        """Unique among all of them."""
        return f"{frame.part} {self.parts[frame.part].recording(frame.own)}"

    def _require_alike(self, part: FrameDataset) -> None:
        first = self.parts[0]
        if part.suite != first.suite:
            raise UserError(
                f"{part.root} has the sensors of {part.suite.name}, {first.root} those of {first.suite.name}: take "
                "them apart",
                "value-conflict",
            )
        if self.labelled and (apart := part.label_space.told_apart(first.label_space)):
            raise UserError(
                f"{part.root} has labels {apart[0]}, {first.root} {apart[1]}: take them apart", "label-space-mismatch"
            )
        other = {name for name, code in part.encodings.items() if first.encodings.get(name, code) != code}
        if part.event_window_ns != first.event_window_ns:
            other.update(name for name in part.modalities if part.suite.sensor(name).kind == EVENTS)
        other.update(name for name in part.modalities if part.normalisation[name] != first.normalisation[name])
        if other:
            raise UserError(
                f"{part.root}: planes of {', '.join(sorted(other))} are made otherwise than those of {first.root}: "
                "take them apart",
                "plane-encoding",
            )

    def _find(self) -> list[JoinedFrame]:
        return self.frames

    def _expected(self) -> str:
        return "frames of its data sets"

    def _encoding(self, name: str) -> str:
        return self.encodings[name]


def _unlabelled(part: FrameDataset) -> FrameDataset:
    """The same frames, kept in memory if they were, without their labels."""
    if not part.labelled:
        return part
    return part.part(range(len(part)), "ram" if part.is_in_memory else "none", labelled=False)


def _names(parts: Sequence[FrameDataset], number: int) -> list[str]:
    """Names of the frames of one data set; with its number before them where an earlier one has one of them."""
    own = [frame.name for frame in parts[number].frames]
    before = {frame.name for part in parts[:number] for frame in part.frames}
    return [f"{number + 1}:{name}" for name in own] if before.intersection(own) else own
