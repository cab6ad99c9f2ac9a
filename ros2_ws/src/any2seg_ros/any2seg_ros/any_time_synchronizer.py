"""AnyTimeSynchronizer: a drop-in for message_filters.ApproximateTimeSynchronizer that goes on when topics fall silent.

    from any2seg_ros.any_time_synchronizer import AnyTimeSynchronizer, Subscriber

    image = Subscriber(node, Image, "image")          # or message_filters.Subscriber
    cloud = Subscriber(node, PointCloud2, "points")
    sync = AnyTimeSynchronizer([image, cloud], queue_size=10, slop=0.1)
    sync.registerCallback(lambda image, cloud: ...)   # a message that is missing is None

Works with and without message_filters installed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.node import Node

from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.messages import stamp_ns
from any2seg_core.sync import SampleSet, StreamConfig, SyncConfig, Synchronizer, SyncStats
from any2seg_ros.distro import simple_filter
from any2seg_ros.steady import create_steady_timer
from any2seg_ros.throttle import Throttle

if TYPE_CHECKING:  # message_filters' class has the same methods
    from any2seg_ros.simple_filter import SimpleFilter
else:
    SimpleFilter = simple_filter()
_LOGGER = logging.getLogger(__name__)


class Subscriber(SimpleFilter):
    """A subscription as a filter, like message_filters.Subscriber, for machines that do not have it.

    Args:
        node: gets the subscription. arguments, options: those of `Node.create_subscription`, without the callback; the
            quality of service may be left out and is then a queue of 10.
    """

    def __init__(self, node: Node, msg_type: Any, topic: str, qos_profile: Any = 10, **options: Any) -> None:
        super().__init__()
        self.node, self.topic = node, topic
        self.sub = node.create_subscription(msg_type, topic, self.signalMessage, qos_profile, **options)


class AnyTimeSynchronizer(SimpleFilter):
    """Hands on messages that belong together, whichever of the inputs are alive.

    Differs from ApproximateTimeSynchronizer in what it is made for. A set goes out when all inputs that can still be
    expected are there, at the latest `timeout` after its first message: a dead input costs nothing, and its place
    in the callback is None. The stamp of a set is that of the first input that is alive. Stamps that jump back, as in
    a recording that loops, start everything anew. An exception in a callback reaches whoever delivered the message
    (the log, when it was the clock), and leaves the synchroniser intact. `stats` counts dropped messages by reason;
    stamps that are zero, negative or no stamp at all ("bad_stamp") are also told to the log, and so is an input that
    sends, but nothing within `slop`, with the distance, or whose stamps repeat, run backwards or are of two publishers.

    Args:
        fs: inputs with `registerCallback`, such as message_filters.Subscriber; more by `connectInput`.
        queue_size: most messages held per input, at least 2.
        slop: messages farther than this from the first input's stamp are not matched, seconds.
        allow_headerless: messages without a header are taken at the time of their arrival.
        sync_arrival_time: all messages are.
        timeout: longest wait for the other inputs, seconds.
        timeout_without_reference: longest wait for a better first input at the start, and the least silence
            after which an input counts as dead, seconds.
        min_messages: sets with fewer messages are not handed on.

    Raises:
        UserError: no input, or a number out of range.
    """

    def __init__(
        self,
        fs: Sequence[Any],
        queue_size: int,
        slop: float,
        allow_headerless: bool = False,
        sync_arrival_time: bool = False,
        *,
        timeout: float = 0.05,
        timeout_without_reference: float = 0.2,
        min_messages: int = 1,
    ) -> None:
        super().__init__()
        self.queue_size, self.slop = queue_size, slop
        self.allow_headerless, self.sync_arrival_time = allow_headerless, sync_arrival_time
        self._limits = (_ns(timeout), _ns(timeout_without_reference), min_messages)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._timer: tuple[Node, Any] | None = None
        self._is_open = True
        self._throttle = Throttle()
        self.input_connections: list[Any] = []
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[Any]) -> None:  # noqa: N802 name of message_filters
        """Take other inputs; what was held of the old ones is forgotten."""
        if not fs:
            raise UserError("AnyTimeSynchronizer needs at least one input", "sensor-none")
        names = tuple(str(index) for index in range(len(fs)))
        slop_ns = _ns(self.slop)
        stream = StreamConfig(
            noise_window_ns=min(StreamConfig.noise_window_ns, slop_ns), max_age_ns=slop_ns, buffer=self.queue_size
        )
        timeout_ns, without_reference_ns, min_messages = self._limits
        config = SyncConfig(
            dict.fromkeys(names, stream), names, timeout_ns, without_reference_ns, min(min_messages, len(fs))
        )
        synchronizer = Synchronizer(config)
        with self._lock:
            self._names, self._synchronizer = names, synchronizer
        self.input_connections = [
            each.registerCallback(partial(self._take, synchronizer, name)) for name, each in zip(names, fs, strict=True)
        ]
        self._watch(next((each.node for each in fs if isinstance(getattr(each, "node", None), Node)), None))

    def add(self, msg: Any, my_queue: Any = None, my_queue_index: int = 0) -> None:
        """Take one message of an input; calls the callbacks of every set that it completes.

        Args:
            my_queue: not used; there for subclasses of ApproximateTimeSynchronizer. my_queue_index: which input.
        """
        self._take(self._synchronizer, self._names[my_queue_index], msg)

    @property
    def stats(self) -> SyncStats:
        """Counts per input ("0", "1", ...), drops with their reasons, resets."""
        with self._lock:
            return self._synchronizer.stats

    def close(self) -> None:
        """End the clock that ends waits; later messages are still taken, and sets go out with the next message."""
        with self._lock:
            self._is_open = False
            self._changed.notify_all()
        if self._timer is not None:
            node, timer = self._timer
            node.destroy_timer(timer)
            self._timer = None

    def _take(self, synchronizer: Synchronizer, name: str, msg: Any) -> None:
        now_ns = time.monotonic_ns()
        stamp = self._stamp_of(name, msg, now_ns)
        with self._lock:
            if stamp is None or synchronizer is not self._synchronizer:  # from an input of an earlier connection
                return
            ready = synchronizer.add(name, stamp, msg, now_ns)
            self._changed.notify()
        self._signal(ready)

    def _stamp_of(self, name: str, msg: Any, now_ns: int) -> int | None:
        """0 for a stamp that cannot be used, which the synchroniser counts; None for a message that it must not see."""
        if not self.sync_arrival_time and hasattr(msg, "header"):
            try:
                stamp, why = stamp_ns(msg.header), "stamp: is 0"
            except MessageError as error:
                stamp, why = 0, str(error)
            if stamp == 0:
                self._warn(name, f"input {name}: {why}; left out: repair its driver or set sync_arrival_time")
            return stamp
        return now_ns if self.sync_arrival_time or self.allow_headerless else None

    def _watch(self, node: Node | None) -> None:
        """Ends waits in time: by a timer of the inputs' node, so that callbacks stay in its executor, else a thread."""
        if self._timer is not None:
            return
        if node is not None:
            self._timer = node, create_steady_timer(node, max(self._limits[0] / 4e9, 0.005), self._poll_and_log)
        else:
            threading.Thread(target=self._poll_at_deadlines, name="any-time-synchronizer", daemon=True).start()

    def _poll(self) -> None:
        with self._lock:
            ready = self._synchronizer.poll(time.monotonic_ns())
        self._signal(ready)

    def _poll_at_deadlines(self) -> None:
        while True:
            with self._changed:
                if not self._is_open:
                    return
                deadline_ns = self._synchronizer.next_deadline_ns()
                wait_s = None if deadline_ns is None else (deadline_ns - time.monotonic_ns()) / 1e9
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
            self._poll_and_log()

    def _poll_and_log(self) -> None:
        try:
            self._poll()
        except Exception:  # nobody called: there is no one to raise to, and an executor would end
            _LOGGER.exception("callback of a synchronised set")

    def _signal(self, ready: list[SampleSet]) -> None:
        """Outside the lock; every set is handed on even if a callback raised for an earlier one."""
        raised: Exception | None = None
        for sample_set in ready:
            for name, text in sample_set.faults.items():
                self._warn(f"{name} {text}", f"input {name}: {text}")
            for name, gap in sample_set.gaps.items():
                if sample_set.missing[name] == "stale":
                    self._warn(f"{name} gap", f"input {name}: not in the set: {gap.text('slop')}")
            found = {name: samples[-1].payload for name, samples in sample_set.samples.items()}
            try:
                self.signalMessage(*(found.get(name) for name in self._names))
            except Exception as error:  # later sets must still be delivered
                raised = raised or error
        if raised is not None:
            raise raised

    def _warn(self, key: str, text: str) -> None:
        """To the log, each kind of trouble once in a while."""
        if self._throttle.is_due(key):
            _LOGGER.warning(text)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
