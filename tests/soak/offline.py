"""Many small frames through the node's callbacks, as fast as they go; the model is a stand-in."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
from resources import held_by
from trend import Trend, trend

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_ros.stand_in_node import StandInNode, stamp, steady_stamps

SAMPLES = 400
COLUMNS = ("frames", "memory_mb", "shared_mb", "threads", "descriptors", "python_blocks")
PER_FRAMES = 100_000
# What counts as flat, per 100,000 frames (2.8 hours of sensors at 10 Hz).
BOUNDS = {"memory_mb": 1.0, "threads": 0.5, "descriptors": 0.5, "python_blocks": 1000.0}
_LOOK_EVERY = 2  # frames: the node's timer looks five times in a second
_SPOKEN_S = 10.0


def run(frames: int, say: Callable[[str], None]) -> list[dict[str, float]]:
    """A curve: what the process held after so many frames, about 400 times.

    All four sensors, label and modalities published, diagnostics as often as in the node.
    """
    keep_freed_memory()  # as the node's process does
    every, spoken_s = max(frames // SAMPLES, 1), time.monotonic()
    rows = np.zeros((frames // every, len(COLUMNS)))  # its memory is taken now: a list would be what grows
    with tempfile.TemporaryDirectory() as folder:
        stand_in, stamps = StandInNode(Path(folder), 96, 2000, 2000), steady_stamps()
        messages = stand_in.messages(16)
        for done in range(1, frames + 1):
            frame = messages[done % len(messages)]
            stamp(frame, next(stamps))
            stand_in.push(frame)
            if done % _LOOK_EVERY == 0:
                stand_in.look()
            if done % every == 0:
                rows[done // every - 1] = (done, *astuple(held_by()), sys.getallocatedblocks())
            if time.monotonic() - spoken_s > _SPOKEN_S:
                spoken_s = time.monotonic()
                say(f"offline: {done} of {frames} frames, {held_by().memory_mb:.1f} MB")
        stand_in.close()
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows.tolist()]


def trends(curve: list[dict[str, float]]) -> list[Trend]:
    """Slopes per 100,000 frames."""
    x = [point["frames"] / PER_FRAMES for point in curve]
    return [trend(name, x, [point[name] for point in curve], bound) for name, bound in BOUNDS.items()]
