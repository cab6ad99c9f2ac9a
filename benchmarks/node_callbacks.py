"""What does the whole node cost beside the network, from its callbacks to the published label?

    OMP_NUM_THREADS=1 python benchmarks/node_callbacks.py

The sizes and the plain NumPy peer of `node_overhead.py`, with real messages through the running node: stamps, threads,
synchroniser, health, planes, their way to the size of the network, labels of its logits at the size of the camera,
label message. Network and transport cost nothing here. Printed is processor time of the whole process, all threads, the
best of several rounds; `node_overhead.py` tells what the planes alone cost.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from node_overhead import BUDGET_MS, EVENTS, POINTS, SIDE, peer_depth, peer_events, peer_lidar, peer_rgb
from node_stand_in import StandInNode, stamp, steady_stamps

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.sensors.camera import CameraModel

FRAMES, ROUNDS = 10, 5


def cpu_ms(work: Callable[[Any], object], frames: Sequence[Any], stamps: Iterator[int]) -> float:
    """Processor time per frame, without stamping it."""
    spent_s = 0.0
    for frame in frames:
        stamp(frame, next(stamps))
        start_s = time.process_time()
        work(frame)
        spent_s += time.process_time() - start_s
    return spent_s / len(frames) * 1e3


def main() -> None:
    keep_freed_memory()  # as the node does
    camera = CameraModel.from_fov(SIDE, SIDE, 91.0)
    peers = {"rgb": peer_rgb, "depth": peer_depth, "event": peer_events, "lidar": peer_lidar}
    with tempfile.TemporaryDirectory() as folder:
        stand_in, stamps = StandInNode(Path(folder), SIDE, POINTS, EVENTS), steady_stamps()
        frames = stand_in.messages(FRAMES)

        def peer(frame: Any) -> None:
            for name, read in peers.items():
                read(frame[name], camera)

        for work in (stand_in.push, peer):
            cpu_ms(work, frames[:3], stamps)
        rounds = [(cpu_ms(stand_in.push, frames, stamps), cpu_ms(peer, frames, stamps)) for _ in range(ROUNDS)]
        node_ms, peer_ms = (min(column) for column in zip(*rounds, strict=True))
        print(f"fused {', '.join(stand_in.used)}; {SIDE}x{SIDE}, {POINTS} points, {EVENTS} events per frame")
        print(f"node / plain NumPy = {node_ms / peer_ms:.2f} ({node_ms:.1f} / {peer_ms:.1f} ms of one core per frame)")
        print(f"budget {BUDGET_MS:.0f} ms")
        stand_in.close()


if __name__ == "__main__":
    main()
