"""First stage of a set: its messages, or the arrays of files, become arrays in SI units."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from any2seg_core.messages.event_stream import Events, EventStream
from any2seg_core.messages.readers import StreamReader, needs_event_stream, read_events
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS

_REMEMBERED_PACKETS = 256


@dataclass(frozen=True)
class FileArray:
    """What a sensor file holds, as a payload of a set beside messages.

    Attributes:
        array: image as `image_codes` takes it, depth (H, W) float32 metres or points (N, 4) float32 x, y, z in metres,
            intensity 0..1. Events of files are `Events`, as those of messages.
    """

    array: np.ndarray


@dataclass(frozen=True)
class Reading:
    """One sensor of a set, decoded.

    Attributes:
        array: as of FileArray, or events EVENT_DTYPE whose times are in the clock of the set's stamp.
        message_ns: stamp of its message, which tells it from the next one; of the set where its header says none.
        frame_id: of its newest message, "" where it says none; None for a file.
        size: (H, W) of the event sensor; None where its messages do not say, and for other sensors.
        total: how many events its stream had so far; 0 where nobody counted.
    """

    array: np.ndarray
    message_ns: int
    frame_id: str | None = ""
    size: tuple[int, int] | None = None
    total: int = 0


class SetDecoder:
    """Decodes the payloads of one sensor of a set after the other; keeps what the decoders of streams must remember.

    Args:
        options: how messages are read. event_window_ns: length of the event window.
        suite: the sensors that there can be.
    """

    def __init__(self, options: InputOptions, event_window_ns: int, suite: SensorSuite = VEHICLE) -> None:
        self._event_names = suite.of_kind(EVENTS)
        self._event_window_ns = event_window_ns
        self._event_streams: dict[str, EventStream] = {}
        self._decoded: OrderedDict[int, tuple[Any, Events]] = OrderedDict()
        self._reader = StreamReader(options.intensity_max, options.image_bits, suite)

    @property
    def event_counts(self) -> Counter[str]:
        """What the decoders of event packets counted, see `EventStream.counts`."""
        return sum((stream.counts for stream in self._event_streams.values()), Counter())

    def reset(self) -> None:
        """Forget the states of event decoders: time has jumped."""
        for stream in self._event_streams.values():
            stream.reset()
        self._decoded.clear()

    def forget_scales(self) -> None:
        """Find the scales of images and clouds again: the messages so far were of nobody's sensor."""
        self._reader.forget()

    def why_black(self, name: str) -> str:
        """What else than darkness a black camera image may mean; see `PixelBits.why_black`."""
        return self._reader.why_black(name)

    def take_notes(self) -> list[str]:
        """What a user should know since the last call, one line each."""
        return self._reader.take_notes()

    def receive(self, stream: str, message: Any) -> Any:
        """As `FrameBuilder.receive`."""
        if stream not in self._event_names or not needs_event_stream(message):
            return message
        return self._event_streams.setdefault(stream, EventStream()).decode(message)

    def decode(self, name: str, payloads: Sequence[Any], stamp_ns: int, event_offset_ns: int = 0) -> Reading:
        """Array of one sensor; arguments as of `FrameBuilder.build`.

        Raises:
            MessageError: a message that cannot be read, or is none of this sensor.
        """
        if name in self._event_names:
            return self._events(name, payloads, stamp_ns, event_offset_ns)
        newest = payloads[-1]
        if isinstance(newest, FileArray):
            return Reading(newest.array, stamp_ns, frame_id=None)
        array = self._reader.read(name, newest)
        return Reading(array, _stamp_of(newest, stamp_ns), frame_of(newest))

    def _events(self, name: str, payloads: Sequence[Any], stamp_ns: int, offset_ns: int) -> Reading:
        """Events of all payloads of the newest sensor size; a rendered picture is the middle of the window."""
        parts = [self._events_of(name, payload, stamp_ns + offset_ns) for payload in payloads]
        newest = parts[-1]
        size = (newest.height, newest.width)
        arrays = [part.events for part in parts if (part.height, part.width) == size]
        events = arrays[0] if len(arrays) == 1 and not offset_ns else np.concatenate(arrays)  # a copy: t changes
        if offset_ns:
            events["t"] -= offset_ns
        return Reading(events, stamp_ns, frame_of(payloads[-1]), size if all(size) else None, newest.total)

    def _events_of(self, name: str, payload: Any, stamp_ns: int) -> Events:
        if isinstance(payload, Events):
            return payload
        if not needs_event_stream(payload):
            return read_events(payload, stamp_ns - self._event_window_ns // 2)
        if id(payload) not in self._decoded:  # a packet reaches into several windows and is decoded once
            self._decoded[id(payload)] = (payload, self.receive(name, payload))
            while len(self._decoded) > _REMEMBERED_PACKETS:
                self._decoded.popitem(last=False)
        return self._decoded[id(payload)][1]


def frame_of(message: Any) -> str:
    """frame_id of a message, "" where it says none."""
    said = getattr(getattr(message, "header", None), "frame_id", "")
    return said if isinstance(said, str) else ""


def _stamp_of(message: Any, stamp_ns: int) -> int:
    """Tells one message from the next; the stamp of the set where the header says none."""
    stamp: Any = getattr(getattr(message, "header", None), "stamp", None)
    try:
        return int(stamp.sec) * 10**9 + int(stamp.nanosec)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return stamp_ns
