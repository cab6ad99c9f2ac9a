"""Config -> a training run, ready to step."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from any2seg_core.base.errors import UserError
from any2seg_core.base.finite import unusable_tensor
from any2seg_core.base.progress import track
from any2seg_core.data.samples import Cache, FrameDataset
from any2seg_core.evaluation.subsets import PriorStatistics
from any2seg_core.losses.segmentation import CrossEntropy, OhemCrossEntropy
from any2seg_core.models import Any2Seg, LinearFusionConfig, MFFConfig, MFFEarlyConfig, ModelConfig
from any2seg_core.models.mff import MFF
from any2seg_core.models.pretrained import load_encoder_weights
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.teachers.cached import CachedEmbeddings
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.subsets import parse_subset, subsets_with_all
from any2seg_training.batch_norm import freeze_batch_norm, with_global_batch_norm
from any2seg_training.config import TrainConfig
from any2seg_training.distil import Distillation, open_lessons
from any2seg_training.few_labels import FramePool, split_frames
from any2seg_training.methods import Supervised, build_method
from any2seg_training.objective import Objective
from any2seg_training.origin import data_recipe, shown_command
from any2seg_training.processes import Processes
from any2seg_training.splits import open_split
from any2seg_training.state import MovingAverage, load_state, require_same_run, run_facts, save_state

_PLACES: dict[str, Any] = dict.fromkeys(("out", "init", "teacher", "pretrained", "suite"), True)
_PLACES["distil"] = {"teachers", "map"}
_DATA_PLACES = dict.fromkeys(("root", "further", "labelled", "unlabelled", "pseudo"), True) | {
    "bag": {"rules", "calibration", "params", "planes"}
}
"""Settings that name places of one machine, and those of them in the group data."""


def build_model(config: TrainConfig, contract: InputContract) -> Any2Seg:
    """A new model, with the weights of ``config.init`` if that is set."""
    shape = ModelConfig(
        encoder=config.encoder,
        head=config.head,
        head_width=config.head_width,
        num_classes=contract.num_classes,
        modalities=contract.modalities,
        fusion=config.fusion,
        mff=config.mff,
        mff_early=config.mff_early,
        linear=config.linear,
        layer_norm_eps=config.layer_norm_eps,
        content_masks=config.content_masks,
        align_corners=config.align_corners,
    )
    model = Any2Seg(shape, config.drop_path, contract.empty_pixels)
    if config.pretrained is not None:
        load_encoder_weights(model.encoder, config.encoder, config.pretrained)
    if config.init is not None:
        start, first, _ = load_checkpoint(config.init)
        if apart := first.label_space.told_apart(contract.label_space):
            raise UserError(
                f"{config.init} was trained on labels {apart[0]}, {config.data.root} has {apart[1]}: start from a "
                "checkpoint of the same data set, or leave init out",
                "label-space-mismatch",
            )
        if _parameters_of(start.config) != _parameters_of(shape):
            raise UserError(
                f"{config.init} holds a model {start.config}, this run trains {shape}: make them agree",
                "checkpoint-mismatch",
            )
        fresh = model.state_dict()  # where only this model learns tokens for absent modalities, they start at random
        model.load_state_dict(fresh | {name: value for name, value in start.state_dict().items() if name in fresh})
    return model


def _parameters_of(shape: ModelConfig) -> ModelConfig:
    """The same but for what stands for an absent modality, for masks, and for the form of MFF; gates begin at 0.

    Modalities that share all parameters do not matter.
    """
    linear = shape.linear.model_copy(update={"absent": LinearFusionConfig().absent})
    plain = shape.model_copy(update={"linear": linear, "content_masks": False})
    if shape.fusion in ("mff", "mff_early", "mff_gated", "mean_predictions"):
        plain = plain.model_copy(update={"modalities": ()})
    if shape.fusion not in ("mff", "mff_early", "mff_gated"):
        return plain
    return plain.model_copy(update={"fusion": "mff", "mff": MFFConfig(), "mff_early": MFFEarlyConfig()})


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, without weight decay on biases and norms."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def build_loss(config: TrainConfig, class_pixels: np.ndarray) -> CrossEntropy | OhemCrossEntropy:
    """Cross entropy or OHEM; ``class_pixels`` (K,) are the training pixels of each class."""
    weights = None
    if config.class_weight_power > 0:
        weights = class_weights(class_pixels, config.class_weight_power, config.class_weight_limit)
    return CrossEntropy(weights) if config.loss == "ce" else OhemCrossEntropy(config.ohem_threshold, weights)


def read_teacher(config: TrainConfig, frames: FrameDataset) -> CachedEmbeddings | None:
    """Embeddings of the training frames if a term needs them; UserError if they do not fit the data."""
    if not (config.lambda_cr or config.lambda_se):
        return None
    assert config.teacher is not None  # TrainConfig asks for it
    names = [frame.name for frame in frames.frames]
    classes = frames.label_space.classes
    return CachedEmbeddings(config.teacher, frames.split, classes, frames.modalities, names, config.lambda_cr > 0)


def class_weights(class_pixels: np.ndarray, power: float, limit: float) -> torch.Tensor:
    """(K,) pixel counts -> (K,) float32 weights ~ frequency ** -power with a mean of 1 over all pixels.

    No weight is more than ``limit`` times the smallest; a class without any pixel gets the largest.
    """
    share = class_pixels / class_pixels.sum()
    seen = share > 0
    raw = np.full(share.shape, np.inf)
    raw[seen] = share[seen] ** -power
    raw = np.minimum(raw, raw.min() * limit)
    return torch.from_numpy(raw / (raw * share).sum()).float()


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Rate of step number ``step``: linear warm-up over steps, then poly decay over the progress 0..1 of the run."""
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    return config.lr * warm * max(0.0, 1.0 - progress) ** config.poly_power


