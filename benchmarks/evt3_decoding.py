"""How fast EVT 3.0 event packets are decoded, against the same decoding in whole-array NumPy.

    OMP_NUM_THREADS=1 python benchmarks/evt3_decoding.py

One second of one million random events on 640x480 pixels in packets of 10 ms; scalar words only, because the NumPy
peer, which carries time and row forward with maximum.accumulate, reads no others. Processor time, best of several turns
taken in alternation; both must give the same events.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np

from any2seg_core.messages import EventStream

EVENTS, PACKETS, TURNS = 1_000_000, 100, 5
STAMP_NS = 1_700_000_000_000_000_000


def words_of(rng: np.random.Generator) -> list[np.ndarray]:
    """Per packet (N,) uint16: upper time, then per event lower time, row, column."""
    t_us = np.sort(rng.integers(0, 1_000_000, EVENTS)) + 4096
    parts = []
    for index in range(PACKETS):
        t = t_us[(t_us - 4096) * PACKETS // 1_000_000 == index]
        words = np.empty((len(t), 4), np.uint16)
        words[:, 0] = 0x8000 | t >> 12
        words[:, 1] = 0x6000 | t & 0xFFF
        words[:, 2] = rng.integers(0, 480, len(t))
        words[:, 3] = 0x2000 | rng.integers(0, 640, len(t)) | rng.integers(0, 2, len(t)) << 11
        parts.append(words.ravel())
    return parts


def numpy_decode(words: np.ndarray) -> np.ndarray:
    """(N, 4) t_us, x, y, polarity of one packet that begins with its time and row."""
    code, place = words >> 12, np.arange(words.size)

    def last(kind: int) -> np.ndarray:
        at = np.maximum.accumulate(np.where(code == kind, place, 0))
        return words[at].astype(np.int64) & 0xFFF

    events = np.flatnonzero(code == 2)
    time_us = (last(8) << 12 | last(6))[events]
    return np.stack([time_us, words[events] & 0x7FF, (last(0) & 0x7FF)[events], words[events] >> 11 & 1], 1)


def packets(parts: list[np.ndarray]) -> list[SimpleNamespace]:
    """EventPackets every 10 ms."""
    made = []
    for seq, words in enumerate(parts):
        stamp_ns = STAMP_NS + seq * 10_000_000
        stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        made.append(
            SimpleNamespace(
                header=SimpleNamespace(stamp=stamp, frame_id=""),
                height=480,
                width=640,
                seq=seq,
                time_base=0,
                encoding="evt3",
                is_bigendian=False,
                events=words.astype("<u2").tobytes(),
            )  # fmt: skip
        )
    return made


def main() -> None:
    parts = words_of(np.random.default_rng(0))
    messages, best = packets(parts), [float("inf")] * 2
    for turn in range(TURNS + 1):
        start_s = time.process_time()
        stream = EventStream()
        own = [stream.decode(message).events for message in messages]
        middle_s = time.process_time()
        peer = [numpy_decode(words) for words in parts]
        if turn:
            best = [min(best[0], middle_s - start_s), min(best[1], time.process_time() - middle_s)]
    for events, rows in zip(own, peer, strict=True):
        assert np.array_equal(events["x"], rows[:, 1]) and np.array_equal(events["y"], rows[:, 2])
        assert np.array_equal(np.diff(events["t"]), np.diff(rows[:, 0]) * 1000)
    rates = [EVENTS / seconds / 1e6 for seconds in best]
    print(f"{EVENTS} events, {sum(words.nbytes for words in parts) / EVENTS:.1f} bytes each, {PACKETS} packets")
    print(f"this project {rates[0]:.1f} M events/s, NumPy {rates[1]:.1f} M events/s, ratio {rates[0] / rates[1]:.1f}")


if __name__ == "__main__":
    main()
