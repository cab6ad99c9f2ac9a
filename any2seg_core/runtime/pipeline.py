"""LivePipeline: the threads between incoming messages and the model. Knows no ROS and no tensor.

Callbacks only put messages into the synchroniser. A poll thread sleeps until the synchroniser's next deadline, so that
a set goes out on time when a sensor is silent. One worker thread runs the model on the newest set only; pipelines that
share a model take turns.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from any2seg_core.runtime.accounts import Accounts, Tracked, Verdict, untracked
from any2seg_core.sync import SampleSet, SyncConfig, Synchronizer, SyncStats

_PAUSE_AFTER_ERROR_S = 0.05


class FairLock:
    """A fair (first in, first out) lock, which `threading.Lock` does not promise to be.

    Examples:
        >>> turns = FairLock()
        >>> with turns: ...  # one thread at a time, none is overtaken
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next_ticket = self._serving = 0

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn."""
        with self._condition:
            return max(self._next_ticket - self._serving - 1, 0)

    def __enter__(self) -> None:
        with self._condition:
            ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
            self._condition.wait_for(lambda: self._serving == ticket)

    def __exit__(self, *_exception: object) -> None:
        with self._condition:
            self._serving += 1
            self._condition.notify_all()


class LatestOnly:
    """A mailbox with one slot: a new item replaces one that nobody took yet, and that is counted.

    Attributes:
        replaced: how many items were never taken.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Any = None
        self._closed = False
        self.replaced = 0

    def put(self, item: Any) -> Any:
        """Leave an item; never blocks. Returns the one that it replaces, None for none."""
        with self._condition:
            before, self._item = self._item, item
            self.replaced += before is not None
            self._condition.notify()
            return before

    def wait(self) -> bool:
        """Wait until there is an item to take; False once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            return not self._closed

    def take(self) -> Any:
        """Wait for an item and take it; None once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = (None if self._closed else self._item), None
            return item

    def close(self) -> None:
        """Wake the taker up for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


@dataclass(frozen=True)
class PipelineStats:
    """Counts of one moment. Per stream, added + refused = what came in = buffered + dropped + all fates.

    Attributes:
        sync: of the synchroniser. fates: stream -> what became of the messages outside of it, see `Accounts.fates`.
        refused: stream -> messages that never reached the synchroniser.
    """

    sync: SyncStats
    fates: dict[str, Counter[str]]
    refused: Counter[str]


class LivePipeline:
    """Messages in from any thread, `process(sample_set)` called in one worker thread.

    Args:
        synchronizer: owned by the pipeline from now on.
        process: runs the model on a set and publishes; returns what became of it, None: all of it was fused. What the
            verdict says of the content of a stream is told to the synchroniser. An exception of it is counted, given
            to `on_error`, and the pipeline goes on.
        on_error: called with that exception, in the worker thread; no more after `stop`, its owner may be gone.
        clock_ns: clock of the arrival times and timeouts.
        longest_wait_s: look at the clock at least so often; None: it is steady and runs with real time.
        turns: shared by pipelines that share a model; the set is chosen when the turn has come, so it is the newest.

    Attributes:
        failed: number of sets whose processing raised.
    """

    def __init__(
        self,
        synchronizer: Synchronizer,
        process: Callable[[SampleSet], Verdict | None],
        on_error: Callable[[Exception], None],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        longest_wait_s: float | None = None,
        turns: AbstractContextManager | None = None,
    ) -> None:
        self.failed = 0
        self._synchronizer = synchronizer
        self._process = process
        self._on_error = on_error
        self._clock_ns = clock_ns
        self._longest_wait_s = longest_wait_s
        self._turns = turns if turns is not None else nullcontext()
        self._changed = threading.Condition()
        self._running = True
        self._mailbox = LatestOnly()
        self._accounts = Accounts()
        self._busy_since_s: float | None = None
        self._threads = [
            threading.Thread(target=self._poll, name="any2seg-poll", daemon=True),
            threading.Thread(target=self._work, name="any2seg-worker", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def overrun(self) -> int:
        """Sets that were replaced by a newer one before the model was free."""
        return self._mailbox.replaced

    @property
    def busy_s(self) -> float:
        """How long `process` has been at its present set, wall time; 0 while it is at none."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def now_ns(self) -> int:
        """By the clock of the arrival times."""
        return self._clock_ns()

    def offer(self, stream: str, stamp_ns: int, payload: Any) -> None:
        """Give one message to the synchroniser; returns at once."""
        with self._changed:
            self._hand_over(self._synchronizer.add(stream, stamp_ns, Tracked(payload), self._clock_ns()))
            self._changed.notify()

    def refuse(self, stream: str, reason: str) -> None:
        """Count one message that came in and cannot be offered."""
        with self._changed:
            self._accounts.refuse(stream, reason)

    def reconfigure(self, config: SyncConfig) -> None:
        """Give the synchroniser other tolerances and timeouts; what it holds stays."""
        with self._changed:
            self._hand_over(self._synchronizer.reconfigure(config, self._clock_ns()))
            self._changed.notify()

    def jump(self, time_ns: int) -> None:
        """Tell the synchroniser that the robot's clock was set to `time_ns`."""
        with self._changed:
            self._hand_over(self._synchronizer.jump(time_ns, self._clock_ns()))
            self._changed.notify()

    def judge(self, usable: dict[str, bool]) -> None:
        """Tell the synchroniser per stream whether its content could be used in the set that was processed."""
        with self._changed:
            for stream, is_usable in usable.items():
                self._hand_over(self._synchronizer.judge(stream, is_usable, self._clock_ns()))
            self._changed.notify()

    def inspect(self, read: Callable[[Synchronizer], Any]) -> Any:
        """Call `read(synchronizer)` while no message comes in between, and return its result."""
        with self._changed:
            return read(self._synchronizer)

    @property
    def stats(self) -> PipelineStats:
        """A snapshot of all counts."""
        with self._changed:
            stats = self._synchronizer.stats
            fates = {stream: self._accounts.fates(stream) for stream in stats.streams}
            return PipelineStats(stats, fates, self._accounts.refused.copy())

    def stop(self, timeout_s: float = 1.0) -> bool:
        """End both threads; returns whether they ended within the time. A running inference is waited for."""
        with self._changed:
            self._running = False
            self._changed.notify()
        self._mailbox.close()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _hand_over(self, sets: list[SampleSet]) -> None:
        for sample_set in sets:
            self._accounts.emitted(sample_set)
            replaced = self._mailbox.put(sample_set)
            if replaced is not None:
                self._accounts.decided(replaced, Verdict("overrun"))

    def _poll(self) -> None:
        while self._running:
            try:
                self._poll_until_stopped()
            except Exception as error:  # the clock that ends waits must not stop
                self._tell(error)
                time.sleep(_PAUSE_AFTER_ERROR_S)

    def _poll_until_stopped(self) -> None:
        with self._changed:
            while self._running:
                deadline_ns = self._synchronizer.next_deadline_ns()
                wait_s = None if deadline_ns is None else (deadline_ns - self._clock_ns()) / 1e9
                if wait_s is None or wait_s > 0:
                    limits_s = [limit_s for limit_s in (wait_s, self._longest_wait_s) if limit_s is not None]
                    self._changed.wait(min(limits_s, default=None))
                self._hand_over(self._synchronizer.poll(self._clock_ns()))

    def _work(self) -> None:
        while self._mailbox.wait():
            with self._turns:
                sample_set = self._mailbox.take()
                if sample_set is not None:
                    self._busy_since_s = time.monotonic()
                    self._process_one(sample_set)
                    self._busy_since_s = None

    def _process_one(self, sample_set: SampleSet) -> None:
        try:
            verdict = self._process(untracked(sample_set)) or Verdict()
        except Exception as error:  # an exception in one set must not end the worker
            self.failed += 1
            verdict = Verdict("failed")
            self._tell(error)
        with self._changed:
            self._accounts.decided(sample_set, verdict)
            if verdict.usable or verdict.unusable:
                self.judge(dict.fromkeys(verdict.usable, True) | dict.fromkeys(verdict.unusable, False))

    def _tell(self, error: Exception) -> None:
        with suppress(Exception):  # a logger may be shut down already
            if self._running:
                self._on_error(error)