def provenance(config: TrainConfig, run: Run) -> dict[str, Any]:
    """How a checkpoint came to be; the results are added at the end."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "command": shown_command(sys.argv[1:]),
        "seed": config.seed,
        "config": config.model_dump(mode="json", exclude={"data": _DATA_PLACES} | _PLACES),
        **run.method.origin,
        "data": data_recipe(config.data.root),
        "dataset": run.train_frames.kind,
        "train_frames": len(run.train_frames),
        "unlabelled_frames": {} if run.unlabelled is None else run.unlabelled.counts(),
        "git_commit": commit.stdout.strip() or "unknown",
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


@dataclass
class Run:
    """A training run between two steps.

    Attributes:
        config, world_size: settings, and the number of processes that share it.
        contract: what the finished model will be fed. subsets: of its sensors, that evaluations judge.
        train_frames, val_frames: data with labels.
        unlabelled: training frames without; None: the method takes none, or there are none.
        prior: label statistics of the training frames.
        model, average: what is trained, and the moving average of its weights that is judged and shipped.
        method: what a step learns from; it may have a teacher.
        step: optimiser steps done.
        best: best mean over the subsets so far, 0..1; -1 before the first evaluation.
        began_s, began_processor_s: monotonic and processor time at which it would have begun without interruption.
    """

    config: TrainConfig
    world_size: int
    contract: InputContract
    subsets: list[tuple[str, ...]]
    train_frames: FrameDataset
    val_frames: FrameDataset
    unlabelled: FramePool | None
    prior: PriorStatistics
    model: Any2Seg
    average: MovingAverage[Any2Seg]
    method: Supervised
    objective: Objective
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int
    best: float
    began_s: float
    began_processor_s: float

    @property
    def parts(self) -> list[FrameDataset | FramePool]:
        """What the parts of a batch are drawn from."""
        return [self.train_frames] if self.unlabelled is None else [self.train_frames, self.unlabelled]

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the run, as its state keeps it."""
        return run_facts(self.config, self.world_size, self.parts, self.contract.suite) | self.method.facts

    @property
    def minutes(self) -> float:
        """Time used so far, interruptions not counted."""
        return (time.monotonic() - self.began_s) / 60.0

    @property
    def processor_minutes(self) -> float:
        """Time of this process and its threads on processors so far; workers that augment are apart."""
        return (time.process_time() - self.began_processor_s) / 60.0

    @property
    def spent(self) -> dict[str, float]:
        """Both, as checkpoints and the log tell them."""
        return {"minutes": round(self.minutes, 2), "processor_minutes": round(self.processor_minutes, 3)}

    def save(self, path: Path) -> None:
        """Write all that ``resume`` needs. Random numbers need no state: they follow from the seed and the step."""
        state = {"model": self.model.state_dict(), "average": self.average.model.state_dict(), "best": self.best}
        state |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        state |= {"step": self.step, "run": self.facts}
        state |= {"minutes": self.minutes, "processor_minutes": self.processor_minutes}
        if self.method.teacher is not None:
            state["teacher"] = self.method.teacher.model.state_dict()
        save_state(path, state)

    def restore(self, path: Path) -> None:
        """Go back to what ``save`` wrote; UserError when that was another run, which names the setting that differs."""
        state = load_state(path)
        if not isinstance(state, dict) or "run" not in state:
            raise UserError(
                f"{path}: does not say with which settings it was trained; start anew without resume=true",
                "resume-format",
            )
        require_same_run(path, state["run"], self.facts)
        try:
            self.model.load_state_dict(state["model"])
            self.average.model.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.method.teacher is not None:
                self.method.teacher.model.load_state_dict(state["teacher"])
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(state["scaler"])
            self.step, self.best = state["step"], state["best"]
            self.began_s = time.monotonic() - 60.0 * state["minutes"]
            self.began_processor_s = time.process_time() - 60.0 * state.get("processor_minutes", 0.0)  # older: unknown
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[:2][-1].strip()  # torch heads a list of all
            raise UserError(
                f"{path}: state of another model ({reason}); start anew without resume=true", "resume-mismatch"
            ) from None
        for part in ("model", "average"):
            if problem := unusable_tensor(state[part]):
                raise UserError(
                    f"{path}: {part}: tensor {problem}; start anew, with init=<an earlier checkpoint>", "not-finite"
                )


