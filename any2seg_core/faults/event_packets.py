"""Faults of event_camera_msgs/EventPacket: words are added and times moved without decoding what is there.

The bits of the encodings stand in `messages/event_stream.py` (libcaer, mono) and `messages/evt3.py`.
"""

from __future__ import annotations

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.faults.physics import background_activity
from any2seg_core.messages.event_stream import libcaer_events, mono_events
from any2seg_core.messages.evt3 import WRAP_US

_HIGH_STEP_US = 4096  # one step of evt3's upper time word
_EVT3_MAX_SIDE = 2048
_ADDR_Y, _ADDR_X, _VECT_BASE_X, _TIME_LOW, _TIME_HIGH = 0, 2, 3, 6, 8
WORDS = {"evt3": "u2", "libcaer": "u8", "mono": "u8"}
"""Encodings that can be written -> type of their words; libcaer_cmp is compressed by a library of its driver."""


def require_writable(encoding: str) -> None:
    """MessageError for an encoding that only its driver can write."""
    if encoding not in WORDS:
        raise MessageError(
            f"event packet: {encoding[:40]!r} cannot be written, only {', '.join(WORDS)} can", "unsupported"
        )


def noisy_words(
    words: np.ndarray, encoding: str, time_base_ns: int, size: tuple[int, int], rate_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """Words of one packet with background events among them.

    Args:
        words: of one of `WORDS`, native byte order. size: (H, W) of the sensor, 0 where the message does not say.
        rate_hz: per pixel.
    """
    if encoding == "evt3":
        return _noisy_evt3(words, size, rate_hz, rng)
    events = (libcaer_events if encoding == "libcaer" else mono_events)(words, time_base_ns)
    if not len(events):
        return words
    height, width = (side or int(events[axis].max()) + 1 for side, axis in zip(size, "yx", strict=True))
    start_ns, end_ns = int(events["t"].min()), int(events["t"].max()) + 1
    extra = background_activity(height, width, start_ns, end_ns, rate_hz, rng)
    x, y, is_on = extra["x"].astype(np.uint64), extra["y"].astype(np.uint64), extra["p"] > 0
    if encoding == "libcaer":
        time_us = ((extra["t"] - time_base_ns) // 1000 & 0x7FFFFFFF).astype(np.uint64)
        added = time_us << np.uint64(32) | x << np.uint64(17) | y << np.uint64(2) | is_on * np.uint64(2) | np.uint64(1)
    else:
        time_ns = (extra["t"] - time_base_ns & 0xFFFFFFFF).astype(np.uint64)
        added = time_ns | x << np.uint64(32) | y << np.uint64(48) | is_on * np.uint64(1 << 63)
    order = np.argsort(np.concatenate([events["t"], extra["t"]]), kind="stable")
    return np.concatenate([words, added.astype(words.dtype)])[order]


def _noisy_evt3(words: np.ndarray, size: tuple[int, int], rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Single events are put before words that set the row: what follows sets it anew, so no state is disturbed."""
    codes, time_us = words >> 12, _evt3_times_us(words)
    slots = np.flatnonzero((codes == _ADDR_Y) & (time_us >= 0))
    if not slots.size:
        return words
    rows, columns = words[codes == _ADDR_Y], words[(codes == _ADDR_X) | (codes == _VECT_BASE_X)]
    height = min(size[0] or int((rows & 0x7FF).max()) + 1, _EVT3_MAX_SIDE)
    width = min(size[1] or int((columns & 0x7FF).max(initial=0)) + 1, _EVT3_MAX_SIDE)
    start_us, end_us = int(time_us[slots[0]]), int(time_us[-1]) + 1
    extra = background_activity(height, width, start_us * 1000, end_us * 1000, rate_hz, rng)
    extra = extra[np.argsort(extra["t"], kind="stable")]
    places = slots[np.searchsorted(time_us[slots], extra["t"] // 1000, side="right") - 1]
    pairs = np.empty((len(extra), 2), words.dtype)  # (N,2) row, then column
    pairs[:, 0] = _ADDR_Y << 12 | extra["y"]
    pairs[:, 1] = _ADDR_X << 12 | (extra["p"] > 0) << 11 | extra["x"]
    return np.insert(words, np.repeat(places, 2), pairs.reshape(-1))


def _evt3_times_us(words: np.ndarray) -> np.ndarray:
    """Time at each word from the packet's first time word on, -1 before it: (N,) int64, right but for a constant.

    Before the first upper time word the upper time is that of this word, or one step less when the lower time starts
    anew with it.
    """
    codes, values, index = words >> 12, (words & 0xFFF).astype(np.int64), np.arange(words.size)
    highs, lows = np.flatnonzero(codes == _TIME_HIGH), np.flatnonzero(codes == _TIME_LOW)
    if not lows.size and not highs.size:
        return np.full(words.size, -1)
    early = 0
    if highs.size:
        before, after = values[lows[lows < highs[0]]], values[lows[lows > highs[0]]]
        starts_anew = before.size and after.size and before[-1] > after[0]
        early = int(values[highs[0]]) - bool(starts_anew)
    high_at = np.maximum.accumulate(np.where(codes == _TIME_HIGH, index, -1))
    low_at = np.maximum.accumulate(np.where(codes == _TIME_LOW, index, -1))
    high = np.where(high_at >= 0, values[high_at], early)
    time_us = np.unwrap((high << 12) + np.where(low_at > high_at, values[low_at], 0), period=WRAP_US)
    return np.where((high_at >= 0) | (low_at >= 0), time_us + _HIGH_STEP_US, -1)


def shifted_evt3(words: np.ndarray, shift_ns: int) -> np.ndarray:
    """Time words moved by as many whole steps of 4.096 ms as fit, so that events are never later than asked for."""
    steps = shift_ns // 1000 // _HIGH_STEP_US
    is_high = words >> 12 == _TIME_HIGH
    moved = words.copy()
    moved[is_high] = _TIME_HIGH << 12 | ((words[is_high].astype(np.int64) & 0xFFF) + steps & 0xFFF)
    return moved
