"""EventStream: the decoder of one topic of event_camera_msgs/EventPacket, with its state, losses and clock."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages.event_arrays import event_array_to_events
from any2seg_core.messages.evt3 import WRAP_US, Evt3State, shift_times
from any2seg_core.messages.fields import byte_order, data_bytes, integer, stamp_ns, text
from any2seg_core.sensors.events import EVENT_DTYPE

ENCODINGS = ("evt3", "libcaer_cmp", "libcaer", "mono", "trigger")
_MAX_SIDE = 65535
_BACKWARD_JUMP_NS = NS_PER_S // 2
_CLOCK_BUCKET_NS = 5 * NS_PER_S


@dataclass(frozen=True)
class Events:
    """Decoded events of one message.

    Attributes:
        header: of the message. events: (N,) EVENT_DTYPE, t in nanoseconds of host time.
        height, width: of the sensor in pixels; 0 where the message does not say.
        total: events of the stream up to here, this message included; 0 where nobody counted.
    """

    header: Any
    events: np.ndarray
    height: int = 0
    width: int = 0
    total: int = 0


class EventStream:
    """Decodes the messages of one topic in the order in which they came; every message must pass through, once.

    evt3 carries its state from message to message and knows only a 24-bit sensor clock. Host time is sensor time plus
    the least (header.stamp - sensor time) seen within the last 5 to 10 s: the message that travelled fastest tells the
    offset best, and forgetting follows the drift of the two clocks. A step back of the header stamps by half a second
    or more (a bag that starts again) resets everything, and so does a `seq` that falls back while the stamps go on (a
    driver that was started again; of a message that comes late both are old). After a gap in `seq` the decoder waits
    for the next row and time words, and the number of clock wraps is taken from the header stamps.

    Attributes:
        counts: "packets", "events", "lost_packets" (gaps in `seq`), "unknown_words", "off_sensor", "before_time"
            (events whose row or time was not known yet), "resets".
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._cmp_decoder: Any = None
        self._forget()

    def reset(self) -> None:
        """Forget state and clock, as at the start; the counts stay."""
        self.counts["resets"] += 1
        self._forget()

    def _forget(self) -> None:
        self._evt3 = Evt3State()
        self._offset = _LeastOffset()
        self._last_seq: int | None = None
        self._last_stamp_ns: int | None = None

    def decode(self, msg: Any) -> Events:
        """Events of one EventPacket or EventArray.

        Raises:
            MessageError: a field that is missing or wrong, an unknown encoding, bytes that are no whole number of
                words, or libcaer_cmp without the package event_camera_py.
        """
        now_ns = stamp_ns(getattr(msg, "header", None))
        height, width = (integer(msg, side, "event packet", 0, _MAX_SIDE) for side in ("height", "width"))
        if not hasattr(msg, "encoding"):
            events = event_array_to_events(msg)
        else:
            events = self._decode_packet(msg, now_ns, height, width)
        self.counts["packets"] += 1
        self.counts["events"] += len(events)
        return Events(msg.header, events, height, width, self.counts["events"])

    def _decode_packet(self, msg: Any, now_ns: int, height: int, width: int) -> np.ndarray:
        encoding = text(msg, "encoding", "event packet")
        if encoding not in ENCODINGS:
            raise MessageError(
                f"event packet: unknown encoding {encoding[:40]!r}; expected one of {', '.join(ENCODINGS)}", "encoding"
            )
        seq = integer(msg, "seq", "event packet", 0, 2**64 - 1, reason="value")
        if self._has_restarted(seq, now_ns):
            self.reset()
        self._note_losses(seq)
        self._last_stamp_ns = now_ns
        if encoding == "trigger":
            return np.empty(0, EVENT_DTYPE)
        data = data_bytes(msg, "event packet", "events")
        if encoding == "libcaer_cmp":
            return self._decode_cmp(msg, data, height, width)
        word_bytes = 2 if encoding == "evt3" else 8
        if data.size % word_bytes:
            self._evt3.forget_position()
            raise MessageError(
                f"event packet: {data.size} bytes are no whole number of {word_bytes}-byte {encoding} words", "length"
            )
        words = data.view(np.dtype(byte_order(msg, "event packet") + f"u{word_bytes}"))
        if encoding == "evt3":
            return self._decode_evt3(words, now_ns, height, width)
        time_base_ns = integer(msg, "time_base", "event packet", 0, 2**62, reason="value")
        events = (libcaer_events if encoding == "libcaer" else mono_events)(words, time_base_ns)
        return self._on_sensor(events, height, width)

    def _has_restarted(self, seq: int, now_ns: int) -> bool:
        if self._last_stamp_ns is None or self._last_seq is None:
            return False
        is_new_driver = seq < self._last_seq and now_ns > self._last_stamp_ns
        return is_new_driver or now_ns < self._last_stamp_ns - _BACKWARD_JUMP_NS

    def _note_losses(self, seq: int) -> None:
        if self._last_seq is not None and seq != self._last_seq + 1:
            self.counts["lost_packets"] += max(seq - self._last_seq - 1, 1)
            self._evt3.forget_position()
        self._last_seq = seq

    def _on_sensor(self, events: np.ndarray, height: int, width: int) -> np.ndarray:
        inside = (events["x"] < (width or 65536)) & (events["y"] < (height or 65536))
        if inside.all():
            return events
        self.counts["off_sensor"] += int(np.count_nonzero(~inside))
        return events[inside]

    def _decode_evt3(self, words: np.ndarray, now_ns: int, height: int, width: int) -> np.ndarray:
        known_ns = self._offset.value_ns
        expected_us = -1 if known_ns is None else max((now_ns - known_ns) // 1000, 0)
        events, first_us = self._evt3.decode(words.astype(np.uint16, copy=False), width, height, expected_us)
        self.counts["unknown_words"] = self._evt3.unknown_words
        self.counts["off_sensor"] = self._evt3.outside
        self.counts["before_time"] = self._evt3.early
        shift_ns = 0
        if first_us < 0:  # a message without a time word goes on at the time of the last
            offset_ns = known_ns
            if offset_ns is None:
                return events[:0]
        else:
            if known_ns is not None:  # header stamps tell how often the clock went round while nobody looked
                missing = round((now_ns - known_ns - first_us * 1000) / (WRAP_US * 1000))
                if missing:
                    self._evt3.shift_wraps(missing)
                    shift_ns = missing * WRAP_US * 1000
                    first_us += missing * WRAP_US
            offset_ns = self._offset.observe(now_ns, now_ns - first_us * 1000)
        shift_times(events["t"], shift_ns + offset_ns)
        return events

    def _decode_cmp(self, msg: Any, data: np.ndarray, height: int, width: int) -> np.ndarray:
        time_base_ns = integer(msg, "time_base", "event packet", 0, 2**62, reason="value")
        if self._cmp_decoder is None:
            try:
                from event_camera_py import Decoder
            except ImportError:
                raise MessageError(
                    "event packet: libcaer_cmp needs event_camera_py: sudo apt install "
                    "ros-$ROS_DISTRO-event-camera-py, or set the driver's encoding to libcaer",
                    "unsupported",
                ) from None
            self._cmp_decoder = Decoder()
        try:
            self._cmp_decoder.decode_bytes("libcaer_cmp", width, height, time_base_ns, data.tobytes())
            found = self._cmp_decoder.get_cd_events()
            start_us = int(self._cmp_decoder.get_start_time())
        except (RuntimeError, ValueError, TypeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise MessageError(f"event packet: libcaer_cmp cannot be decoded ({reason})", "codec") from None
        events = np.empty(len(found), EVENT_DTYPE)
        events["x"], events["y"] = found["x"], found["y"]
        events["t"] = (found["t"].astype(np.int64) + start_us) * 1000
        events["p"] = np.where(found["p"] > 0, 1, -1)
        return events


class _LeastOffset:
    """Least value of the last one to two buckets of time."""

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque(maxlen=2)  # [start of the bucket, least value]

    @property
    def value_ns(self) -> int | None:
        return min((bucket[1] for bucket in self._buckets), default=None)

    def observe(self, now_ns: int, value_ns: int) -> int:
        """Takes a value; returns the least one."""
        if not self._buckets or now_ns - self._buckets[-1][0] >= _CLOCK_BUCKET_NS:
            self._buckets.append([now_ns, value_ns])
        self._buckets[-1][1] = min(self._buckets[-1][1], value_ns)
        return min(bucket[1] for bucket in self._buckets)


def libcaer_events(words: np.ndarray, time_base_ns: int) -> np.ndarray:
    """Words (N,) uint64 to (N,) EVENT_DTYPE in their order.

    Bits of a word: 0 valid, 1 polarity, 2-16 y, 17-31 x, 32-62 microseconds, which may overflow within a message.
    """
    low, time_us = words & np.uint64(0xFFFFFFFF), (words >> np.uint64(32)).astype(np.int64) & 0x7FFFFFFF
    rounds = np.zeros(words.size, dtype=np.int64)
    if words.size:
        rounds[1:] = np.cumsum(np.diff(time_us) < -(2**30))
    events = np.empty(words.size, EVENT_DTYPE)
    events["x"], events["y"] = low >> np.uint64(17) & np.uint64(0x7FFF), low >> np.uint64(2) & np.uint64(0x7FFF)
    events["t"] = time_base_ns + (time_us + rounds * 2**31) * 1000
    events["p"] = np.where(low & np.uint64(2), 1, -1)
    return events


def mono_events(words: np.ndarray, time_base_ns: int) -> np.ndarray:
    """Words (N,) uint64 to (N,) EVENT_DTYPE in their order.

    Bits of a word: 0-31 nanoseconds after the time base, 32-47 x, 48-62 y, 63 polarity.
    """
    events = np.empty(words.size, EVENT_DTYPE)
    events["x"] = words >> np.uint64(32) & np.uint64(0xFFFF)
    events["y"] = words >> np.uint64(48) & np.uint64(0x7FFF)
    events["t"] = time_base_ns + (words & np.uint64(0xFFFFFFFF)).astype(np.int64)
    events["p"] = np.where(words >> np.uint64(63), 1, -1)
    return events
