"""Is the behaviour of two checkouts the same? Labels, scores and training losses, and how long each takes.

    OMP_NUM_THREADS=1 python benchmarks/two_trees.py OLD NEW [--recording BAG] [--data FOLDER] [--turns 3]

Each checkout runs its own code in processes of its own, under this interpreter. Compared are the labels of every set
and sensor subset of a recording (CRC), its mIoU, and the losses of 20 training steps. Processor time is measured in
turns (old, new, old, new ...); the ratio is new / old of the medians. A turn before them, which compiles what a
checkout has not compiled yet, is not counted.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

_STEPS = 20


def run(tree: Path, *arguments: object) -> float:
    """Run Python in a checkout; returns the processor seconds it took."""
    paths = (tree, tree / "ros2_ws" / "src" / "any2seg_ros")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{tree}: {' '.join(map(str, arguments))}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def evaluated(tree: Path, recording: Path, out: Path) -> tuple[float, dict[tuple[int, str], int | None], dict]:
    """Seconds, label CRC by stamp and subset, and mIoU by subset of `any2seg bag evaluate`."""
    checkpoint = tree / "checkpoints" / "drive_b0.safetensors"
    taken_s = run(tree, "-m", "any2seg_core", "bag", "evaluate", recording, "--checkpoint", checkpoint, "--out", out)
    lines = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()[1:]]
    labels = {
        (line["stamp_ns"], name): each["labels_crc32"] for line in lines for name, each in line["subsets"].items()
    }
    summary = json.loads((out / "summary.json").read_text())
    return taken_s, labels, {name: each["miou_present"] for name, each in summary["subsets"].items()}


def trained(tree: Path, data: Path, out: Path) -> tuple[float, list[float]]:
    """Seconds and the losses of the first steps of the shipped short recipe in float32."""
    recipe = "training/configs/drive_b0_short.yaml"
    options = (f"data={data}", f"out={out}", f"steps={_STEPS}", "warmup_steps=5", "log_every=1", "bf16=false",
               "compile_fusion=false", "device=cpu")  # fmt: skip
    taken_s = run(tree, "training/train.py", recipe, *options)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return taken_s, [line["loss"] for line in lines if line["kind"] == "step"]


def main(
    old: Annotated[Path, typer.Argument(help="Checkout to compare with.")],
    new: Annotated[Path, typer.Argument(help="Checkout to judge.")],
    recording: Annotated[Path | None, typer.Option(help="Default: 6 s of the simulated drive.")] = None,
    data: Annotated[Path | None, typer.Option(help="DELIVER's layout. Default: a few frames of the drive.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="How often old and new are run, in turns.")] = 3,
) -> None:
    """Compare, print one line per question, exit code 1 where labels, scores or losses differ."""
    trees = {"old": old.resolve(), "new": new.resolve()}
    with TemporaryDirectory() as folder:
        work = Path(folder)
        if recording is None:
            recording = work / "bag"
            run(trees["old"], "-m", "any2seg_core", "drive", "bag", recording, "--seconds", 6)
        if data is None:
            data = work / "data"
            for split in ("train", "val"):
                run(trees["old"], "-m", "any2seg_core", "drive", "deliver", data, "--split", split, "--sequences", 5,
                    "--frames", 2)  # fmt: skip
        judged: dict[str, list[Any]] = {side: [] for side in trees}
        learnt: dict[str, list[Any]] = {side: [] for side in trees}
        for turn in range(turns + 1):
            for side, tree in trees.items():
                judged[side].append(evaluated(tree, recording.resolve(), work / f"{side}{turn}_bag"))
                learnt[side].append(trained(tree, data.resolve(), work / f"{side}{turn}_train"))
                print(f"turn {turn} of {turns}, {side}: {judged[side][-1][0]:.1f} s, {learnt[side][-1][0]:.1f} s",
                      flush=True)  # fmt: skip
    (_, labels, scores), (_, other_labels, other_scores) = judged["old"][0], judged["new"][0]
    differing = sum(labels[key] != other_labels.get(key) for key in labels) + len(other_labels.keys() - labels.keys())
    worst = max(abs(scores[name] - other_scores[name]) for name in scores)
    losses, other_losses = learnt["old"][0][1], learnt["new"][0][1]
    apart = max(abs(one - other) for one, other in zip(losses, other_losses, strict=True))
    print(f"labels: {differing} of {len(labels)} label images differ")
    print(f"mIoU: at most {worst:.3f} points apart over {len(scores)} subsets")
    print(f"training: losses of {len(losses)} steps at most {apart:.2e} apart")
    for what, taken in (("bag evaluate", judged), ("training", learnt)):
        seconds = {side: median(each[0] for each in taken[side][1:]) for side in trees}
        print(f"{what}: processor time new / old {seconds['new'] / seconds['old']:.3f} over {turns} turns")
    raise typer.Exit(int(bool(differing or worst or apart)))


if __name__ == "__main__":
    typer.run(main)
