"""What the light model costs and what it scores, beside the full one: every subset of the sensors, both precisions.

    OMP_NUM_THREADS=1 python benchmarks/light_model.py data/drive [frames] [turns] [plot.svg]  # default: 240 15

Time is processor time from planes to labels of one frame, all models and subsets in turns in this process, as a share
of the full model with all sensors in float32; mIoU is that of `any2seg evaluate` (split val, protocol drop), evenly
spread frames. Prints a table, and draws the mean over the subsets of one, two, three and four sensors.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.turns import in_turns, ratio
from any2seg_core.data.catalogue import layout
from any2seg_core.data.samples import FrameDataset
from any2seg_core.evaluation.batches import evaluation_batches, spread
from any2seg_core.evaluation.subsets import evaluate_subsets
from any2seg_core.models.precision import settled_precision, with_precision
from any2seg_core.reports.curves import curves, standalone
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets

CHECKPOINTS = {"full": default_checkpoint(), "light": default_checkpoint().with_name("drive_b0_light.safetensors")}
VARIANTS = [(name, precision) for precision in ("float32", "bfloat16") for name in CHECKPOINTS]
SUBSETS = [tuple(subset) for subset in all_subsets()]


def scores(frames: FrameDataset, count: int, name: str, precision: str) -> list[float]:
    """mIoU in percent of every subset."""
    model, contract, _ = load_checkpoint(CHECKPOINTS[name])
    settled = settled_precision(model, precision, (contract.height, contract.width))
    batches = evaluation_batches(frames, spread(len(frames), count), contract, torch.device("cpu"))
    table = evaluate_subsets(with_precision(model, settled, contract.width), batches, contract.label_space, SUBSETS)
    return [100.0 * table[VEHICLE.subset_letters(subset)].miou() for subset in SUBSETS]


def shares(planes: dict[str, np.ndarray], turns: int) -> dict[tuple[str, str], list[float]]:
    """Per variant the time of every subset, median of its ratios to all sensors of the full model."""
    works: dict[str, Callable[[], object]] = {}
    for name, precision in VARIANTS:
        predictor = Predictor.load(CHECKPOINTS[name], precision=precision)
        for subset in SUBSETS:
            given = {sensor: planes[sensor] for sensor in subset}
            works[f"{name} {precision} {subset}"] = partial(predictor, given, with_confidence=False)
    times = in_turns(works, turns, warm_up=2)
    whole = times[f"full float32 {SUBSETS[-1]}"].cpu_s
    return {
        (name, precision): [
            ratio(times[f"{name} {precision} {subset}"].cpu_s, whole).median for subset in SUBSETS
        ]
        for name, precision in VARIANTS
    }  # fmt: skip


def by_number(values: list[float]) -> list[float]:
    """Mean over the subsets of one, two, ... sensors."""
    counts = range(1, len(SUBSETS[-1]) + 1)
    return [statistics.mean(v for v, subset in zip(values, SUBSETS, strict=True) if len(subset) == n) for n in counts]


def main(root: str, count: int, turns: int, plot: str) -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    frames = layout("auto", Path(root), suite=None).open("val", None, None, cache="none", skip_corrupt=False)
    sample = frames.readable(spread(len(frames), 3)[1])
    assert sample is not None, "the frame of the times cannot be read"
    time_shares = shares(sample.planes, turns)
    miou = {variant: scores(frames, count, *variant) for variant in VARIANTS}
    print("| sensors | " + " | ".join(f"{name} {precision}: time | mIoU" for name, precision in VARIANTS) + " |")
    print("| --- |" + " ---: |" * 2 * len(VARIANTS))
    for number, subset in enumerate(SUBSETS):
        cells = [f"{time_shares[variant][number]:.2f} | {miou[variant][number]:.1f}" for variant in VARIANTS]
        print(f"| {VEHICLE.subset_letters(subset)} | " + " | ".join(cells) + " |")
    means = [f"{statistics.mean(time_shares[each]):.2f} | {statistics.mean(miou[each]):.1f}" for each in VARIANTS]
    print("| mean | " + " | ".join(means) + " |")
    if plot:
        lines = {
            " ".join(variant): list(zip(by_number(time_shares[variant]), by_number(miou[variant]), strict=True))
            for variant in VARIANTS
        }
        drawn = curves(lines, "time, share of the full model with four sensors in float32", "mIoU %")
        Path(plot).write_text(standalone(drawn), encoding="utf-8")


if __name__ == "__main__":
    root, count, turns, plot = [*sys.argv[1:], *["240", "15", ""][len(sys.argv) - 2 :]]
    main(root, int(count), int(turns), plot)
