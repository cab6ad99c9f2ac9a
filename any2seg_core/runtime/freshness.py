"""How old a label may be, how long the model may take, and how long a message waited before it was handed over."""

from __future__ import annotations

from any2seg_core.base.units import NS_PER_S
from any2seg_core.sync import SyncConfig

_LEAST_AGE_NS = 2 * NS_PER_S
_AGE_PERIODS = 5
_LEAST_DEADLINE_NS = NS_PER_S // 5
_DEADLINE_WITHOUT_PERIOD_NS = NS_PER_S
_DEADLINE_PERIODS = 4
_REMEMBERED_NS = 30 * NS_PER_S
_SET_BACK_NS = NS_PER_S  # messages of several senders overtake each other by less

_CLOCK_STEP_NS = NS_PER_S // 2
_LEAST_LATENCY_NS, _MOST_LATENCY_NS = -NS_PER_S // 10, NS_PER_S

OK, WARN, ERROR = 0, 1, 2


def longest_label_age_ns(given_s: float, config: SyncConfig, period_ns: int | None) -> int:
    """Age beyond which a label is not published.

    Args:
        given_s: the setting; 0: the larger of 2 s and 5 periods of the reference with the waits of the synchroniser.
            The time that the model takes is no part of it: it would excuse what it is to notice.
        config: of the synchroniser. period_ns: of the reference; None: not known yet.
    """
    if given_s > 0:
        return round(given_s * NS_PER_S)
    waits_ns = config.timeout_ns + config.timeout_without_reference_ns
    return max(_LEAST_AGE_NS, _AGE_PERIODS * (period_ns or 0) + waits_ns)


def inference_deadline_ns(given_s: float, period_ns: int | None) -> int:
    """Time that one set may take from messages to labels.

    Args:
        given_s: the setting; 0: the larger of 0.2 s and 4 periods of the reference, 1 s while none is known.
        period_ns: of the reference; None: not known yet.
    """
    if given_s > 0:
        return round(given_s * NS_PER_S)
    return _DEADLINE_WITHOUT_PERIOD_NS if period_ns is None else max(_LEAST_DEADLINE_NS, _DEADLINE_PERIODS * period_ns)


class DeadlineWatch:
    """Level of a model that may be too slow: one slow set is a warning, several in a row are an error.

    With hysteresis: only `good_sets` within the deadline in a row end it.

    Args:
        slow_sets: in a row, that make an error. good_sets: in a row, that end warning and error.

    Attributes:
        slow: sets beyond their deadline so far. last_s, deadline_s: of the last slow set.
    """

    def __init__(self, slow_sets: int = 5, good_sets: int = 5) -> None:
        self.slow, self.last_s, self.deadline_s = 0, 0.0, 0.0
        self._limits = slow_sets, good_sets
        self._slow_in_a_row = self._good_in_a_row = 0
        self._level = OK

    def done(self, took_s: float, deadline_s: float) -> None:
        """A set was finished."""
        slow_sets, good_sets = self._limits
        if took_s > deadline_s:
            self.slow, self.last_s, self.deadline_s = self.slow + 1, took_s, deadline_s
            self._slow_in_a_row, self._good_in_a_row = self._slow_in_a_row + 1, 0
            self._level = ERROR if self._slow_in_a_row >= slow_sets else max(self._level, WARN)
        else:
            self._slow_in_a_row, self._good_in_a_row = 0, self._good_in_a_row + 1
            if self._good_in_a_row >= good_sets:
                self._level = OK

    def judge(self, busy_s: float, deadline_s: float) -> tuple[int, str]:
        """Level now, and why in one line.

        Args:
            busy_s: how long the model has been at its present set, 0 for none: it is judged before it ends, and takes
                the time of `slow_sets` when it makes an error by itself.
            deadline_s: of the present set.
        """
        slow_sets, _ = self._limits
        if busy_s > deadline_s:
            level = ERROR if busy_s > slow_sets * deadline_s else max(self._level, WARN)
            return level, f"model too slow: busy with a set for {busy_s:.1f} s, deadline {deadline_s:.1f} s"
        if self._level == OK:
            return OK, ""
        return self._level, f"model too slow: {self.last_s:.1f} s for a set, deadline {self.deadline_s:.1f} s"


class Lateness:
    """How much longer a message was under way than the fastest one of late, as after a pause of the receiver.

    Clocks of sender and receiver need not agree, only run at the same pace. A sender's clock that is set back begins
    anew.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self._begin_ns: int | None = None
        self._last_sent_ns = self._fastest_ns = self._fastest_before_ns = 0

    @property
    def usual_ns(self) -> int:
        """What the fastest message of the last half to whole minute took, with the distance of the clocks."""
        return min(self._fastest_ns, self._fastest_before_ns)

    def of(self, sent_ns: int, now_ns: int) -> int:
        """Excess in nanoseconds, at least 0.

        Args:
            sent_ns: when it was sent, by the sender's clock. now_ns: by the receiver's.
        """
        took_ns = now_ns - sent_ns
        if self._begin_ns is None or sent_ns < self._last_sent_ns - _SET_BACK_NS:
            self._begin_ns, self._fastest_ns, self._fastest_before_ns = now_ns, took_ns, took_ns
        elif now_ns - self._begin_ns > _REMEMBERED_NS:
            self._begin_ns, self._fastest_ns, self._fastest_before_ns = now_ns, took_ns, self._fastest_ns
        self._last_sent_ns = sent_ns
        self._fastest_ns = min(self._fastest_ns, took_ns)
        return took_ns - self.usual_ns


class MessageDelay:
    """How late the messages of one stream come, by the transport's stamp and, where its clock is ours, by the header.

    A header's clock is taken for ours while its fastest message seems to take between -0.1 and 1 s; recordings played
    on wall time, cameras that count from their start and clocks that are wrong say nothing about age.
    """

    def __init__(self) -> None:
        self._transport, self._header = Lateness(), Lateness()
        self._clock_minus_steady_ns: int | None = None

    def of(self, source_ns: int, header_ns: int, clock_ns: int, steady_ns: int) -> int:
        """Nanoseconds, at least 0.

        Args:
            source_ns: when the transport sent it, by the sender's system clock; 0: not known. header_ns: its stamp.
            clock_ns, steady_ns: now, by the clock of headers and by one that nobody sets.
        """
        distance_ns = clock_ns - steady_ns
        was_ns, self._clock_minus_steady_ns = self._clock_minus_steady_ns, distance_ns
        if was_ns is not None and abs(distance_ns - was_ns) > _CLOCK_STEP_NS:
            self._header.reset()  # our clock was set, or is simulated and runs at another pace
        late_ns = self._transport.of(source_ns, steady_ns) if source_ns > 0 else 0
        if header_ns > 0:
            by_header_ns = self._header.of(header_ns, clock_ns)
            if _LEAST_LATENCY_NS <= self._header.usual_ns <= _MOST_LATENCY_NS:
                late_ns = max(late_ns, by_header_ns)
        return late_ns
