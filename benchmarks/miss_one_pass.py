"""How much does one encoding for all sensor subsets save against one pass per subset?

    OMP_NUM_THREADS=1 python benchmarks/miss_one_pass.py [encoder] [size] [rounds]  # default: mit_b2 512 3

Both sides are `evaluate_subsets`, from images to confusion matrices (encode, fuse, decode, upsample, softmax, maximum,
count): once with all 15 subsets, and 15 times with one subset and the images of its sensors alone. They run in turns in
this process, with the same kernels. Prints one line per protocol: drop (absent sensors are not encoded) and zero (each
separate pass encodes zeros for them), the ratio 15 passes / one pass (above 1: one pass is faster) by the clock and in
processor time as median and range over the rounds, and how many of the labels differ. Random weights: the time does not
depend on them.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial

import numpy as np
import torch

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.turns import in_turns, ratio
from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.subsets import FILL_INS, evaluate_subsets
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets

Table = dict[str, ConfusionMatrix]


def separate(model: Any2Seg, batch: EvaluationBatch, protocol: str) -> Table:
    """The table from one pass per subset."""
    table = {}
    for subset in all_subsets():
        if protocol == "drop":
            images = {name: batch.images[name] for name in subset}
        else:
            images = {name: x if name in subset else torch.zeros_like(x) for name, x in batch.images.items()}
        found = evaluate_subsets(model, [batch._replace(images=images)], DELIVER, [tuple(images)])
        table[VEHICLE.subset_letters(subset)] = found[VEHICLE.subset_letters(tuple(images))]
    return table


def one_pass(model: Any2Seg, batch: EvaluationBatch, protocol: str) -> Table:
    """The same from one encoding of each sensor, as `any2seg evaluate` computes it."""
    return evaluate_subsets(model, [batch], DELIVER, all_subsets(), FILL_INS[protocol])


def random_model(encoder: str) -> Any2Seg:
    """Modalities of unlike norms, so that MFF of two of them is no tie."""
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(encoder=encoder)).eval()
    for stage in model.encoder.stages:
        torch.nn.init.uniform_(stage.norm.weight, 0.2, 2.0)
        torch.nn.init.normal_(stage.norm.bias)
    return model


def main() -> None:
    encoder, size, rounds = ([*sys.argv[1:], *("mit_b2", "512", "3")[len(sys.argv) - 1 :]])[:3]
    keep_freed_memory()  # as the command does
    model, side = random_model(encoder), int(size)
    images = {name: torch.randn(1, 3, side, side) for name in VEHICLE.members}
    batch = EvaluationBatch(images, torch.randint(0, 25, (1, side, side), dtype=torch.uint8), (0,))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {encoder} {size}x{size}, {rounds} rounds")
    for protocol in FILL_INS:
        works = {"many": partial(separate, model, batch, protocol), "one": partial(one_pass, model, batch, protocol)}
        many, one = (work() for work in works.values())  # also compiles the kernels
        moved = sum(np.abs(one[name].counts - many[name].counts).sum() // 2 for name in many)
        often, once = in_turns(works, int(rounds), 0).values()
        print(
            f"{protocol}: 15 passes / one pass: {ratio(often.wall_s, once.wall_s)} by the clock, "
            f"{ratio(often.cpu_s, once.cpu_s)} in processor time; one pass takes {statistics.median(once.wall_s):.2f} "
            f"s per frame; labels counted otherwise: {moved} of {15 * side**2}"
        )


if __name__ == "__main__":
    main()