def outline(run: Run) -> str:
    """One line for people, before the first step: data, model, method, and where a resumed run goes on."""
    labelled = f"{len(run.train_frames)} {'labelled frames' if run.train_frames.labelled else 'frames, no labels'}"
    if run.config.data.sparse is not None:
        labelled += f" ({run.config.data.sparse.kind})"
    if run.unlabelled is not None:
        places = ", ".join(f"{name} {count}" for name, count in run.unlabelled.counts().items())
        labelled += f" and {len(run.unlabelled)} without labels ({places})"
    millions = sum(each.numel() for each in run.model.parameters()) / 1e6
    sensors, config = run.contract.suite.subset_letters(run.contract.modalities), run.config
    text = f"{labelled}, {len(run.val_frames)} val; {sensors} to {run.contract.num_classes} classes; "
    text += f"{config.method}, {config.fusion}, {config.encoder}, {millions:.2f} M parameters"
    return text + (f"; goes on after step {run.step}" if run.step else "")


def build_contract(config: TrainConfig, frames: FrameDataset) -> InputContract:
    """What the finished model will be fed, as the data set has it."""
    if unknown := [name for name in config.mff_early.scale if name not in frames.modalities]:
        raise UserError(
            f"mff_early.scale names {', '.join(unknown)}, this run trains on {', '.join(frames.modalities)}: leave "
            "out what is not there",
            "sensor-absent",
        )
    return InputContract(
        suite=frames.suite,
        modalities=frames.modalities,
        height=config.height,
        width=config.width,
        scale=config.mff_early.scale,
        normalisation=frames.normalisation,
        encodings=frames.encodings,
        event_window_ns=frames.event_window_ns,
        label_space=frames.label_space,
    )


