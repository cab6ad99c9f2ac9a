"""Does the node's memory stay flat? Thousands of small frames through its callbacks, as fast as they go.

    python benchmarks/node_soak.py [frames, default 20000]

All four sensors, label and modalities published, the model a stand-in. Prints resident memory as it goes; the growth is
taken from the end of the first fifth, when every buffer has its size.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from node_stand_in import StandInNode, rss_mb, stamp, steady_stamps

STEPS = 20


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        stand_in, stamps, curve = StandInNode(Path(folder), 96, 2000, 2000), steady_stamps(), []
        frames = stand_in.messages(16)
        for step in range(STEPS):
            for index in range(count // STEPS):
                frame = frames[index % len(frames)]
                stamp(frame, next(stamps))
                stand_in.push(frame)
            curve.append(rss_mb())
            print(f"{(step + 1) * (count // STEPS):6d} frames: {curve[-1]:7.1f} MB", flush=True)
        settled = curve[STEPS // 5 - 1]
        print(f"growth after the first fifth: {curve[-1] - settled:+.1f} MB ({curve[-1] / settled:.3f} x)")
        stand_in.close()


if __name__ == "__main__":
    main()
