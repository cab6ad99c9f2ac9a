"""Checkpoints of a camera alone, as an import writes them, with random weights that are sure of what they say."""

from __future__ import annotations

from pathlib import Path

import torch

from any2seg_core.imports.segformer import CAMERA
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract, Normalisation
from any2seg_core.vocabulary.labels import DELIVER, LabelSpace

YARD = LabelSpace("yard", ("ground", "crate", "sky"), ((81, 0, 81), (180, 140, 90), (0, 0, 200)))
GREY = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def camera_teacher(path: Path, space: LabelSpace = DELIVER, normalisation: Normalisation = GREY, **changes) -> Path:
    """A checkpoint for the camera alone, sure of what it says, as an import writes it; by default of 25 classes."""
    torch.manual_seed(1)
    model = Any2Seg(
        ModelConfig(head_width=16, num_classes=len(space), modalities=("rgb",), mff={"unit_scale": True}, **changes)
    )
    for stage in model.encoder.stages:
        torch.nn.init.normal_(stage.norm.bias)
    torch.nn.init.normal_(model.head.classifier.weight, std=8.0)
    contract = InputContract(suite=CAMERA, height=64, width=96, label_space=space, normalisation={"rgb": normalisation})
    save_checkpoint(path, model, contract, {})
    return path
