"""Prophesee EVT 3.0: 16-bit words to events. The format keeps its state across messages; so does `Evt3State`."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.sensors.camera import read_only
from any2seg_core.sensors.events import EVENT_DTYPE

WRAP_US = 1 << 24
"""The 24-bit sensor clock starts again every 16.77 s."""

# Codes in the upper four bits of a word (Prophesee, "EVT 3.0 format"). Triggers (10), others (14), their continuations
# (7, 15) and every unknown code carry no pixel and are skipped; newer SDKs pad with 9.
_ADDR_Y, _ADDR_X, _VECT_BASE_X, _VECT_12, _VECT_8, _TIME_LOW, _TIME_HIGH = 0, 2, 3, 4, 5, 6, 8
_SILENT = (7, 10, 14, 15)
_IS_KNOWN = np.array([code in (0, 2, 3, 4, 5, 6, 8, *_SILENT) for code in range(16)])

# The clock's upper 12 bits step by 4.096 ms. A longer step forward than this, or any step back, is a pause or a bit
# error: the next word of the upper bits tells, else the time at which the message is expected to be.
_LONGEST_STEP = 256

# Column and row of an event are written as one number: row * 65536 + column.
_WIDE_DTYPE = np.dtype([("pixel", "<u4"), ("t", "<i8"), ("p", "i1")])

# Places in the state vector.
_HIGH, _LOW, _WRAPS, _Y, _BASE_X, _POLARITY, _CANDIDATE, _UNKNOWN, _OUTSIDE, _EARLY = range(10)


class Evt3State:
    """Decoder of one EVT 3.0 stream.

    Attributes:
        unknown_words: words of unknown code so far. outside: events off the sensor. early: events dropped because
            their row or time was not known yet (start in mid-stream, or after lost bytes).
    """

    def __init__(self) -> None:
        self._state = np.zeros(10, dtype=np.int64)
        self.forget_position()

    def forget_position(self) -> None:
        """Bytes were lost: row and time are unknown until their next word; the number of clock wraps stays."""
        self._state[[_HIGH, _Y, _BASE_X, _CANDIDATE]] = -1

    def shift_wraps(self, count: int) -> None:
        """Corrects the number of clock wraps."""
        self._state[_WRAPS] += count

    @property
    def unknown_words(self) -> int:
        return int(self._state[_UNKNOWN])

    @property
    def outside(self) -> int:
        return int(self._state[_OUTSIDE])

    @property
    def early(self) -> int:
        return int(self._state[_EARLY])

    def decode(
        self, words: np.ndarray, width: int, height: int, expected_us: int = -1
    ) -> tuple[np.ndarray, int]:
        """Decodes the words of one message.

        Args:
            words: (N,) uint16, native byte order. width, height: of the sensor; 0 allows any pixel.
            expected_us: sensor time of the message as somebody else knows it; -1: nobody does.

        Returns:
            events: (M,) EVENT_DTYPE with t in nanoseconds of the sensor's clock, wraps counted; p +1 or -1.
            first_us: sensor time of the first time word, -1 when the message tells no time.
        """
        words = read_only(np.ascontiguousarray(words, dtype=np.uint16))
        events = np.empty(_most_events(words), dtype=EVENT_DTYPE)
        wide = events.view(_WIDE_DTYPE)
        columns = (wide["pixel"], wide["t"], wide["p"])
        count, first_us = _decode(words, self._state, width or 65536, height or 65536, expected_us, *columns)
        return events[:count], int(first_us)


@compiled(cache=True)
def shift_times(times_ns, offset_ns):
    """Adds to the times of events in place; a loop, because NumPy copies a field of 13-byte structures to add to it."""
    for i in range(times_ns.size):
        times_ns[i] += offset_ns


# How many events a word holds, and which bits of a vector of twelve are set. A vector of eight is one of twelve whose
# upper four are not.
_VECTORS = np.arange(1 << 12)
_BITS = np.array([vector.bit_count() for vector in range(1 << 12)], dtype=np.uint8)
_WHERE = np.argsort(~(_VECTORS[:, None] >> np.arange(12)) & 1, axis=1, kind="stable").astype(np.uint8)
_EVENTS_IN = np.zeros(1 << 16, dtype=np.uint8)
for _code, _events in ((_ADDR_X, 1), (_VECT_12, _BITS), (_VECT_8, _BITS[_VECTORS & 0xFF])):
    _EVENTS_IN[_code << 12 | _VECTORS] = _events

# Sensors send 32 pixels of a row as vectors of 12, 12 and 8, which are read together. The product of a power of two and
# this number has another upper five bits for each power (Leiserson, Prokop and Randall, 1998).
_DE_BRUIJN = 0x077CB531
_PLACE = np.zeros(32, dtype=np.uint8)
_PLACE[[(_DE_BRUIJN << place & 0xFFFFFFFF) >> 27 for place in range(32)]] = range(32)


@compiled(cache=True)
def _is_whole_vector(words, index):
    """Whether vectors of 12, 12 and 8 begin here."""
    if index + 2 >= words.size:
        return False
    return words[index] >> 12 == _VECT_12 and words[index + 1] >> 12 == _VECT_12 and words[index + 2] >> 12 == _VECT_8


@compiled(cache=True)
def _most_events(words):
    count = 0
    for i in range(words.size):
        count += _EVENTS_IN[words[i]]
    return count


@compiled(cache=True)
def _next_high(words, index):
    """Upper bits of the clock that the words say next, -1 where they say none."""
    for i in range(index + 1, words.size):
        if words[i] >> 12 == _TIME_HIGH:
            return np.int64(words[i]) & 0xFFF
    return np.int64(-1)


@compiled(cache=True)
def _is_jump(state, new, following, expected_us):
    """Whether the clock has jumped from its upper bits to new ones, or these have a bit error."""
    high, candidate = state[_HIGH], state[_CANDIDATE]
    if candidate >= 0 and ((new - candidate) & 0xFFF) <= _LONGEST_STEP:
        return True  # a second one says the same
    if following >= 0:
        from_new, from_old = (following - new) & 0xFFF, (following - high) & 0xFFF
        if min(from_new, from_old) <= _LONGEST_STEP:
            return from_new < from_old
    if expected_us >= 0:
        to_new, to_old = (new - (expected_us >> 12)) & 0xFFF, (high - (expected_us >> 12)) & 0xFFF
        return min(to_new, 4096 - to_new) < min(to_old, 4096 - to_old)
    return ((new - high) & 0xFFF) < 2048


@compiled(cache=True)
def _set_high(state, words, index, expected_us):
    """Takes the clock's upper bits; a jump that nothing speaks for waits for a second one."""
    new, high = np.int64(words[index]) & 0xFFF, state[_HIGH]
    ahead = (new - high) & 0xFFF
    if high >= 0 and ahead == 0:
        state[_CANDIDATE] = -1
        return
    if high >= 0 and ahead > _LONGEST_STEP and not _is_jump(state, new, _next_high(words, index), expected_us):
        state[_CANDIDATE] = new
        return
    if high >= 0 and ahead > _LONGEST_STEP and expected_us >= 0:
        state[_WRAPS] = (expected_us - (new << 12) + (1 << 23)) >> 24
    elif high >= 0:
        if ahead < 2048 and new < high:
            state[_WRAPS] += 1
        elif ahead >= 2048 and new > high:
            state[_WRAPS] -= 1
    state[_HIGH], state[_LOW], state[_CANDIDATE] = new, 0, -1


