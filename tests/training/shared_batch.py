"""A program: one batch of four samples in one process, or in two that hold two each; writes what they end up with.

    python shared_batch.py RANK WORLD_SIZE MEETING_FILE OUT

Everything that is drawn at random is out of the way; what is left must not depend on the number of processes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from any2seg_core.losses.distillation import SoftTargets
from any2seg_core.losses.pooling import labels_of_cells
from any2seg_core.losses.segmentation import CrossEntropy, OhemCrossEntropy
from any2seg_core.models import Any2Seg, FusionName, ModelConfig
from any2seg_core.teachers.cached import CachedEmbeddings, write_embeddings
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.batch_norm import with_global_batch_norm
from any2seg_training.batches import ModelBatch, SampleKey
from any2seg_training.build import build_optimizer
from any2seg_training.config import TrainConfig
from any2seg_training.distil import Distillation
from any2seg_training.methods import build_method
from any2seg_training.objective import Objective
from any2seg_training.processes import Processes
from any2seg_training.train import attention_backend

EXACT = {"sigma": 0, "locations": None}
LSCD = {"teacher": "t", "lambda_cr": 1, "lambda_se": 1, "lscd_temperature": 0.1}
EARLY = {"fusion": "mff_early", "mff_early": {"scale": {"depth": 0.5, "lidar": 0.5}}}
SUBSETS = {
    "subset_supervision": {"count": 3, "enlarge": False},
    "self_distillation": {"weight": 0.5},
    "monotone": {"weight": 0.5},
}
MIXED = [[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 0]]
ALONE_IN_THE_SECOND = [[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]
"""Which sensors each sample has; in the second case R_p and R_f have nothing to compare in the second process."""

CASES = {
    "ce": {},
    "ce class weights": {"class_weight_power": 0.5},
    "ohem": {"loss": "ohem"},
    **{name: {"fusion": name} for name in get_args(FusionName)},
    "linear": {"fusion": "linear"},
    "linear, token": {"fusion": "linear", "linear": {"absent": "token"}},
    "l_cr + l_se": LSCD,
    "mff_early": EARLY,
    "l_cr + l_se, mff_early": {**LSCD, **EARLY, "lscd_level": 2},
    "r_p logits + r_f, mff_early": {**EARLY, "lambda_p": 0.3, "lambda_f": 0.02, "fisher": EXACT},
    "r_p features, mff_early": {**EARLY, "lambda_p": 0.3, "fisher": EXACT | {"wrt": "features"}},
    "m3l, mff_early": {**EARLY, "method": "m3l"},
    "r_p logits, means": {"fusion": "mean_predictions", "lambda_p": 0.3, "fisher": EXACT},
    "r_p logits, mff": {"lambda_p": 0.3, "fisher": EXACT},
    "r_p features": {"lambda_p": 0.3, "fisher": EXACT | {"wrt": "features"}},
    "r_p input": {"lambda_p": 0.3, "fisher": EXACT | {"wrt": "input"}},
    "r_f": {"lambda_f": 0.02, "fisher": EXACT},
    "r_p + r_f, one process has no pairs": {"lambda_p": 0.3, "lambda_f": 0.02, "fisher": EXACT},
    "agmm": {"agmm": {"weight": 1, "l_cls": True}},
    "subsets": {"subset_supervision": {"count": 3, "weights": {"R": 2, "DL": 0.5}}, "class_weight_power": 0.5},
    "subsets, ohem": {"subset_supervision": {"count": 2}, "loss": "ohem"},
    "subsets, means": {"subset_supervision": {"count": 2, "enlarge": False}, "fusion": "mean_predictions"},
    "subsets, all terms": SUBSETS,
    "subsets, mff_early": {**EARLY, **SUBSETS},
    "everything": {
        **LSCD, "class_weight_power": 0.5, "lambda_p": 0.3, "lambda_f": 0.02, "fisher": EXACT,
    },
    "mean teacher": {"method": "mean_teacher"},
    "mean teacher, subsets": {"method": "mean_teacher", **SUBSETS},
    "m3l": {"method": "m3l"},
    "m3l, labels as released": {"method": "m3l", "m3l": {"labels": "released", "masking": "uniform_subsets"}},
    "m3l, linear, token": {"method": "m3l", "fusion": "linear", "linear": {"absent": "token"}},
    "distil": {"method": "distil", "distil": {"teachers": "t"}},
    "distil, subsets and the camera": {
        "method": "distil", "distil": {"teachers": "t", "keep": 2.0, "temperature": 2.0},
        "subset_supervision": {"count": 2, "enlarge": False},
    },
}  # fmt: skip
"""Name -> settings."""

TAUGHT = tuple(case for case, changes in CASES.items() if "method" in changes)
"""Cases with a teacher: the last two samples have no labels. In float64, as in float32 a rounding turns labels."""

PER_PROCESS = ("ohem", "subsets, ohem")
"""Cases in which each process mines its own batch: the gradient is the mean of theirs, with BatchNorm of its own."""


def settings(case: str) -> TrainConfig:
    changes = {"data": "d", "out": "o", "head_width": 16} | CASES[case]
    return TrainConfig(**changes)


def make_teacher(folder: Path) -> CachedEmbeddings:
    rng = np.random.default_rng(0)
    names = ["a", "b", "c", "d"]
    write_embeddings(folder / "classes.safetensors", {"class_names": rng.normal(size=(7, 5))}, {})
    arrays = {"scene": rng.normal(size=(4, 5)), "modality": rng.normal(size=(4, 4, 5))}
    write_embeddings(folder / "train.safetensors", arrays, {"frames": names, "modalities": VEHICLE.members})
    return CachedEmbeddings(folder, "train", [str(k) for k in range(7)], VEHICLE.members, names, True)


class Lessons:
    """A teacher of the camera whose word depends on the pictures; how much counts differs from sample to sample."""

    teachers = SimpleNamespace(teachers=[SimpleNamespace(sensors=("rgb",))])
    contract = SimpleNamespace(modalities=VEHICLE.members)

    def of_batch(self, images: dict[str, torch.Tensor], _available, labels: torch.Tensor, *_: object) -> SoftTargets:
        pooled = F.avg_pool2d(images["rgb"], 4)  # (N, 3, h, w)
        said = torch.cat([pooled, -2 * pooled, pooled[:, :1] ** 2], dim=1).softmax(dim=1)  # (N, 7, h, w)
        weight = (labels_of_cells(labels, *said.shape[2:]) != 255) * (0.1 + pooled.abs().mean(dim=1))
        return SoftTargets(said, weight)


def make_batch(case: str, scale: dict[str, float]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Images and labels; the samples have very different numbers of labelled pixels, one of them none."""
    generator = torch.Generator().manual_seed(1)
    sizes = {name: [round(scale.get(name, 1.0) * side) for side in (64, 128)] for name in VEHICLE.members}
    images = {name: torch.randn(4, 3, *size, generator=generator) for name, size in sizes.items()}
    labels = torch.randint(0, 7, (4, 64, 128), generator=generator)
    labels[0, 5:], labels[1] = 255, 255
    labels[2, :, 50:] = 254
    if case in TAUGHT:
        labels[2:, :, :70], labels[2:, :, 70:] = 254, 255
    return images, labels


