"""What does an encoder in bfloat16 save, for one frame from planes to labels?

    OMP_NUM_THREADS=1 python benchmarks/precision.py [device]

Below 1: bfloat16 is faster. Both predictors run in turns in this process, the ratio is taken within each turn, printed
are the median and the extremes. Four sensors, weights as they come from the seed: the time does not depend on them. On
a CPU process time is measured, so that other programs on the machine do not count.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time

import numpy as np
import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE

ROUNDS = 7
CASES = (("mit_b0", 256), ("mit_b0", 512), ("mit_b2", 512))


def seconds(predictor: Predictor, planes: dict[str, np.ndarray]) -> float:
    """Process time on a CPU, time until the labels are there on a GPU."""
    clock = time.process_time if predictor.device.type == "cpu" else time.perf_counter
    start_s = clock()
    predictor(planes, with_confidence=False)
    return clock() - start_s


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device}, {ROUNDS} turns")
    rng = np.random.default_rng(0)
    for encoder, size in CASES:
        torch.manual_seed(0)
        model, contract = Any2Seg(ModelConfig(encoder=encoder)), InputContract(height=size, width=size)
        planes = {name: rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for name in VEHICLE.members}
        exact = Predictor(copy.deepcopy(model), contract, device)
        reduced = Predictor(model, contract, device, precision="bfloat16")
        for predictor in (exact, reduced):
            predictor.warm_up()
            predictor(planes, with_confidence=False)
        turns = [(seconds(exact, planes), seconds(reduced, planes)) for _ in range(ROUNDS)]
        ratios = sorted(half / full for full, half in turns)
        print(
            f"{encoder} {size}x{size}: float32 {1e3 * statistics.median(full for full, _ in turns):6.1f} ms, bfloat16 "
            f"{statistics.median(ratios):.2f} of it ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
