"""Let a model of a first stage label the training frames for a second one (multi-stage training of AGMM-SASS).

    python training/train.py training/configs/agmm_drive.yaml out=runs/stage1
    python training/pseudo_labels.py checkpoint=runs/stage1/final.safetensors data=data/drive out=runs/pseudo
    python training/train.py training/configs/agmm_drive.yaml data.pseudo=runs/pseudo agmm.weight=0 out=runs/stage2

The second training keeps the sparse labels and takes the model's word for all other pixels. Work is kept frame by
frame: after an interruption the same command goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import track
from any2seg_core.base.screen import refusal
from any2seg_core.data.catalogue import layout
from any2seg_core.data.kinds import Kind
from any2seg_core.data.pseudo import PseudoLabels, write_facts
from any2seg_core.runtime.legend import write_labels
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.labels import IGNORE
from any2seg_training.settings import answered_help, load_settings


class PseudoConfig(BaseModel):
    """Which model labels what."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checkpoint: Path = Field(description="model of the first stage")
    data: Path = Field(description="folder of a data set")
    out: Path = Field(description="folder to write")
    dataset: Kind = "auto"
    split: str = "train"
    threshold: float = Field(0.0, ge=0, lt=1, description="pixels of less confidence stay unlabelled")
    device: str = Field("cpu", description="cpu or cuda")


def label(config: PseudoConfig) -> tuple[int, float]:
    """Write the labels that are not there yet; returns frames in all, and the labelled share of those written now."""
    predictor = Predictor.load(config.checkpoint, config.device)
    contract = predictor.contract
    place = layout(config.dataset, config.data).having(contract.suite, contract.modalities)
    frames = place.open(config.split, contract.modalities, labelled=False)
    if apart := predictor.label_space.told_apart(frames.label_space):
        raise UserError(f"{config.checkpoint}: knows {apart[0]}, {config.data} has {apart[1]}", "label-space-mismatch")
    digest = hashlib.sha256(config.checkpoint.read_bytes()).hexdigest()
    facts = {"label_space": frames.label_space.reference, "checkpoint": digest, "threshold": config.threshold}
    write_facts(config.out, config.split, facts)
    files = PseudoLabels(config.out, config.split, frames.label_space)
    shares = []
    for index in track(range(len(frames)), f"pseudo labels of {config.split}", len(frames)):
        path = files.path(frames.frames[index].name)
        if path.is_file():
            continue
        found = predictor(frames[index].planes)
        assert found.confidence is not None  # a predictor leaves it out only when told to
        labels = np.where(found.confidence < config.threshold, IGNORE, found.labels).astype(np.uint8)
        write_labels(path, labels, frames.label_space)
        shares.append(float((labels != IGNORE).mean()))
    return len(frames), float(np.mean(shares)) if shares else 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if answered_help(words, __doc__, PseudoConfig):
        return 0
    try:
        config = load_settings(PseudoConfig, words)
        count, share = label(config)
    except (UserError, OSError) as error:
        print(f"pseudo_labels: {refusal(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pseudo_labels: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    print(f"{config.out}: {count} frames, {100 * share:.1f} % of their pixels; train with data.pseudo={config.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
