"""What the whole node costs beside the network, from its callbacks to the published label; for `any2seg bench`.

    python -m any2seg_ros.callback_cost --rounds 5

Real messages go through the running node: stamps, threads, synchroniser, health, planes, their way to the size of the
network, labels of its logits at the size of the camera, label message. Network and transport cost nothing here. Printed
is JSON: processor time of the process, all threads, per frame and round, beside the same planes in plain NumPy.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import typer

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.entry import run
from any2seg_core.base.screen import say
from any2seg_core.base.turns import in_turns
from any2seg_core.bench import scene
from any2seg_core.bench.plain_numpy import PLAIN
from any2seg_core.sensors.camera import CameraModel
from any2seg_ros.stand_in_node import StandInNode, stamp, steady_stamps

_FRAMES, _SIDE, _HFOV_DEG = 10, 1024, 91.0

app = typer.Typer()


@app.command()
def main(
    rounds: Annotated[int, typer.Option(min=1, help="Of ten frames.")] = 5,
    scale: Annotated[float, typer.Option(min=1e-3, max=1, help="Of side, points and events.")] = 1.0,
) -> None:
    """Measure and print."""
    keep_freed_memory()  # as the node does
    side, points, events = (max(64, round(scale * full)) for full in (_SIDE, scene.POINTS, scene.EVENTS))
    view = CameraModel.from_fov(side, side, _HFOV_DEG)
    with tempfile.TemporaryDirectory() as folder:
        node = StandInNode(Path(folder), side, points, events)
        stamps, given = steady_stamps(), cycle(node.messages(_FRAMES))
        current: dict[str, Any] = {}

        def next_frame() -> None:
            current.update(next(given))
            stamp(current, next(stamps))

        def plain() -> None:
            for name, plane_of in PLAIN.items():
                plane_of(current[name], view)

        works: dict[str, Callable[[], object]] = {"node": partial(node.push, current), "plain": plain}
        found = in_turns(works, rounds * _FRAMES, 3, next_frame)
        used = ", ".join(node.used)
        node.close()
    case = f"{used}; {side}x{side}, {points} points, {events} events"
    say(json.dumps({"case": case, "node_s": found["node"].cpu_s, "plain_numpy_s": found["plain"].cpu_s}))


if __name__ == "__main__":
    run(app, "callback_cost")
