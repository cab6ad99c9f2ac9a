"""Event messages made by hand: an EVT 3.0 encoder written from the format's description, and packets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

STAMP_NS = 1_700_000_000_000_000_000


def header(stamp_ns: int, frame_id: str = "dvs"):
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id=frame_id)


def packet(data: bytes, seq: int = 0, stamp_ns: int = STAMP_NS, encoding: str = "evt3", **changes):
    fields = {
        "header": header(stamp_ns), "height": 480, "width": 640, "seq": seq, "time_base": 0, "encoding": encoding,
        "is_bigendian": False, "events": data,
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def evt3_words(events, vector: bool = False, high: int | None = None) -> list[int]:
    """Words for rows (t_us, x, y, p) in order of time; `high` is the upper time that the stream already told."""
    words: list[int] = []
    time_low, row, index = None, None, 0
    events = [tuple(int(v) for v in event) for event in events]
    while index < len(events):
        t, x, y, p = events[index]
        if (t >> 12) & 0xFFF != high:
            high, time_low = (t >> 12) & 0xFFF, None
            words.append(0x8000 | high)
        if t & 0xFFF != time_low:
            time_low = t & 0xFFF
            words.append(0x6000 | time_low)
        if y != row:
            row = y
            words.append(y)
        run = 1
        while (index + run < len(events) and events[index + run][0] == t and events[index + run][2:] == (y, p)
               and x < events[index + run][1] < x + 32 and vector):  # fmt: skip
            run += 1
        if run == 1:
            words.append(0x2000 | (p > 0) << 11 | x)
        else:  # 32 columns as 12 + 12 + 8
            mask = sum(1 << (event[1] - x) for event in events[index : index + run])
            words += [0x3000 | (p > 0) << 11 | x, 0x4000 | mask & 0xFFF, 0x4000 | mask >> 12 & 0xFFF]
            words.append(0x5000 | mask >> 24)
        index += run
    return words


def to_bytes(words, order: str = "<") -> bytes:
    return np.array(words, dtype=order + "u2").tobytes()


def random_rows(n: int, seed: int = 0, start_us: int = 5_000_000, mean_us: float = 3.0) -> np.ndarray:
    """(n, 4) int64 t_us, x, y, p, ordered by time, many of them simultaneous neighbours."""
    rng = np.random.default_rng(seed)
    t = start_us + np.cumsum(rng.integers(0, int(2 * mean_us) + 1, n) * (rng.random(n) < 0.3))
    rows = np.stack([t, rng.integers(0, 640, n), rng.integers(0, 480, n), rng.integers(0, 2, n) * 2 - 1], 1)
    for k in range(1, n):  # a third of them continue a row
        if rng.random() < 0.4 and rows[k - 1, 1] < 630:
            rows[k] = rows[k - 1] + [0, rng.integers(1, 9), 0, 0]
    return rows