def make_keys(case: str, rows: list[int]) -> list[SampleKey]:
    if case not in TAUGHT:
        return [SampleKey(0, row, row) for row in rows]
    return [SampleKey(row // 2, row % 2, row) for row in rows]  # labelled 0, 1; unlabelled 2, 3


def share(case: str, rank: int, world_size: int) -> list[int]:
    """Samples of a process: with a teacher as many labelled as unlabelled ones."""
    rows = [0, 2, 1, 3] if case in TAUGHT and world_size > 1 else [0, 1, 2, 3]
    count = 4 // world_size
    return rows[rank * count : (rank + 1) * count]


def run(
    case: str, processes: Processes, rows: list[int], teacher: CachedEmbeddings, half: torch.dtype | None = None
) -> dict[str, np.ndarray]:
    """Gradients and BatchNorm statistics of one step with these samples, in half precision where that is given."""
    precision = torch.float64 if case in TAUGHT and half is None else torch.float32
    config = settings(case)
    torch.manual_seed(0)
    parts = {"linear": config.linear, "mff_early": config.mff_early}
    shape = ModelConfig(head_width=16, num_classes=7, fusion=config.fusion, **parts)
    model = Any2Seg(shape).train()
    model.head.dropout.p = 0.0
    if case not in PER_PROCESS and processes.world_size > 1:
        model = with_global_batch_norm(model)
    model = model.to(precision)
    weights = None
    if config.class_weight_power:
        weights = torch.linspace(0.2, 3.0, 7)
    supervised = CrossEntropy(weights) if config.loss == "ce" else OhemCrossEntropy(config.ohem_threshold)
    objective = Objective(supervised, config, teacher, processes.in_loss)
    if config.method == "distil":
        method = Distillation(config, VEHICLE, Lessons(), None, has_truth=True)
    else:
        method = build_method(config, VEHICLE, model)
    images, labels = make_batch(case, config.mff_early.scale)
    images = {name: image[rows].to(precision) for name, image in images.items()}
    available = torch.tensor(ALONE_IN_THE_SECOND if "no pairs" in case else MIXED, dtype=torch.bool)[rows]
    build_optimizer(config, model).zero_grad()
    parallel = processes.parallel(model)  # kept: without it nobody averages the gradients
    with torch.autocast("cpu", half, enabled=half is not None), attention_backend(processes.device):
        student = method.student_batch(ModelBatch(images, labels[rows], available, make_keys(case, rows)), step=0)
        prediction = parallel(student.images, student.present, student.subsets)
    loss, _ = method.loss(objective, model, student, prediction)
    (64.0 * loss).backward()  # scaled, as float16 needs it
    found = {name: value.grad.numpy() / 64.0 for name, value in model.named_parameters()}
    return found | {name: value.numpy() for name, value in model.named_buffers() if "running" in name}


def main(rank: int, world_size: int, meeting: Path, out: Path) -> None:
    torch.set_num_threads(1)
    processes = Processes(rank, world_size, torch.device("cpu"))
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)
    teacher = make_teacher(out / f"teacher{rank}")
    for number, case in enumerate(CASES):
        if case in PER_PROCESS and world_size == 1:
            halves = [run(case, processes, rows, teacher) for rows in ([0, 1], [2, 3])]
            found = {name: (value + halves[1][name]) / 2 for name, value in halves[0].items()}
        else:
            found = run(case, processes, share(case, rank, world_size), teacher)
        if rank == 0:
            np.savez(out / f"{number}.npz", **found)
    processes.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
