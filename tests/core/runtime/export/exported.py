"""Small models to export, and what an exported one is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract

HEIGHT, WIDTH = 64, 96
EARLY = {"fusion": "mff_early", "mff_early": {"scale": {"rgb": 0.5, "lidar": 0.5}}}
EARLY_WIDTH = 128  # half of it is a multiple of 32 too


def trained_like(**changes) -> Any2Seg:
    """Norms and logits as after a training: which class wins, and which sensor, is no matter of rounding."""
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(**({"head_width": 16} | changes))).eval()
    for stage in model.encoder.stages if changes.get("fusion") != "linear" else ():
        torch.nn.init.uniform_(stage.norm.weight, 0.2, 2.0)
        torch.nn.init.normal_(stage.norm.bias)
    for gate in getattr(model.fusion, "gates", ()):
        torch.nn.init.normal_(gate)
    torch.nn.init.normal_(model.head.classifier.weight)
    return model


def contract_of(model: Any2Seg, **changes) -> InputContract:
    width = EARLY_WIDTH if model.config.fusion == "mff_early" else WIDTH
    scale = model.config.mff_early.scale
    return InputContract(modalities=model.modalities, height=HEIGHT, width=width, scale=scale, **changes)


def saved(path: Path, model: Any2Seg, **changes) -> Path:
    save_checkpoint(path, model, contract_of(model, **changes), {"data": {"name": "yard"}})
    return path


def images_of(names, seed: int = 1) -> dict[str, torch.Tensor]:
    noise = np.random.default_rng(seed).normal(size=(len(names), 1, 3, HEIGHT, WIDTH)).astype(np.float32)
    return {name: torch.from_numpy(each) for name, each in zip(names, noise, strict=True)}
