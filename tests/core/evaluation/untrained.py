"""A checkpoint that nobody has trained."""

from __future__ import annotations

from pathlib import Path

import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE


def write_checkpoint(path: Path, modalities: tuple[str, ...] = VEHICLE.members, seed: int = 0) -> Path:
    """An untrained model whose modalities differ: see test_subsets."""
    torch.manual_seed(seed)
    model = Any2Seg(ModelConfig(head_width=16, modalities=modalities)).eval()
    for stage in model.encoder.stages:
        torch.nn.init.uniform_(stage.norm.weight, 0.2, 2.0)
        torch.nn.init.normal_(stage.norm.bias)
    save_checkpoint(path, model, InputContract(modalities=modalities, height=32, width=64), {"command": "test"})
    return path
