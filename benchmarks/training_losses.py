"""What does each term of the objective add to the time of a training step?

    OMP_NUM_THREADS=1 python benchmarks/training_losses.py

MiT-B0, four modalities, forward, loss and backward. All variants run in turns in this process, and the ratio to the
supervised loss alone is taken within each turn; printed are medians. Process time is measured, so that other programs
on the machine do not count. Asked: at most 1.05 for the default estimators of R_p and R_f together, in the model they
were published for (mean of predictions).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from any2seg_core.labels import UNLABELLED
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.modalities import MODALITIES
from any2seg_core.models import Any2Seg, ModelConfig
from training.config import TrainConfig
from training.objective import Objective

ROUNDS = 5
BATCH, SIZE, K = 2, 192, 25
CLICKS = 20  # labelled pixels per image, where labels are sparse

PUBLISHED = {"lambda_p": 0.3, "lambda_f": 0.02}
VARIANTS: dict[str, dict[str, dict]] = {
    "mean_predictions": {
        "R_f": {"lambda_f": 0.02},
        "R_p (logits)": {"lambda_p": 0.3},
        "R_p + R_f": PUBLISHED,
        "R_p (features)": {"lambda_p": 0.3, "fisher": {"wrt": "features"}},
        "R_p (input)": {"lambda_p": 0.3, "fisher": {"wrt": "input"}},
    },
    "mff": {
        "L_cr": {"lambda_cr": 1.0},
        "L_se": {"lambda_se": 1.0},
        "L_cr + L_se": {"lambda_cr": 1.0, "lambda_se": 1.0},
        "R_f": {"lambda_f": 0.02},
        "R_p (logits)": {"lambda_p": 0.3},
    },
    f"mff, {CLICKS} clicks": {
        "AGMM": {"agmm": {"weight": 1.0}},
        "AGMM (unit)": {"agmm": {"weight": 1.0, "sigma": "unit"}},
    },
}


class RandomTeacher:
    """Embeddings of the size of LanguageBind's (D = 768)."""

    class_names = torch.randn(K, 768)

    def rows(self, frames: list[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(len(frames), 768), torch.randn(len(frames), len(MODALITIES), 768)


def stepper(title: str, changes: dict) -> Callable[[], float]:
    """A function that takes one training step and returns its process time in seconds."""
    fusion, _, clicks = title.partition(", ")
    config = TrainConfig(data="none", out="none", fusion=fusion, teacher="none", **changes)
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(num_classes=K, fusion=fusion)).train().to(memory_format=torch.channels_last)
    objective = Objective(CrossEntropy(), config, RandomTeacher())
    images = {name: torch.randn(BATCH, 3, SIZE, SIZE) for name in MODALITIES}
    labels = torch.randint(0, K, (BATCH, SIZE // 8, SIZE // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    if clicks:
        kept = torch.rand(BATCH, SIZE * SIZE).topk(CLICKS).indices  # (B, n)
        sparse = torch.full((BATCH, SIZE * SIZE), UNLABELLED)
        labels = sparse.scatter(1, kept, labels.flatten(1).gather(1, kept)).view(BATCH, SIZE, SIZE)

    def step() -> float:
        start_s = time.process_time()
        with sdpa_kernel(SDPBackend.MATH):
            prediction = model(images)
        loss, _ = objective(model, images, prediction, labels, list(range(BATCH)))
        model.zero_grad()
        loss.backward()
        return time.process_time() - start_s

    return step


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}, {SIZE}x{SIZE}, {ROUNDS} turns")
    for title, variants in VARIANTS.items():
        steps = {name: stepper(title, changes) for name, changes in {"supervised": {}, **variants}.items()}
        for step in steps.values():
            step()
        turns = [{name: step() for name, step in steps.items()} for _ in range(ROUNDS)]
        base_s = statistics.median(turn["supervised"] for turn in turns)
        print(f"\n{title}: supervised alone {base_s:.2f} s")
        for name in variants:
            ratios = [turn[name] / turn["supervised"] for turn in turns]
            print(f"  + {name:15} {statistics.median(ratios):.3f}   (turns {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