@compiled(cache=True)
def _decode(words, state, width, height, expected_us, out_pixel, out_t, out_p):
    count, first_us = 0, np.int64(-1)
    y, base_x, polarity = state[_Y], state[_BASE_X], np.int8(state[_POLARITY])
    is_timed = state[_HIGH] >= 0
    time_ns = ((state[_WRAPS] << 24) | (max(state[_HIGH], 0) << 12) | state[_LOW]) * 1000
    i = -1
    while i + 1 < words.size:
        i += 1
        word = np.int64(words[i])
        code = word >> 12
        if code in (_VECT_12, _VECT_8):
            vector, length = (word & 0xFFF, 12) if code == _VECT_12 else (word & 0xFF, 8)
            bits = np.int64(_EVENTS_IN[word])
            if not is_timed or y < 0 or base_x < 0:
                state[_EARLY] += bits
                continue
            for k in range(bits):
                x = base_x + _WHERE[vector, k]
                if x >= width or y >= height:
                    state[_OUTSIDE] += 1
                    continue
                out_pixel[count], out_t[count], out_p[count] = y << 16 | x, time_ns, polarity
                count += 1
            base_x += length
        elif code == _ADDR_Y:
            y = word & 0x7FF
        elif code == _ADDR_X:
            x = word & 0x7FF
            if not is_timed or y < 0:
                state[_EARLY] += 1
            elif x >= width or y >= height:
                state[_OUTSIDE] += 1
            else:
                out_pixel[count], out_t[count] = y << 16 | x, time_ns
                out_p[count] = 1 if word & 0x800 else -1
                count += 1
        elif code == _VECT_BASE_X:
            base_x, polarity = word & 0x7FF, np.int8(1 if word & 0x800 else -1)
            if is_timed and 0 <= y < height and base_x + 32 <= width and _is_whole_vector(words, i + 1):
                vector = (words[i + 1] & 0xFFF) | (words[i + 2] & 0xFFF) << 12 | (words[i + 3] & 0xFF) << 24
                pixel = y << 16 | base_x
                while vector:
                    lowest = vector & -vector
                    out_pixel[count] = pixel + _PLACE[(lowest * _DE_BRUIJN & 0xFFFFFFFF) >> 27]
                    out_t[count], out_p[count] = time_ns, polarity
                    vector ^= lowest
                    count += 1
                base_x += 32
                i += 3
        elif code in (_TIME_LOW, _TIME_HIGH):
            if code == _TIME_HIGH:
                _set_high(state, words, i, expected_us)
                is_timed = state[_HIGH] >= 0
            else:
                state[_LOW] = word & 0xFFF
            time_us = (state[_WRAPS] << 24) | (max(state[_HIGH], 0) << 12) | state[_LOW]
            time_ns = time_us * 1000
            if first_us < 0 and is_timed:
                first_us = time_us
        elif not _IS_KNOWN[code]:
            state[_UNKNOWN] += 1
    state[_Y], state[_BASE_X], state[_POLARITY] = y, base_x, polarity
    return count, first_us
