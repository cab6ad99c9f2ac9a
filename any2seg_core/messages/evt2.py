"""Prophesee EVT 2.0 and 2.1 to events. A word holds a whole event, or a vector of 32, and six bits of its time."""

from __future__ import annotations

import numpy as np

from any2seg_core.sensors.events import EVENT_DTYPE

# Types in the upper four bits (Prophesee, "EVT 2.0 format", "EVT 2.1 format"): events of either polarity, the clock's
# upper 28 bits, trigger, others and their continuation.
_OFF, _ON, _TIME_HIGH = 0, 1, 8
_TYPES = np.array([_OFF, _ON, _TIME_HIGH, 10, 14, 15], np.uint32)
_HIGH_BITS, _LOW_BITS = 28, 6


def decode_evt2(words: np.ndarray) -> np.ndarray:
    """(N,) uint32 words -> (M,) EVENT_DTYPE, t in nanoseconds of the sensor's clock, p +1 or -1.

    Events before the first word of time have none and are dropped; the clock starts again every 4.77 h.
    """
    chosen, time_us = _timed(words)
    heads = words[chosen]
    return _events(heads >> 11 & 0x7FF, heads & 0x7FF, time_us, heads >> 28)


def decode_evt21(words: np.ndarray) -> np.ndarray:
    """(N, 2) uint32, head and mask of each word -> (M,) EVENT_DTYPE as `decode_evt2`."""
    chosen, time_us = _timed(words[:, 0])
    heads, masks = words[chosen, 0], np.ascontiguousarray(words[chosen, 1], "<u4")
    bits = np.unpackbits(masks.view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")  # (n,32)
    row, place = np.nonzero(bits)
    return _events((heads[row] >> 11 & 0x7FF) + place, heads[row] & 0x7FF, time_us[row], heads[row] >> 28)


def split_evt21(words: np.ndarray, endianness: str = "") -> np.ndarray | None:
    """(N,) uint64 words -> (N, 2) uint32 head and mask.

    The head is the upper half ("little", as GenX320 writes it) or the lower one ("legacy", IMX636). Where the file does
    not say which, the one counts that holds known types only; None where that is neither or both.
    """
    halves = words.astype("<u8").view("<u4").reshape(-1, 2)  # (N,2): lower, upper
    if endianness in ("little", "legacy"):
        found = [1 if endianness == "little" else 0]
    else:
        found = [half for half in (0, 1) if np.isin(halves[:, half] >> 28, _TYPES).all()]
    return halves[:, [found[0], 1 - found[0]]] if len(found) == 1 else None


def _timed(heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the events among (N,) heads, and their times in microseconds, both (n,)."""
    types = heads >> 28
    clock = np.flatnonzero(types == _TIME_HIGH)
    if not clock.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    high = (heads[clock] & 0xFFFFFFF).astype(np.int64)
    wraps = np.concatenate([[0], np.cumsum(np.diff(high) < -(1 << (_HIGH_BITS - 1)))])
    high += wraps << _HIGH_BITS
    chosen = np.flatnonzero(types <= _ON)
    chosen = chosen[chosen > clock[0]]
    last = np.searchsorted(clock, chosen) - 1
    return chosen, high[last] << _LOW_BITS | (heads[chosen] >> 22 & 0x3F).astype(np.int64)


def _events(x: np.ndarray, y: np.ndarray, time_us: np.ndarray, is_on: np.ndarray) -> np.ndarray:
    events = np.empty(len(x), EVENT_DTYPE)
    events["x"], events["y"], events["t"] = x, y, time_us * 1000
    events["p"] = np.where(is_on == _ON, 1, -1)
    return events
