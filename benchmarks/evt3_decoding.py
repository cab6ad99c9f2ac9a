"""How fast EVT 3.0 event packets are decoded, against the decoders that others have.

    pip install evt3==0.4.1 expelliarmus==1.1.12    # optional, in any environment that has this project
    OMP_NUM_THREADS=1 python benchmarks/evt3_decoding.py

One million events at 1280x720 in packets of 10 ms: nearly all words are vectors, as sensors send them. Processor time,
medians of turns taken in alternation. `evt3` and `expelliarmus` read all at once and keep sensor time; this project
reads packet by packet with its state and gives host time. All must give the same events.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from any2seg_core.messages import EventStream

EVENTS, PACKET_US, TURNS = 1_000_000, 10_000, 15
WIDTH, HEIGHT = 1280, 720
STAMP_NS = 1_700_000_000_000_000_000


def words_of(rng: np.random.Generator) -> list[np.ndarray]:
    """Per packet (N,) uint16: time, then rows with a single event or 32 pixels in vectors of 12, 12 and 8."""
    packets: list[np.ndarray] = []
    words: list[int] = []
    time_us, high, count = 4096, -1, 0
    while count < EVENTS:
        time_us += int(rng.exponential(8)) + 1
        if time_us // PACKET_US > len(packets) and words:
            packets.append(np.array(words, np.uint16))
            words, high = [], -1
        if time_us >> 12 != high:
            high = time_us >> 12
            words.append(0x8000 | high & 0xFFF)
        words.append(0x6000 | time_us & 0xFFF)
        for _ in range(rng.integers(1, 6)):
            words.append(int(rng.integers(HEIGHT)))
            on = int(rng.integers(2)) << 11
            if rng.random() < 0.25:
                words.append(0x2000 | on | int(rng.integers(WIDTH)))
                count += 1
                continue
            bits = rng.random(32) < rng.choice([0.1, 0.3, 0.6])
            mask = int(np.packbits(bits, bitorder="little").view("<u4")[0])
            words += [0x3000 | on | 32 * int(rng.integers(WIDTH // 32))]
            words += [0x4000 | mask & 0xFFF, 0x4000 | mask >> 12 & 0xFFF, 0x5000 | mask >> 24]
            count += int(bits.sum())
    return [*packets, np.array(words, np.uint16)]


def message(seq: int, words: np.ndarray) -> SimpleNamespace:
    """An EventPacket, one every 10 ms."""
    stamp_ns = STAMP_NS + seq * PACKET_US * 1000
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="")
    return SimpleNamespace(
        header=header, height=HEIGHT, width=WIDTH, seq=seq, time_base=0, encoding="evt3", is_bigendian=False,
        events=words.astype("<u2").tobytes(),
    )  # fmt: skip


def peers(raw: bytes, folder: Path) -> dict[str, Callable[[], Any]]:
    """Those that are installed; each returns something with x and y."""
    found: dict[str, Callable[[], Any]] = {}
    try:
        import evt3

        found["evt3"] = lambda: evt3.decode_bytes(raw, WIDTH, HEIGHT)
    except ImportError:
        print("evt3 is not installed: left out")
    try:
        from expelliarmus import Wizard

        path = folder / "events.raw"
        path.write_bytes(f"% evt 3.0\n% format EVT3;height={HEIGHT};width={WIDTH}\n% end\n".encode() + raw)
        found["expelliarmus"] = lambda: Wizard(encoding="evt3").read(path)
    except ImportError:
        print("expelliarmus is not installed: left out")
    return found


def columns(events: Any) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a structured array, or of the columns that `evt3` returns."""
    x, y = (events["x"], events["y"]) if isinstance(events, np.ndarray) else (events.x, events.y)
    return np.asarray(x), np.asarray(y)


def main() -> None:
    packets = words_of(np.random.default_rng(0))
    messages = [message(seq, words) for seq, words in enumerate(packets)]
    raw = b"".join(each.events for each in messages)

    def ours() -> list[np.ndarray]:
        stream = EventStream()
        return [stream.decode(each).events for each in messages]

    with tempfile.TemporaryDirectory() as folder:
        runs = {"this project": ours, **peers(raw, Path(folder))}
        times_s: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(TURNS):
            for name, run in runs.items():
                start_s = time.process_time()
                run()
                times_s[name].append(time.process_time() - start_s)
        own = np.concatenate(ours())
        for name, run in list(runs.items())[1:]:
            x, y = columns(run())
            assert np.array_equal(own["x"], x) and np.array_equal(own["y"], y), name
    print(f"{len(own)} events, {len(raw) / len(own):.1f} bytes each, {len(packets)} packets")
    for name, turns in times_s.items():
        ratio = np.median(np.array(times_s["this project"]) / turns)
        print(f"{name:14s} {np.median(turns) * 1e3:6.1f} ms; this project takes {ratio:.2f} of it")


if __name__ == "__main__":
    main()
