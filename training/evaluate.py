"""Judge a checkpoint on a data set in DELIVER's layout: all sensor subsets, all three means, per-class IoU, floors.

    python training/evaluate.py checkpoint=runs/train/drive_b0/final.safetensors data=data/drive [key=value ...]

Keys: split (val), cases ("[night, motionblur]"), frames (at most so many, evenly spread), protocol (drop | zero),
json (write the numbers there), device (cpu | cuda), prior_from (train: split that gives the floors' label statistics).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from any2seg_core.atomic import replacing
from any2seg_core.checkpoint import load_checkpoint
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.errors import UserError
from any2seg_core.evaluation.subsets import Floors, PriorStatistics, evaluate_subsets, prior_baselines
from any2seg_core.evaluation.tables import render, summarise
from any2seg_core.labels import LabelSpace, label_space
from any2seg_core.predictor import available_device
from training.batches import evaluation_batches
from training.config import load_settings


class EvaluateConfig(BaseModel):
    """Which checkpoint, on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checkpoint: Path
    data: Path
    split: str = "val"
    cases: tuple[str, ...] | None = None
    frames: int | None = Field(None, gt=0)
    protocol: Literal["drop", "zero"] = "drop"
    json_path: Path | None = Field(None, alias="json")
    device: Literal["cpu", "cuda"] = "cpu"
    prior_from: str = "train"


def sensor_floors(
    config: EvaluateConfig, modalities: Sequence[str], truths: list[np.ndarray], space: LabelSpace
) -> Floors | None:
    """Floors on the evaluated labels; None when the data has no split to learn the prior from."""
    try:
        known = DeliverDataset(config.data, config.prior_from, modalities)
    except UserError as error:
        print(f"evaluate: no floors: {error}", file=sys.stderr)
        return None
    prior = PriorStatistics(len(space))
    for index in range(len(known)):
        prior.update(known.labels(index))
    return prior_baselines(prior, truths, space)


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """All subsets of the checkpoint's modalities on the chosen frames; the summary is JSON-ready, in percent."""
    device = available_device(config.device)
    model, contract, _ = load_checkpoint(config.checkpoint)
    space = label_space(contract.label_space)
    frames = DeliverDataset(config.data, config.split, contract.modalities, config.cases)
    count = min(config.frames or len(frames), len(frames))
    indices = np.linspace(0, len(frames) - 1, count).round().astype(int).tolist()
    batches = evaluation_batches(frames, indices, contract, device)
    table = evaluate_subsets(model.to(device), batches, space, protocol=config.protocol)
    floors = sensor_floors(config, contract.modalities, [frames.labels(index) for index in indices], space)
    return summarise(table, space, count, floors, config.protocol) | {"split": config.split}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        config = load_settings(EvaluateConfig, sys.argv[1:] if arguments is None else arguments)
        summary = evaluate(config)
        print(render(summary))  # first: minutes of work are not lost when the file cannot be written
        if config.json_path is not None:
            with replacing(config.json_path) as partial:
                partial.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    except UserError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
