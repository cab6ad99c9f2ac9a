"""How long does a million events take to become a plane, against plain NumPy and between two checkouts?

    OMP_NUM_THREADS=1 python benchmarks/event_plane.py
    OMP_NUM_THREADS=1 PYTHONPATH=OLD python benchmarks/event_plane.py   # another checkout, in turns

Events of 50 ms in 60 clusters of a 1280x720 sensor, in the order of time and shuffled, drawn on the sensor's own grid,
turned against it by 0.02 rad, and on a finer grid. Processor time, the least of several turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE, render_events

WIDTH, HEIGHT, EVENTS, TURNS = 1280, 720, 1_000_000, 25
END_NS, WINDOW_NS = 1_700_000_000_050_000_000, 50_000_000


def clustered(rng: np.random.Generator) -> np.ndarray:
    """EVENTS events in the order of time."""
    events = np.empty(EVENTS, EVENT_DTYPE)
    cluster = rng.integers(0, 60, EVENTS)
    for name, size in (("x", WIDTH), ("y", HEIGHT)):
        centres = rng.uniform(60, size - 60, 60)
        events[name] = np.clip(centres[cluster] + rng.normal(0, 18, EVENTS), 0, size - 1)
    events["t"] = END_NS - WINDOW_NS + np.sort(rng.integers(0, WINDOW_NS, EVENTS))
    events["p"] = rng.choice([-1, 1], EVENTS)
    return events


def numpy_plane(events: np.ndarray) -> np.ndarray:
    """Counts by bincount, recency by maximum.at."""
    pixel = events["y"].astype(np.int64) * WIDTH + events["x"]
    age = END_NS - events["t"]
    taken = (age >= 0) & (age < WINDOW_NS)
    plane = np.zeros((3, HEIGHT * WIDTH), np.uint8)
    for channel, polarity in enumerate((events["p"] > 0, events["p"] <= 0)):
        plane[channel] = np.minimum(40 * np.bincount(pixel[taken & polarity], minlength=HEIGHT * WIDTH), 255)
    np.maximum.at(plane[2], pixel[taken], (255 - age[taken] * 255 // WINDOW_NS).astype(np.uint8))
    return plane.T.reshape(HEIGHT, WIDTH, 3)  # (3,HW) -> (H,W,3)


def least_ms(work: Callable[[], object], turns: int = TURNS) -> float:
    """Processor time; the first call loads and warms."""
    work()
    spent_s = []
    for _ in range(turns):
        start_s = time.process_time()
        work()
        spent_s.append(time.process_time() - start_s)
    return 1e3 * min(spent_s)


def main() -> None:
    rng = np.random.default_rng(0)
    events = clustered(rng)
    shuffled = rng.permutation(events)
    camera, fine = (CameraModel.from_fov(WIDTH, HEIGHT, degrees) for degrees in (80.0, 70.0))
    turned = np.array([[np.cos(0.02), 0, np.sin(0.02)], [0, 1, 0], [-np.sin(0.02), 0, np.cos(0.02)]])
    cases = {
        "own grid": (events, camera, np.eye(3)),
        "own grid, shuffled": (shuffled, camera, np.eye(3)),
        "turned": (events, camera, turned),
        "turned, shuffled": (shuffled, camera, turned),
        "finer grid": (events, fine, turned),
    }
    np.testing.assert_array_equal(
        render_events(events, END_NS, WINDOW_NS, camera, camera, np.eye(3)), numpy_plane(events)
    )
    peer_ms = least_ms(partial(numpy_plane, events), 3)
    print(f"{EVENTS} events, {WIDTH}x{HEIGHT}; plain NumPy, own grid: {peer_ms:.1f} ms")
    for name, (sent, grid, rotation) in cases.items():
        own_ms = least_ms(partial(render_events, sent, END_NS, WINDOW_NS, camera, grid, rotation))
        print(f"{name:20} {own_ms:6.2f} ms, {own_ms / peer_ms:.3f} of NumPy")


if __name__ == "__main__":
    main()