def require_subsets(config: TrainConfig, contract: InputContract) -> None:
    """UserError where subsets are to be supervised and the sensors have none, or not those that are named."""
    if not config.subset_supervision.count:
        return
    if len(contract.modalities) < 2:
        raise UserError(
            f"subset_supervision: {contract.modalities[0]} has no subsets; leave it out, or train on more sensors",
            "sensor-none",
        )
    for letters in config.subset_supervision.weights:
        parse_subset(letters, contract.suite, contract.modalities)


def label_statistics(config: TrainConfig, frames: FrameDataset, processes: Processes) -> PriorStatistics:
    """Where each class lies in the labels of the training frames; UserError where no pixel has one."""
    prior = PriorStatistics(len(frames.label_space))
    labels_of_frames = frames.readable_labels()  # also finds out of range ids before the first step
    for labels in track(labels_of_frames, "count the classes", len(frames), processes.is_main):
        prior.update(labels)
    if prior.counts is None or not prior.counts.any():
        raise UserError(
            f"{config.data.root}: no labelled pixel in {len(frames)} train frames: nothing to learn", "data-unlabelled"
        )
    return prior


def taught_weights(config: TrainConfig, taught: PriorStatistics, processes: Processes) -> torch.Tensor | None:
    """(K,) weights of the classes by the counts of what teachers say; None: all alike."""
    if not config.class_weight_power:
        return None
    weights = class_weights(taught.class_pixels(), config.class_weight_power, config.class_weight_limit)
    return weights.to(processes.device)


def build_run(config: TrainConfig, processes: Processes) -> Run:
    """Read the data and make model, loss and optimiser; the same first weights in every process."""
    torch.manual_seed(config.seed)
    undecoded: Cache = "disk" if config.cache == "disk" else "none"
    all_frames = open_split(config, "train", undecoded if config.data.has_few_labels else config.cache)
    train_frames, unlabelled = split_frames(config, all_frames)
    val_frames = open_split(config, "val", undecoded)
    contract = build_contract(config, train_frames)
    lessons, taught = None, None
    if config.method == "distil":
        lessons = open_lessons(config.distil, contract, train_frames.labelled, processes.device)
        contract, val_frames = lessons.contract, lessons.judged(val_frames)
        taught = lessons.survey(unlabelled or train_frames, processes.is_main)
    require_subsets(config, contract)
    prior = taught if taught and not train_frames.labelled else label_statistics(config, train_frames, processes)
    teacher = read_teacher(config, train_frames)
    model = build_model(config, contract)
    if config.freeze_norm:
        freeze_batch_norm(model)
    elif config.sync_batch_norm and processes.world_size > 1:
        model = with_global_batch_norm(model)
    layout: dict[str, Any] = {"memory_format": torch.channels_last}  # torch's stubs do not know of it
    model = model.to(processes.device, **layout)
    run = Run(
        config,
        processes.world_size,
        contract,
        subsets_with_all(config.eval_subsets, contract.suite, contract.modalities),
        train_frames,
        val_frames,
        unlabelled,
        prior,
        model,
        average=MovingAverage(model, config.ema_decay),
        objective=Objective(
            build_loss(config, prior.class_pixels()), config, teacher, processes.in_loss, contract.suite
        ).to(processes.device),
        method=build_method(config, contract.suite, model) if lessons is None or taught is None else Distillation(
            config, contract.suite, lessons, taught_weights(config, taught, processes), train_frames.labelled
        ),
        optimizer=build_optimizer(config, model),
        scaler=torch.amp.GradScaler(processes.device.type, enabled=config.fp16),
        step=0,
        best=-1.0,
        began_s=time.monotonic(),
        began_processor_s=time.process_time(),
    )
    if config.resume:
        run.restore(config.out / "last.pt")
    if config.compile_fusion:
        for each in (model,) if run.method.teacher is None else (model, run.method.teacher.model):
            for part in each.fusion.modules():
                if isinstance(part, MFF):  # the other fusions are a sum
                    part.compile(dynamic=False)  # its shapes do not depend on which modalities are present
    return run
