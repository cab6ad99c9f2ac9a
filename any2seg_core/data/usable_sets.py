"""The sets of a recording that are worth keeping, decoded, projected and labelled: what data sets are made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.bags.motion import MotionGate, parse_motion
from any2seg_core.bags.opened import OpenBag
from any2seg_core.bags.reader import Recorded
from any2seg_core.bags.sets import BagSet
from any2seg_core.bags.topics import CLOUD_KIND
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.moments import is_near
from any2seg_core.data.recording_truth import TruthCoding, cloud_truth, on_grid, pixels_per_class
from any2seg_core.runtime.frame import Frame
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED
from any2seg_core.vocabulary.truth_codings import TAG


@dataclass(frozen=True)
class Selection:
    """Which sets of a recording are wanted.

    Attributes:
        every: take every n-th of them. min_motion: "0.5m", "4%" or "" for no such rule.
        complete: leave out sets that lack a sensor in use, or have one that is ill or unreadable.
        start_s, end_s: seconds after the first message of the recording, when a set is complete.
        moments: stamps, nanoseconds, sorted: only sets within `TOLERANCE_NS` of one; none: all.
        event_window_ns: length of the event window, as in the input contract that will be trained.
        truth_coding: of the truth topic; one of points (semantic LiDAR) is read as tags.
    """

    every: int = 1
    min_motion: str = ""
    complete: bool = True
    start_s: float = 0.0
    end_s: float = math.inf
    moments: tuple[int, ...] = ()
    event_window_ns: int = DEFAULT_WINDOW_NS
    truth_coding: TruthCoding = TruthCoding()

    def __post_init__(self) -> None:
        self.truth_coding.require_effect()
        if self.every < 1:
            raise UserError(f"every={self.every}: take every n-th set, n at least 1", "value-range")
        if not 0.0 <= self.start_s < self.end_s:
            raise UserError(
                f"start_s={self.start_s:g}, end_s={self.end_s:g}: expected 0 <= start_s < end_s", "value-range"
            )


@dataclass(kw_only=True)
class Tally:
    """What became of the sets of a recording.

    Attributes:
        sets: synchronised sets. skipped: reason -> sets that were left out.
        problems: what could not be read -> number of times.
    """

    sets: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"sets": self.sets, "skipped": dict(self.skipped), "problems": dict(self.problems)}


class UsableSet(NamedTuple):
    """One set.

    Attributes:
        number: its number among all sets of the recording. bag_set: where it came from.
        frame: its planes, at least one, and why others are missing. labels: (H, W) uint8 train ids, None without truth.
    """

    number: int
    bag_set: BagSet
    frame: Frame
    labels: np.ndarray | None

    @property
    def planes(self) -> dict[str, np.ndarray]:
        """Per usable modality (H, W, 3) uint8, never empty."""
        return self.frame.planes


class StampNames:
    """Names of sets by their stamps; a stamp that comes again, where time jumps back, gets ``_2`` and so on.

    Args:
        given: names that were given before.
    """

    def __init__(self, given: Iterable[str] = ()) -> None:
        self._seen = Counter(name.partition("_")[0] for name in given)

    def name(self, stamp_ns: int) -> str:
        """Name of the next set; names sort as stamps do."""
        stamp = f"{stamp_ns:019d}"
        self._seen[stamp] += 1
        return stamp if self._seen[stamp] == 1 else f"{stamp}_{self._seen[stamp]}"


@dataclass(frozen=True)
class ResumePoint:
    """Sets of an earlier pass with the same selection: they are not given again.

    Attributes:
        last: number of the newest set that was given. first_planes: number of each set that was given -> reads its
            first plane. tally: of all sets up to the last.
    """

    last: int = -1
    first_planes: Mapping[int, Callable[[], np.ndarray]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


class UsableSets:
    """Iterates once over the usable sets of a recording and counts the others.

    A pass that goes on behind `known` gives what one from the start would give from there on: earlier sets are read for
    all that the following ones depend on (order, motion, health of the sensors), but not projected.

    Args:
        on_message: called for every message that was read, for a progress bar.

    Attributes:
        has_cloud_truth: labels are those of LiDAR points, at the pixels that they fall on.

    Raises:
        UserError: a selection that this recording cannot serve.

    Examples:
        >>> with open_bag(path) as opened:
        ...     for found in UsableSets(opened, Selection(every=5)):
        ...         found.planes
    """

    def __init__(
        self,
        opened: OpenBag,
        selection: Selection,
        tally: Tally | None = None,
        on_message: Callable[[], None] = lambda: None,
        known: ResumePoint | None = None,
    ) -> None:
        self.tally = tally or Tally()
        self._opened, self._selection, self._on_message = opened, selection, on_message
        self._known = known or ResumePoint()
        self._is_labelled = bool(opened.choice.map.truth)
        self.has_cloud_truth = _has_cloud_truth(opened, selection)
        self._gate: MotionGate | None = None
        if selection.min_motion:
            self._gate = MotionGate(*parse_motion(selection.min_motion), opened.choice.map.odometry)
        self._candidates = 0
        self.tally.sets += self._known.tally.sets
        self.tally.skipped.update(self._known.tally.skipped)
        self.tally.problems.update(self._known.tally.problems)

    def __iter__(self) -> Iterator[UsableSet]:
        start_ns = self._opened.bag.start_ns or 0
        stream = self._opened.sets(self._selection.event_window_ns, self._watched)
        for index, bag_set in enumerate(stream):
            time_s = (bag_set.time_ns - start_ns) / NS_PER_S
            if time_s >= self._selection.end_s:
                break
            reason = self._unwanted(bag_set, time_s)
            if index <= self._known.last:
                if not reason:
                    self._pass_by(index, bag_set)
                continue
            self.tally.sets += 1
            found = reason or self._made(index, bag_set)
            if isinstance(found, UsableSet):
                yield found
            else:
                self.tally.skipped[found] += 1
        self._opened.bag.warnings.extend(stream.notes(start_ns))

    def why_nothing(self) -> str:
        """One line for the error when not a single set was usable."""
        tally = self.tally
        reasons = ", ".join(f"{count} {reason}" for reason, count in tally.skipped.most_common())
        reasons = reasons or "the synchroniser made none"
        problem = f" ({tally.problems.most_common(1)[0][0]})" if tally.problems else ""
        way_out = (
            "choose sensors with modalities, or the synchroniser's settings with params (bag inspect recommends some)"
        )
        if any("truth" in reason for reason, _ in tally.skipped.most_common(1)):
            classes = self._selection.truth_coding.space.name
            way_out = f"name another topic of {classes} labels with truth, its truth_coding, or go without: none"
        return f"{self._opened.bag.path}: none of {tally.sets} sets can be used: {reasons}{problem}; {way_out}"

    def _watched(self, messages: Iterable[Recorded]) -> Iterator[Recorded]:
        for message in messages if self._gate is None else self._gate.watch(messages):
            self._on_message()
            yield message

    def _unwanted(self, bag_set: BagSet, time_s: float) -> str:
        """Why a set is left out before anything of it is decoded; "" if it is not."""
        if time_s < self._selection.start_s:
            return "before start_s"
        if self._selection.moments and not is_near(self._selection.moments, bag_set.stamp_ns):
            return "no moment that is wanted"
        absent = [name for name in self._opened.modalities if name not in bag_set.sample_set.samples]
        if absent and self._selection.complete:
            return f"without {', '.join(absent)}"
        if self._is_labelled and bag_set.truth is None:
            return "no truth near enough"
        self._candidates += 1
        return "every n-th" if (self._candidates - 1) % self._selection.every else ""

    def _made(self, index: int, bag_set: BagSet) -> UsableSet | str:
        """The set with planes and labels, or why it is left out."""
        frame = bag_set.frame()
        self.tally.problems.update(
            why if why.startswith(f"{name}: ") else f"{name}: {why}" for name, why in frame.errors.items()
        )
        self._opened.bag.warnings.extend(frame.notes)
        if not frame.planes or (frame.errors and self._selection.complete):
            empty = [name for name, reason in frame.reasons.items() if reason == "empty"]
            return f"empty {', '.join(empty)}" if len(empty) == len(frame.errors) else "unreadable"
        first = next(iter(frame.planes.values()))
        if self._gate is not None and not self._gate.passes(first):
            return "too little motion"
        labels = None
        if self._is_labelled:
            try:
                labels = self._labels(bag_set, first.shape[:2])
            except UserError as error:
                self.tally.problems[f"truth: {error}"] += 1
                return "truth unreadable"
        return UsableSet(index, bag_set, frame, labels)

    def _labels(self, bag_set: BagSet, size: tuple[int, int]) -> np.ndarray:
        """The ids by which `bag evaluate` judges, on the grid of the planes."""
        topic, coding = self._opened.choice.map.truth, self._selection.truth_coding
        if not self.has_cloud_truth:
            labels = coding.read(bag_set.truth, topic)
            pixels_per_class(labels, len(coding.space))
            labels = on_grid(labels, size)
            return np.where(labels == NOT_ANNOTATED, np.uint8(IGNORE), labels)  # files of DELIVER know one of them
        assert bag_set.frames.rig is not None  # it made the planes whose size this is
        calibration = bag_set.frames.rig.calibration
        calibration = replace(calibration, camera=calibration.camera.scaled(size[1], size[0]))
        return cloud_truth(bag_set.truth, topic, coding, calibration)

    def _pass_by(self, index: int, bag_set: BagSet) -> None:
        bag_set.notice()
        if self._gate is not None and index in self._known.first_planes:
            self._gate.passes(self._known.first_planes[index]())


def _has_cloud_truth(opened: OpenBag, selection: Selection) -> bool:
    """Whether truth is a semantic LiDAR; UserError where nobody says what its tags mean."""
    topic = opened.choice.map.truth
    is_cloud = bool(topic) and opened.bag.topics[topic].kind == CLOUD_KIND
    if is_cloud and selection.truth_coding.kind != TAG:
        raise UserError(
            f"truth topic {topic} holds points, which have tags, not {selection.truth_coding.kind}: give "
            f"truth_coding={TAG} and of which CARLA version they are, carla_version=0.9.14",
            "value-conflict",
        )
    return is_cloud
