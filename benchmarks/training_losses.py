"""What does each term of the objective, and each way to learn from few labels, add to the time of a training step?

    OMP_NUM_THREADS=1 python benchmarks/training_losses.py [mff linear ...]

MiT-B0, four modalities, forward, loss and backward. All variants run in turns in this process, and the ratio to the
supervised loss alone is taken within each turn; printed are medians. Process time is measured, so that other programs
on the machine do not count. Asked: at most 1.05 for the default estimators of R_p and R_f together, in the model they
were published for (mean of predictions). Mean teacher and M3L take as many unlabelled samples as labelled ones; with
backward passes counted as two forward ones they cost (3 + 3 + 2) / 3 = 2.7 supervised steps and, with nothing masked,
(3 + 3 + 3 + 2) / 3 = 3.7. Arguments: the models to time; default: all.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from any2seg_core.base.turns import in_turns, ratio
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.vocabulary.labels import NOT_ANNOTATED
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.batches import ModelBatch, SampleKey
from any2seg_training.config import TrainConfig
from any2seg_training.methods import build_method
from any2seg_training.objective import Objective

ROUNDS = 5
BATCH, SIZE, K = 2, 192, 25
CLICKS = 20  # labelled pixels per image, where labels are sparse

PUBLISHED = {"lambda_p": 0.3, "lambda_f": 0.02}
CELLS = {"enlarge": False}  # the loss of subsets at the size of the head
FEW_LABELS = {"mean teacher": {"method": "mean_teacher"}, "M3L": {"method": "m3l"}}
VARIANTS: dict[str, dict[str, dict]] = {
    "mean_predictions": {
        "R_f": {"lambda_f": 0.02},
        "R_p (logits)": {"lambda_p": 0.3},
        "R_p + R_f": PUBLISHED,
        "R_p (features)": {"lambda_p": 0.3, "fisher": {"wrt": "features"}},
        "R_p (input)": {"lambda_p": 0.3, "fisher": {"wrt": "input"}},
    },
    "mff": {
        "L_cr": {"lambda_cr": 1.0, "teacher": "none"},
        "L_se": {"lambda_se": 1.0, "teacher": "none"},
        "L_cr + L_se": {"lambda_cr": 1.0, "lambda_se": 1.0, "teacher": "none"},
        "R_f": {"lambda_f": 0.02},
        "R_p (logits)": {"lambda_p": 0.3},
        **FEW_LABELS,
        **{f"{count} subsets": {"subset_supervision": {"count": count}} for count in (1, 2, 3)},
        **{f"{count} on cells": {"subset_supervision": CELLS | {"count": count}} for count in (1, 2, 3)},
        "3, self, hinge": {
            "subset_supervision": CELLS | {"count": 3},
            "self_distillation": {"weight": 1.0},
            "monotone": {"weight": 1.0},
        },
    },
    "linear": {**FEW_LABELS, "M3L (token)": {"method": "m3l", "linear": {"absent": "token"}}},
    f"mff, {CLICKS} clicks": {
        "AGMM": {"agmm": {"weight": 1.0}},
        "AGMM (unit)": {"agmm": {"weight": 1.0, "sigma": "unit"}},
    },
}


class RandomTeacher:
    """Embeddings of the size of LanguageBind's (D = 768)."""

    class_names = torch.randn(K, 768)

    def rows(self, frames: list[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(len(frames), 768), torch.randn(len(frames), len(VEHICLE.members), 768)


def stepper(title: str, changes: dict) -> Callable[[], None]:
    """A function that takes one training step."""
    fusion, _, clicks = title.partition(", ")
    config = TrainConfig(data="none", out="none", fusion=fusion, modality_dropout=1.0, **changes)
    torch.manual_seed(0)
    shape = ModelConfig(num_classes=K, fusion=fusion, linear=config.linear)
    layout: dict[str, Any] = {"memory_format": torch.channels_last}  # torch's stubs do not know of it
    model = Any2Seg(shape).train().to(**layout)
    teacher: Any = RandomTeacher()
    objective = Objective(CrossEntropy(), config, teacher)
    method = build_method(config, VEHICLE, model)
    unlabelled = 0 if config.method == "supervised" else BATCH
    images = {name: torch.randn(BATCH + unlabelled, 3, SIZE, SIZE) for name in VEHICLE.members}
    available = torch.ones(BATCH + unlabelled, len(VEHICLE.members), dtype=torch.bool)
    numbers = itertools.count()
    labels = torch.randint(0, K, (BATCH, SIZE // 8, SIZE // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    if clicks:
        kept = torch.rand(BATCH, SIZE * SIZE).topk(CLICKS).indices  # (B, n)
        sparse = torch.full((BATCH, SIZE * SIZE), NOT_ANNOTATED)
        labels = sparse.scatter(1, kept, labels.flatten(1).gather(1, kept)).view(BATCH, SIZE, SIZE)

    labels = torch.cat([labels, torch.full((unlabelled, SIZE, SIZE), NOT_ANNOTATED)])

    def step() -> None:
        number = next(numbers)  # other samples, other masks
        keys = [SampleKey(0, number * BATCH + n, n) for n in range(BATCH)]
        keys += [SampleKey(1, number * BATCH + n, n) for n in range(unlabelled)]
        with sdpa_kernel(SDPBackend.MATH):
            student = method.student_batch(ModelBatch(images, labels, available, keys), number)
            prediction = model(student.images, student.present, student.subsets)
        loss, _ = method.loss(objective, model, student, prediction)
        model.zero_grad()
        loss.backward()
        method.after_step(model, number)

    return step


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}, {SIZE}x{SIZE}, {ROUNDS} turns")
    for title in sys.argv[1:] or VARIANTS:
        variants = VARIANTS[title]
        steps = {name: stepper(title, changes) for name, changes in {"supervised": {}, **variants}.items()}
        found = in_turns(steps, ROUNDS)
        alone = found["supervised"]
        print(f"\n{title}: supervised alone {statistics.median(alone.cpu_s):.2f} s")
        for name in variants:
            print(f"  + {name:15} {ratio(found[name].cpu_s, alone.cpu_s)}")


if __name__ == "__main__":
    main()
