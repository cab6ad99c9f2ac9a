"""How long does a frame take, planes to labels, against an older checkout?

    OMP_NUM_THREADS=1 python benchmarks/older_network.py OLD CHECKPOINT [--turns 5]

CHECKPOINT is one that both checkouts read: for 8636e22 its own, without a temperature of the selection. Processes of
the two checkouts run in turns; all sensors and the first alone. Processor time of the shortest frame of each process:
a busy machine lengthens the others.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.turns import ratio

_FRAMES = """
import json, os, sys, time
import numpy as np
if os.path.isdir("any2seg_core/runtime"):
    from any2seg_core.runtime.predictor import Predictor
else:  # the layout of older checkouts
    from any2seg_core.predictor import Predictor
predictor = Predictor.load(sys.argv[1])
size = predictor.contract.height, predictor.contract.width
rng = np.random.default_rng(0)
planes = {name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name in predictor.contract.modalities}
predictor.warm_up()
first = next(iter(planes))
shortest = {}
for sensors, given in (("all", planes), ("one", {first: planes[first]})):
    for _ in range(int(sys.argv[2])):
        start_s = time.process_time()
        predictor(given, with_confidence=False)
        shortest[sensors] = min(shortest.get(sensors, 1e9), time.process_time() - start_s)
print(json.dumps(shortest))
"""


def frames(tree: Path, checkpoint: Path, count: int) -> dict[str, float]:
    """Seconds of the shortest of some frames, all sensors and one, in a process of a checkout."""
    command = [sys.executable, "-c", _FRAMES, str(checkpoint), str(count)]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def older(
    tree: Annotated[Path, typer.Argument(help="Checkout to compare with.")],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint that both can read.")],
    turns: Annotated[int, typer.Option(min=1)] = 5,
    count: Annotated[int, typer.Option(min=1, help="Frames of each process.")] = 60,
) -> None:
    """This checkout over an older one."""
    trees = {"old": tree.resolve(), "new": Path(__file__).resolve().parent.parent}
    taken = [{side: frames(each, checkpoint.resolve(), count) for side, each in trees.items()} for _ in range(turns)]
    for sensors in ("all", "one"):
        old, new = ([turn[side][sensors] for turn in taken] for side in trees)
        print(f"{sensors}: {1e3 * statistics.median(new):.1f} ms, {ratio(new, old)} of the older checkout's")
    one, every = ([turn["new"][sensors] for turn in taken] for sensors in ("one", "all"))
    print(f"one sensor over all: {ratio(one, every)}")


if __name__ == "__main__":
    typer.run(older)
