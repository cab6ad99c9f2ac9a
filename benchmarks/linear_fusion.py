"""What does Linear Fusion cost against MFF: a training step, one frame, and one frame by all subsets of its sensors?

    OMP_NUM_THREADS=1 python benchmarks/linear_fusion.py [encoder] [size] [device]

Above 1: Linear Fusion is slower. Both models run in turns in this process, the ratio is taken within each turn, printed
are medians. A step is forward, loss and backward of two samples, all sensors present or half of them missing at random;
a frame is one sample in evaluation mode. By all subsets MFF encodes each sensor once, Linear Fusion once per subset.
On a CPU process time is measured, so that other programs on the machine do not count.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch

from any2seg_core.base.turns import in_turns, ratio
from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.subsets import subset_logits
from any2seg_core.losses.branches import branch_loss
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets
from any2seg_training.train import attention_backend

ROUNDS = 5
BATCH, K = 2, 25
MODELS: dict[str, dict[str, Any]] = {"mff": {"fusion": "mff"}, "linear": {"fusion": "linear"},
          "linear, token": {"fusion": "linear", "linear": {"absent": "token"}}}  # fmt: skip
HALF = [[True, False, True, False], [False, True, True, False]]


def jobs(model: Any2Seg, size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """What is timed, by name; each returns when the device is done."""
    names = model.modalities
    images = {name: torch.randn(BATCH, 3, size, size, device=device) for name in names}
    labels = torch.randint(0, K, (BATCH, size, size), device=device)
    frame = {name: image[:1] for name, image in images.items()}
    truth = torch.zeros(1, size, size, dtype=torch.uint8)

    def step(present: torch.Tensor | None) -> None:
        model.train().zero_grad()
        with attention_backend(device):
            prediction = model(images, present)
        branch_loss(CrossEntropy(), prediction, labels).backward()

    @torch.inference_mode()
    def one() -> None:
        model.eval()
        model.decode(model.fuse(model.encode(frame)))

    def every() -> None:
        for _ in subset_logits(model.eval(), EvaluationBatch(frame, truth, (0,)), all_subsets(names)):
            pass

    def finished(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    half = torch.tensor(HALF, device=device)[:, : len(names)]
    works = {"step": lambda: step(None), "step, half missing": lambda: step(half), "frame": one, "all subsets": every}
    return {name: finished(work) for name, work in works.items()}


def main() -> None:
    encoder, size, place = ([*sys.argv[1:], *("mit_b0", "128", "cpu")[len(sys.argv) - 1 :]])[:3]
    device = torch.device(place)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, {place}, {encoder} {size}x{size}, {ROUNDS} turns")
    for names in (("rgb", "depth"), VEHICLE.members):
        torch.manual_seed(0)
        timed = {}
        for title, changes in MODELS.items():
            model = Any2Seg(ModelConfig(encoder=encoder, modalities=names, **changes))
            layout: dict[str, Any] = {"memory_format": torch.channels_last}  # torch's stubs do not know of it
            timed[title] = jobs(model.to(device, **layout), int(size), device)
        print(f"\n{len(names)} sensors")
        for job in timed["mff"]:
            found = in_turns({title: work[job] for title, work in timed.items()}, ROUNDS)
            seconds = {title: each.cpu_s if device.type == "cpu" else each.wall_s for title, each in found.items()}
            line = f"  {job:18} mff {1e3 * statistics.median(seconds['mff']):7.1f} ms"
            for title in list(MODELS)[1:]:
                line += f"   {title} {ratio(seconds[title], seconds['mff']).median:5.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
