"""A look through a recording before time is spent on it: which sets it gives, what they lack, what is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from any2seg_core.bags.conditions import Conditions
from any2seg_core.bags.opened import OpenBag, open_bag
from any2seg_core.bags.reader import Recorded
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag import split_of
from any2seg_core.data.bag_settings import BagSettings, read_settings
from any2seg_core.data.samples import LABELS
from any2seg_core.data.usable_sets import Tally, UsableSets
from any2seg_core.vocabulary.contract import default_encodings

if TYPE_CHECKING:
    from any2seg_core.data.check import TreeReport

_FOR_LABELS = "train on it as data.unlabelled, or name a topic of labels (topics: {truth: /...}; truth_coding)"


def check_recording(
    report: TreeReport,
    modalities: Sequence[str] | None,
    read: bool,
    progress: Callable[[str, int, int], None],
) -> np.ndarray:
    """Fill a report from one pass over a recording; nothing is kept or written.

    Args:
        report: of that root. modalities: sensors that must have a topic; None: those that have one.
        read: decode and project every set; False counts the sets by their messages alone.
        progress: called with a title, messages read and messages in all.

    Returns:
        (256,) int64 label pixels by id.

    Raises:
        UserError: nothing readable, no usable set, or a sensor that must be there and is not.
    """
    root = Path(report.root)
    settings = read_settings(root)
    wanted = tuple(modalities or ())
    with open_bag(root, settings.bag_options(wanted, labelled=True)) as opened:
        absent = [name for name in wanted if name not in opened.modalities]
        if absent:
            raise UserError(
                f"{root}: no topic for {', '.join(absent)}: say which in any2seg.yaml (topics)", "bag-sensor-missing"
            )
        report.encodings = {name: default_encodings(opened.suite)[name] for name in opened.modalities}
        return _RecordingCheck(report, opened, settings, progress).run(read)


class _RecordingCheck:
    """One look through an open recording."""

    def __init__(
        self,
        report: TreeReport,
        opened: OpenBag,
        settings: BagSettings,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._report, self._opened, self._settings = report, opened, settings
        self._conditions = Conditions(opened.bag.path)
        self._has: Counter[str] = Counter()
        self._pixels = np.zeros(256, np.int64)
        self._tally = Tally()
        self._done, self._progress = 0, progress

    def run(self, read: bool) -> np.ndarray:
        frames = 0
        start_ns, end_ns = self._opened.bag.start_ns or 0, self._opened.bag.end_ns or 0
        for time_ns, present in self._decoded() if read else self._counted():
            time_s = (time_ns - start_ns) / NS_PER_S
            split = split_of(time_s, (end_ns - start_ns) / NS_PER_S, self._settings.val_share)
            condition = self._settings.condition or self._conditions.at(time_s)
            counts = self._report.frames.setdefault(split, {})
            counts[condition] = counts.get(condition, 0) + 1
            self._has.update(present)
            frames += 1
        self._tell(frames)
        return self._pixels

    def _decoded(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        found = UsableSets(self._opened, self._settings.selection(), self._tally, self._count)
        for usable in found:
            for name, plane in usable.planes.items():
                self._note_size(name, plane)
            if usable.labels is not None:
                self._note_size(LABELS, usable.labels)
                self._pixels += np.bincount(usable.labels.ravel(), minlength=256)
            yield usable.bag_set.time_ns, tuple(usable.planes)
        if not self._report.frames:
            raise UserError(found.why_nothing(), "bag-no-sets")

    def _counted(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        for bag_set in self._opened.sets(transform=self._passing):
            yield bag_set.time_ns, tuple(bag_set.sample_set.samples)
        if not self._report.frames:
            raise UserError(f"{self._opened.bag.path}: its messages make no set; bag inspect says more", "bag-no-sets")

    def _passing(self, messages: Iterable[Recorded]) -> Iterator[Recorded]:
        for message in messages:
            self._count()
            yield message

    def _count(self) -> None:
        self._done += 1
        self._progress(self._opened.bag.path.name, self._done, self._opened.message_total)

    def _note_size(self, key: str, image: np.ndarray) -> None:
        table = self._report.sizes.setdefault(key, {})
        size = f"{image.shape[1]}x{image.shape[0]}"
        table[size] = table.get(size, 0) + 1

    def _tell(self, frames: int) -> None:
        report, opened = self._report, self._opened
        first = next(iter(report.frames))
        damage = opened.bag.damage
        unreadable = [f"{count} times {problem}" for problem, count in self._tally.problems.most_common()]
        report.problems = {split: [] for split in report.frames} | {first: [*damage, *unreadable]}
        topics = opened.choice.map
        report.notes += [f"{name} is {topics.streams[name]}" for name in opened.modalities]
        report.notes += [f"{LABELS}: {topics.truth or f'no topic: {_FOR_LABELS}'}"]
        report.notes += [f"calibration: {opened.calibration.source or 'none'}", *opened.calibration.missing]
        report.notes += [f"{name}: in {self._has[name]} of {frames} frames" for name in opened.modalities
                         if self._has[name] < frames]  # fmt: skip
        report.notes += [f"{count} of {self._tally.sets} sets are no frames: {reason}"
                         for reason, count in self._tally.skipped.most_common()]  # fmt: skip
        report.notes += [warning for warning in (*opened.bag.warnings, *opened.notes) if warning not in damage]
