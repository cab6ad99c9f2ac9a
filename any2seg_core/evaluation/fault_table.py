"""What single sensors' faults cost: mIoU per kind of fault and severity, relative to the same model without a fault.

A fault changes the plane of one sensor of each frame, all others stay as they are; what is drawn depends on the seed,
the frame, the sensor and the fault, so that several checkpoints see the same. The two noise protocols of the field (RMM
and NM, arXiv 2503.18445) stand beside it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from any2seg_core.base.errors import UserError
from any2seg_core.data.samples import Sample
from any2seg_core.evaluation.dataset import EvaluationTarget, damage_benchmark
from any2seg_core.evaluation.metrics import ConfusionMatrix, as_array
from any2seg_core.evaluation.noise import NOISE_LEVELS
from any2seg_core.evaluation.robustness import MISSING_RATES
from any2seg_core.evaluation.scores import percent, rounded
from any2seg_core.evaluation.settings import EvaluateSettings, Progress, RobustnessSettings
from any2seg_core.evaluation.stages import Stages
from any2seg_core.faults.planes import PLANE_FAULTS, plane_faults
from any2seg_core.runtime.preprocess import logits_to_labels, planes_to_tensor
from any2seg_core.vocabulary.labels import IGNORE
from any2seg_core.vocabulary.modalities import SensorSuite

GONE = "gone"
"""The fault of a sensor that is left out of the fusion: what the others reach alone."""
_NOISE_PASSES = len(MISSING_RATES) + len(NOISE_LEVELS)


class Trial(NamedTuple):
    """One fault of one sensor; severity None: it is gone."""

    fault: str
    sensor: str
    severity: float | None


@dataclass(frozen=True)
class _Found:
    """Of one checkpoint: mIoU in percent over the classes present, without a fault and per trial; the benchmark."""

    clean: float
    clean_all: float
    """Over all classes, as the benchmark counts."""
    trials: dict[Trial, float]
    noise: dict[str, float]


def fault_table(settings: RobustnessSettings, progress: Progress) -> dict[str, Any]:
    """mIoU of one or two checkpoints under every fault, JSON-ready and in percent.

    Raises:
        UserError: an unknown fault or severity, checkpoints of other sensors or classes, or what `evaluate` refuses.
    """
    paths = [settings.checkpoint, *([settings.beside] if settings.beside else [])]
    targets = [_open(settings, path) for path in paths]
    trials = fault_trials(settings, targets[0].suite, targets[0].model.modalities)
    if len(targets) == 2:
        _require_alike(targets[0], targets[1], paths)
    passes = len(targets) * (1 + (0 if settings.skip_noise else _NOISE_PASSES))
    stages = Stages(len(targets[0].indices), passes, progress)
    found = [_measured(target, trials, stages, settings) for target in targets]
    rows = [
        {"fault": trial.fault, "sensor": trial.sensor, "severity": trial.severity}
        | _pair([each.trials[trial] for each in found], [each.clean for each in found])
        for trial in trials
    ]
    noise = [
        {"damage": name} | _pair([each.noise[name] for each in found], [each.clean_all for each in found])
        for name in found[0].noise
    ]
    return {
        "unit": "percent", "policy": "present", "noise_policy": "all",
        "checkpoints": [str(path) for path in paths], "miou": [rounded(each.clean) for each in found],
        "data": str(settings.data), "split": settings.split, "frames": len(targets[0].indices), "seed": settings.seed,
        "severities": list(settings.severities), "faults": rows, "noise": noise,
    }  # fmt: skip


def fault_trials(settings: RobustnessSettings, suite: SensorSuite, sensors: Sequence[str]) -> list[Trial]:
    """Every fault that a sensor can have with every severity, and each sensor gone, in the order of the sensors.

    Raises:
        UserError: an unknown fault, one that none of the sensors can have, or a severity out of range.
    """
    for severity in settings.severities:
        if not 0.0 < severity <= 1.0:
            raise UserError(f"severity {severity:g}: give numbers above 0 and up to 1", "value-range")
    wanted = settings.faults or PLANE_FAULTS
    if unknown := [fault for fault in wanted if fault not in PLANE_FAULTS]:
        raise UserError(f"unknown fault {unknown[0]!r}: known are {', '.join(PLANE_FAULTS)}", "value-unknown")
    trials = []
    for name in sensors:
        kinds = [fault for fault in PLANE_FAULTS if fault in wanted and fault in plane_faults(suite.sensor(name))]
        trials += [Trial(fault, name, severity) for fault in kinds for severity in settings.severities]
        trials += [Trial(GONE, name, None)] * (len(sensors) > 1)
    if all(trial.fault == GONE for trial in trials):
        raise UserError(f"none of {', '.join(sensors)} can have the fault {', '.join(wanted)}", "value-conflict")
    return trials


def _open(settings: RobustnessSettings, path: Path) -> EvaluationTarget:
    given = EvaluateSettings(
        checkpoint=path, data=settings.data, dataset=settings.dataset, suite=settings.suite, split=settings.split,
        frames=settings.frames, device=settings.device, seed=settings.seed,
    )  # fmt: skip
    return EvaluationTarget.open(given, path)


def _require_alike(first: EvaluationTarget, second: EvaluationTarget, paths: Sequence[Path]) -> None:
    for what, own, rival in (
        ("sensors", first.model.modalities, second.model.modalities),
        ("classes", first.space.classes, second.space.classes),
    ):
        if own != rival:
            raise UserError(
                f"{paths[0]} and {paths[1]} have other {what} ({', '.join(own)}; {', '.join(rival)}): "
                "compare checkpoints of the same",
                "value-conflict",
            )


def _measured(
    target: EvaluationTarget, trials: Sequence[Trial], stages: Stages, settings: RobustnessSettings
) -> _Found:
    clean = ConfusionMatrix.of(target.space)
    tables = {trial: ConfusionMatrix.of(target.space) for trial in trials}
    for index in stages.each(f"faults of {target.settings.checkpoint.name}", target.indices):
        sample = target.frames[index]
        truth = target.comparison.of_truth(sample.labels)
        labels_of = frame_labeller(target, sample, settings.seed, index)
        clean.update(labels_of(None), truth)
        for trial, table in tables.items():
            table.update(labels_of(trial), truth)
    noise: dict[str, float] = {}
    if not settings.skip_noise:
        found = damage_benchmark(target, stages)
        noise |= {f"RMM r = {rate}": entry["mean"] for rate, entry in found["rmm"].items()}
        noise |= {f"NM {level}": value for level, value in found["nm"].items()}
    of_trials = {trial: 100.0 * table.miou("present") for trial, table in tables.items()}
    return _Found(100.0 * clean.miou("present"), 100.0 * clean.miou("all"), of_trials, noise)


def faulty_plane(sample: Sample, trial: Trial, suite: SensorSuite, seed: int, index: int) -> np.ndarray:
    """(H, W, 3): the plane of the sensor of a trial, with its fault; index: number of the frame in its data set."""
    assert trial.severity is not None  # a sensor that is gone has no plane
    rng = np.random.default_rng([seed, index, *map(_number, trial[:2])])
    plane = sample.planes[trial.sensor]
    return plane_faults(suite.sensor(trial.sensor))[trial.fault](plane, trial.severity, rng).astype(
        plane.dtype, copy=False
    )


def frame_labeller(
    target: EvaluationTarget, sample: Sample, seed: int, index: int
) -> Callable[[Trial | None], np.ndarray]:
    """Labels of one frame (H, W) under a trial, None without one; sensors that have no fault are encoded once.

    They are 255, which scores count as missed, where its only sensor is gone.
    """
    engine, device = target.engine, next(target.model.parameters()).device
    encoded = engine.encode(engine.given(planes_to_tensor(sample.planes, target.contract, device)))
    there = [name for name in target.model.modalities if name in sample.planes]

    @torch.no_grad()
    def labels_of(trial: Trial | None) -> np.ndarray:
        mixed = encoded
        kept = there
        if trial is not None and trial.sensor in there:
            others = [name for name in there if name != trial.sensor]
            if trial.severity is None and not others:
                return np.full(sample.labels.shape, IGNORE, np.uint8)
            if trial.severity is None:
                kept = others
            else:
                plane = faulty_plane(sample, trial, target.suite, seed, index)
                own = planes_to_tensor({trial.sensor: plane}, target.contract, device)
                mixed = encoded.replacing_absent(others, engine.encode(engine.given(own)))
        logits = torch.as_tensor(engine.decode(next(iter(engine.fuse_subsets(mixed, [kept])))))  # (1, K, h, w)
        height, width = sample.labels.shape
        labels, _ = logits_to_labels(logits, height, width, False, target.model.config.align_corners)
        return target.comparison.of_labels(as_array(labels[0]))

    return labels_of


def _number(text: str) -> int:
    return zlib.crc32(text.encode())


def _pair(miou: Sequence[float], clean: Sequence[float]) -> dict[str, list[float | None]]:
    """mIoU of each checkpoint, and in percent of what it has without damage."""
    relative = [percent(value / whole) if whole else None for value, whole in zip(miou, clean, strict=True)]
    return {"miou": [rounded(value) for value in miou], "relative": relative}
