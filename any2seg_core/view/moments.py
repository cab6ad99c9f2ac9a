"""Any moment of a recording, decoded and labelled through the road that all labels take."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from any2seg_core.bags.opened import OpenBag
from any2seg_core.bags.sets import BagSet, SetStream
from any2seg_core.bags.timing import clock_offset_ns
from any2seg_core.base.units import NS_PER_S
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.predictor import Predictor, Segmentation
from any2seg_core.runtime.set_segmenter import SegmentedSet, SetSegmenter
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS

_LEAD_NS = 2 * NS_PER_S  # what is read before a moment: health of the sensors and decoders of events need a past
_AHEAD_NS = 2 * NS_PER_S  # so much further on, reading goes on where it is
_OLDEST_NS = NS_PER_S  # a set that is older than this does not show the moment
_TOLERANCE_NS = 1_000_000  # addresses have milliseconds
_NOWHERE_NS = 2**63  # no moment lies behind it
_KEPT = 4
_NEVER, _SILENT = "never_seen", "silent"


@dataclass(frozen=True)
class Moment:
    """One set of a recording.

    Attributes:
        time_s: of its stamp, after the start of the recording.
        before_s, after_s: of the sets beside it; None where there is none, or where it is not known.
        frame: its planes and what they were made of; None where there is no set within a second.
        segmentation: labels; None without a checkpoint, or where nothing of the set could be used.
        missing: sensor -> why it is not in the set, or could not be used: a reason of reports, or "silent" for as long
            as was read.
    """

    time_s: float
    before_s: float | None = None
    after_s: float | None = None
    frame: Frame | None = None
    segmentation: Segmentation | None = None
    missing: dict[str, str] | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """Sensors that were fused; without a checkpoint those that could be used."""
        if self.segmentation is not None:
            return self.segmentation.used
        return () if self.frame is None else tuple(self.frame.planes)


def segmented_set(segmenter: SetSegmenter, found: BagSet, frame: Frame) -> SegmentedSet | None:
    """Labels of those sensors of a frame that the checkpoint takes; None where it has none of them."""
    known = segmenter.predictor.contract.modalities
    usable = {name: plane for name, plane in frame.planes.items() if name in known}
    if not usable:
        return None
    return segmenter.segment(found.sample_set, replace(frame, planes=usable), found.time_ns)


class MomentReader:
    """Finds moments in an open recording. For one thread.

    Going forward reads on; any other moment is reached through the index of the recording, from two seconds before it.

    Args:
        opened: the recording. predictor: makes the labels; None: there are none.
    """

    def __init__(self, opened: OpenBag, predictor: Predictor | None) -> None:
        self.opened, self.predictor = opened, predictor
        self.start_ns = opened.bag.start_ns or 0
        self.end_ns = opened.bag.end_ns or 0
        self._window_ns = DEFAULT_WINDOW_NS if predictor is None else predictor.contract.event_window_ns
        self._offset_ns: int | None = None
        sync = opened.sync_config(self._window_ns)
        self._segmenter = None if predictor is None else SetSegmenter(predictor, sync)
        self._kept: deque[Moment] = deque(maxlen=_KEPT)
        self._sets: Iterator[BagSet] = iter(())
        self._before: BagSet | None = None
        self._next: BagSet | None = None
        self._reached_ns = _NOWHERE_NS
        self._from_ns = 0

    @property
    def end_s(self) -> float:
        """Length of the recording."""
        return (self.end_ns - self.start_ns) / NS_PER_S

    def at(self, time_s: float) -> Moment:
        """The last set that is not later, or the first one of all.

        Args:
            time_s: after the start of the recording.
        """
        for kept in self._kept:
            until_s = kept.time_s + _OLDEST_NS / NS_PER_S if kept.after_s is None else kept.after_s
            if kept.frame is not None and kept.time_s <= time_s + _TOLERANCE_NS / NS_PER_S < until_s:
                return kept
        try:
            moment = self._read(self.start_ns + round(time_s * NS_PER_S) + _TOLERANCE_NS, time_s)
        except BaseException:
            self._reached_ns = _NOWHERE_NS  # what was read from has ended: the next moment is sought anew
            raise
        self._kept.append(moment)
        return moment

    def every(self) -> Iterator[Moment]:
        """All sets, in order."""
        moment = self.at(0.0)
        while True:
            if moment.frame is not None:
                yield moment
            if moment.after_s is None:
                return
            moment = self.at(moment.after_s)

    def _read(self, wanted_ns: int, time_s: float) -> Moment:
        if not self._reached_ns <= wanted_ns <= self._reached_ns + _AHEAD_NS:
            self._seek(wanted_ns)
        found: BagSet | None = None
        while self._next is not None and self._time_ns(self._next) <= wanted_ns:
            if found is not None:
                found.notice()
            self._before, found = found or self._before, self._next
            self._next = next(self._sets, None)
        if found is None and self._before is None and self._next is not None and wanted_ns <= self._first_ns():
            found, self._next = self._next, next(self._sets, None)
        before_s, after_s = self._seconds(self._before), self._seconds(self._next)
        if found is None or wanted_ns - self._time_ns(found) > _OLDEST_NS:
            self._before = found or self._before
            return Moment(time_s, before_s if found is None else self._seconds(found), after_s)
        self._reached_ns = self._time_ns(found)
        moment = self._decoded(found, before_s, after_s)
        self._before = found
        return moment

    def _first_ns(self) -> int:
        """Up to where the first set shows the moment, though it is later."""
        return self.start_ns + _OLDEST_NS

    def _seek(self, wanted_ns: int) -> None:
        self._from_ns = from_ns = wanted_ns - _LEAD_NS
        self._sets = iter(self._stream(from_ns))
        self._before, self._next = None, next(self._sets, None)
        self._reached_ns = from_ns
        if self._segmenter is not None:
            self._segmenter.reset()

    def _stream(self, from_ns: int) -> SetStream:
        return self.opened.sets(self._window_ns, from_ns=from_ns)

    def _time_ns(self, found: BagSet) -> int:
        """Log time of a set by its stamp."""
        if self._offset_ns is None:
            first = next(iter(self._stream(self.start_ns)), found)
            self._offset_ns = clock_offset_ns(first.stamp_ns, self.start_ns, self.end_ns)
        return found.stamp_ns + self._offset_ns

    def _seconds(self, found: BagSet | None) -> float | None:
        return None if found is None else max((self._time_ns(found) - self.start_ns) / NS_PER_S, 0.0)

    def _decoded(self, found: BagSet, before_s: float | None, after_s: float | None) -> Moment:
        frame = found.frame()
        missing = {**found.sample_set.missing, **frame.reasons}
        if self._from_ns > self.start_ns:  # what was before is not known here
            missing = {name: _SILENT if why == _NEVER else why for name, why in missing.items()}
        segmented = None if self._segmenter is None else segmented_set(self._segmenter, found, frame)
        segmentation = None if segmented is None else segmented.segmentation
        time_s = self._seconds(found)
        assert time_s is not None  # there is a set
        return Moment(time_s, before_s, after_s, frame, segmentation, missing)
