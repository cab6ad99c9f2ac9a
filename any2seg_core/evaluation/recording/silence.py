"""Detects missing outputs: moments of a recording at which labels were due and none were made.

A set is due about as often as the sensor that opens sets sends in the recording itself, before any fault. Between two
sets, and behind the last one up to the last message of the recording's sensors, what counts as missed is

- every truth that no set was compared with and that is 3/4 of a usual period or more from both sets and from the missed
  truth before it (a truth that is faster than the sensors does not count twice);
- where neither a set nor a truth comes for more than 2.5 usual periods: one moment for each period.

Before the first set nothing is missed: a system that starts waits for its sensors. So it is after an interval of more
than 10 s of log time in which nothing at all was recorded (`pauses`): the clock was set, or the recorder stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

from any2seg_core.bags.pauses import Pause, PauseLog
from any2seg_core.bags.reader import LazyPayload, Recorded
from any2seg_core.bags.sets import BagSet
from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.recording_truth import Compared, Truth, TruthCoding, TruthFolder, topic_truth
from any2seg_core.sync import SyncConfig
from any2seg_core.vocabulary.topics import TopicMap

_INTERVALS = 31  # the usual period is the median of so many
_LAGS = 31  # a set is complete soon after its stamp: the least of so many, for the log time of a missed moment
_SETTLE_NS = NS_PER_S  # a truth that waits longer for a set keeps its counts alone: memory in a long silence


@dataclass(frozen=True)
class MissedOutput:
    """A moment without a set: when a set would have been due, and what was to be seen there, where it is known."""

    stamp_ns: int
    time_ns: int
    truth: Truth | None = None


@dataclass(frozen=True)
class _Mark:
    """What is remembered of a set: stamp, log time, who opened it and when that came, stamp of its truth."""

    stamp_ns: int
    time_ns: int
    reference: str
    opened_ns: int
    truth_ns: int | None = None


class _Pace:
    """How often a stream sends, and its last message."""

    def __init__(self) -> None:
        self.stamp_ns = self.time_ns = 0
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS)

    def note(self, stamp_ns: int, time_ns: int) -> None:
        if self.stamp_ns and stamp_ns > self.stamp_ns:
            self._intervals_ns.append(stamp_ns - self.stamp_ns)
        self.stamp_ns, self.time_ns = stamp_ns, time_ns

    @property
    def period_ns(self) -> int:
        """Median of the last intervals; 0 while there is none."""
        return median_low(self._intervals_ns) if self._intervals_ns else 0


class ExpectedOutputMonitor:
    """Sees the messages of a recording before any fault, and its sets after them.

    Args:
        topics: which topic carries which sensor, and the truth. sync: settings of the synchroniser.
        folder: truth of files, instead of the topic. num_classes: K of the labels.
        others: messages of all topics that `messages` does not see; read only where these leave a gap.
        coding: of images on the truth topic; None: train ids. compared: see `compared_truth`.

    Attributes:
        pauses: intervals in which nothing was recorded.

    Examples:
        >>> watch = ExpectedOutputMonitor(topics, sync, None, 25)
        >>> for found in watch.frames(SetStream(injector(watch.messages(bag.messages())), topics, sync, frames)): ...
    """

    def __init__(
        self,
        topics: TopicMap,
        sync: SyncConfig,
        folder: TruthFolder | None,
        num_classes: int,
        others: Iterable[Recorded] = (),
        coding: TruthCoding | None = None,
        compared: Compared = lambda labels: labels,
    ) -> None:
        self._coding, self._compared = coding or TruthCoding(), compared
        self._log = PauseLog(message.time_ns for message in others)
        self._streams = {topic: name for name, topic in topics.streams.items() if name in sync.streams}
        self._paces = {name: _Pace() for name in self._streams.values()}
        self._sync, self._folder, self._num_classes = sync, folder, num_classes
        self._lags_ns: deque[int] = deque(maxlen=_LAGS)
        self._truth_topic = "" if folder is not None else topics.truth
        self._truths: deque[Truth] = deque()  # those that may still be missed
        self._fresh: deque[tuple[int, Truth]] = deque()  # those of them that hold their picture, by log time

    @property
    def pauses(self) -> tuple[Pause, ...]:
        return tuple(self._log.pauses)

    def messages(self, recorded: Iterable[Recorded]) -> Iterator[Recorded]:
        """The messages as they are."""
        for message in recorded:
            self._log.note(message.time_ns)
            name = self._streams.get(message.topic)
            if name is not None or message.topic == self._truth_topic:
                try:
                    stamp_ns = message.stamp_ns
                except MessageError:
                    stamp_ns = None  # no set is made of it
                if stamp_ns and name is not None:
                    self._paces[name].note(stamp_ns, message.time_ns)
                elif stamp_ns:
                    self._await(message)
            yield message

    def frames(self, sets: Iterable[BagSet]) -> Iterator[BagSet | MissedOutput]:
        """The sets in order, and between them the moments at which there should have been one."""
        before = None
        for bag_set in sets:
            reference = bag_set.sample_set.reference
            opened_ns = bag_set.sample_set.samples[reference][-1].arrival_ns
            mark = _Mark(bag_set.stamp_ns, bag_set.time_ns, reference, opened_ns, self._truth_of(bag_set))
            if before is not None:
                usual_ns = self._usual_ns(before.reference, mark.reference)
                yield from self._between(before, mark, usual_ns)
            self._forget(before, mark)
            self._lags_ns.append(mark.time_ns - mark.stamp_ns)
            before = mark
            yield bag_set
        if before is not None:
            yield from self._behind(before)

    def truth_of(self, bag_set: BagSet) -> Truth | None:
        """What a set is compared with, of the folder or of the topic."""
        if self._folder is not None:
            return self._folder.nearest(bag_set.stamp_ns)
        return None if bag_set.truth is None else self._topic_truth(bag_set.truth)

    def _topic_truth(self, payload: LazyPayload) -> Truth:
        return topic_truth(payload, self._truth_topic, self._coding, self._compared)

    def _truth_of(self, bag_set: BagSet) -> int | None:
        truth = self.truth_of(bag_set)
        return None if truth is None else truth.stamp_ns

    def _await(self, message: Recorded) -> None:
        while self._fresh and message.time_ns - self._fresh[0][0] > _SETTLE_NS:
            self._fresh.popleft()[1].settle(self._num_classes)
        truth = self._topic_truth(LazyPayload(message))
        self._truths.append(truth)
        self._fresh.append((message.time_ns, truth))

    def _forget(self, before: _Mark | None, mark: _Mark) -> None:
        if before is not None and mark.stamp_ns <= before.stamp_ns:
            self._truths.clear()  # time was set back: what waits is of another time
            self._lags_ns.clear()
        while self._truths and self._truths[0].stamp_ns <= mark.stamp_ns:
            self._truths.popleft()
        while self._fresh and self._fresh[0][1].stamp_ns <= mark.stamp_ns:
            self._fresh.popleft()

    def _usual_ns(self, *references: str) -> int:
        """Period at which sets are due: that of the slower reference, and of as many streams as a set must have."""
        known = sorted(pace.period_ns for pace in self._paces.values() if pace.period_ns)
        least = known[min(self._sync.min_streams, len(known)) - 1] if known else 0
        return max(least, *(self._paces[name].period_ns for name in references))

    def _behind(self, last: _Mark) -> Iterator[MissedOutput]:
        """After the last set, as long as the recording's own sensors go on."""
        paces = {name: pace for name, pace in self._paces.items() if pace.period_ns}
        usual_ns = self._usual_ns(last.reference)
        longest_ns = max((pace.period_ns for pace in paces.values()), default=0)
        left_ns = max(
            (
                min(pace.stamp_ns - self._sync.streams[name].offset_ns - last.stamp_ns,
                    self._log.until_ns(last.time_ns, pace.time_ns) - self._time_ns(last.stamp_ns) + pace.period_ns)
                for name, pace in paces.items()
            ),
            default=0,
        )  # fmt: skip
        if 2 * left_ns > 3 * max(longest_ns, usual_ns):
            span_ns = left_ns + usual_ns
            end = _Mark(last.stamp_ns + span_ns, last.time_ns + span_ns, last.reference, last.opened_ns + span_ns)
            yield from self._between(last, end, usual_ns)

    def _between(self, left: _Mark, right: _Mark, usual_ns: int) -> Iterator[MissedOutput]:
        if not usual_ns or right.stamp_ns <= left.stamp_ns:
            return
        found = [(left.stamp_ns, None), *self._missed_truths(left, right, usual_ns), (right.stamp_ns, None)]
        recorded_ns = self._log.until_ns(left.time_ns, right.opened_ns)
        most_ns = recorded_ns - self._time_ns(left.stamp_ns) + usual_ns  # a jump of the clock is no silence
        for (start_ns, truth), (end_ns, _) in pairwise(found):
            if truth is not None:
                yield self._missed(start_ns, right, truth)
            span_ns = min(end_ns - start_ns, most_ns)
            if 2 * span_ns > 5 * usual_ns:
                due = round(span_ns / usual_ns)
                for k in range(1, due):
                    yield self._missed(start_ns + k * span_ns // due, right)

    def _missed_truths(self, left: _Mark, right: _Mark, usual_ns: int) -> list[tuple[int, Truth]]:
        """(stamp, truth): of those that are apart, the ones that come nearest to a period after the one before."""
        apart_ns = 3 * usual_ns // 4
        first_ns, last_ns = left.stamp_ns + apart_ns, right.stamp_ns - apart_ns
        if first_ns > last_ns:
            return []
        if self._folder is not None:
            waiting = self._folder.between(left.stamp_ns, right.stamp_ns)
        else:
            waiting = sorted(self._truths, key=lambda truth: truth.stamp_ns)
        found: list[tuple[int, Truth]] = []
        due_ns, least_ns = left.stamp_ns + usual_ns, first_ns
        for truth in waiting:
            stamp_ns = truth.stamp_ns
            if not first_ns <= stamp_ns <= last_ns or stamp_ns in (left.truth_ns, right.truth_ns):
                continue
            if found and abs(stamp_ns - due_ns) < abs(found[-1][0] - due_ns):
                found[-1] = (stamp_ns, truth)
            elif stamp_ns >= least_ns:
                due_ns = (found[-1][0] if found else left.stamp_ns) + usual_ns
                found.append((stamp_ns, truth))
            least_ns = found[-1][0] + apart_ns if found else first_ns
        return found

    def _missed(self, stamp_ns: int, right: _Mark, truth: Truth | None = None) -> MissedOutput:
        return MissedOutput(stamp_ns, min(self._time_ns(stamp_ns), right.time_ns), truth)

    def _time_ns(self, stamp_ns: int) -> int:
        """The log time at which a set of this stamp would have been complete, had all gone well."""
        return stamp_ns + min(self._lags_ns)
