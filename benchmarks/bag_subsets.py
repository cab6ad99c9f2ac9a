"""How much does one pass over a recording save against 15, and what is the share of decoding and projection?

    python benchmarks/bag_subsets.py [RECORDING] [--seconds 60]

Renders a drive if no recording is given (600 frames of the camera at 10 Hz in 60 s). The 15 passes are what one does
without `any2seg bag evaluate --subsets all`: one evaluation per subset of the sensors, each with the other topics left
out. Both sides run in this process and give the same table up to the frames that a lone sensor has more or fewer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer

from any2seg_core.bags.evaluate import EvaluateRequest, Evaluation, evaluate_bag
from any2seg_core.bags.opened import open_bag
from any2seg_core.bags.prepared import Passed, prepared_sets
from any2seg_core.drive.bag_writer import write_bag
from any2seg_core.modalities import MODALITIES, all_subsets, subset_letters

CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "drive_b0.safetensors"


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """(wall seconds, CPU seconds of all threads, result)."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s, result


def read_and_project(bag: Path) -> int:
    """Everything before the model, alone; returns the number of sets."""
    with open_bag(bag) as opened:
        return sum(1 for _ in prepared_sets(opened.sets(), Passed((), False), opened.choice.map, 1)) - 1


def fifteen_passes(bag: Path, out: Path) -> dict[str, Evaluation]:
    """One evaluation per subset."""
    results = {}
    for subset in all_subsets():
        absent = tuple(f"{name}=none" for name in MODALITIES if name not in subset)
        request = EvaluateRequest(bag, CHECKPOINT, out, subsets="full", topics=absent)
        results[subset_letters(subset)] = evaluate_bag(request)
    return results


def main(
    recording: Annotated[Path | None, typer.Argument(help="Bag of the simulated drive.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of the drive that is rendered otherwise.")] = 60.0,
) -> None:
    with TemporaryDirectory() as folder:
        bag = recording or write_bag(Path(folder) / "drive", [(seconds, "sunny")], workers=2)
        out = Path(folder) / "out"
        read_and_project(bag)  # compiles the kernels
        prepare_s, prepare_cpu_s, sets = timed(lambda: read_and_project(bag))
        once_s, once_cpu_s, once = timed(lambda: evaluate_bag(EvaluateRequest(bag, CHECKPOINT, out)))
        often_s, often_cpu_s, often = timed(lambda: fifteen_passes(bag, out))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {sets} sets of {bag.name}")
    print(f"15 passes / one pass: {often_s / once_s:.2f} by the clock, {often_cpu_s / once_cpu_s:.2f} in CPU time")
    print(f"one pass: {1e3 * once_s / sets:.0f} ms per set by the clock, {1e3 * once_cpu_s / sets:.0f} ms of CPU")
    print(
        f"decoding and projection alone: {1e3 * prepare_s / sets:.1f} ms per set by the clock, "
        f"{100 * prepare_cpu_s / once_cpu_s:.0f} % of the CPU time of the pass"
    )
    table = once.total()
    for letters, evaluation in often.items():
        mious = [100 * matrix.miou("present") for matrix in (table[letters].matrix, evaluation.total()[letters].matrix)]
        print(f"{letters:>5}  mIoU {mious[0]:5.1f} in one pass, {mious[1]:5.1f} alone")


if __name__ == "__main__":
    typer.run(main)
