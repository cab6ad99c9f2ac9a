"""dataset=NAME of a shipped recipe is enough to train: two steps on a small tree in exactly that layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from nuscenes_tree import write_nuscenes
from picture_trees import write_voc
from street_trees import SIZE, write_cityscapes, write_semantic_kitti

from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_training.config import load_config
from any2seg_training.processes import Processes
from any2seg_training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))
SMALL = ["height=64", "width=96", "crop_height=64", "crop_width=64", "head_width=32", "batch_size=2", "steps=2",
         "warmup_steps=0", "workers=0", "threads=1", "device=cpu", "compile_fusion=false", "log_every=1"]  # fmt: skip


def cityscapes(root: Path) -> Path:
    ids = np.full(SIZE, 7, np.uint8)
    ids[:9] = 23
    frames = {"train": ["ulm_000000_000019", "ulm_000001_000019"], "val": ["lindau_000000_000019"]}
    return write_cityscapes(root, frames, ids, np.full(SIZE, 257, np.uint16))


def voc(root: Path) -> Path:
    lists = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
    return write_voc(root, lists, lists["train"], np.full(SIZE, 15, np.uint8))


def semantic_kitti(root: Path) -> Path:
    return write_semantic_kitti(root, {"00": 2, "08": 1}, (40, 252, 48, 10))


def nuscenes_mini(root: Path) -> Path:
    return write_nuscenes(root, "v1.0-mini", {"scene-0061": 2, "scene-0103": 1}, (24, 17, 28, 1))


@pytest.mark.parametrize(
    ("recipe", "write", "config", "sensors", "classes"),
    [
        ("cityscapes", cityscapes, ["drive_b0.yaml"], ("rgb", "depth"), 19),
        ("semantic-kitti", semantic_kitti, ["drive_b0.yaml"], ("rgb", "lidar"), 19),
        ("nuscenes-mini", nuscenes_mini, ["drive_b0.yaml"], ("rgb", "lidar"), 16),
        ("voc-scribbles", voc, ["agmm_drive.yaml", "data.sparse=null"], ("rgb",), 21),
    ],
)
def test_smoke_two_steps_on_a_shipped_recipe(
    recipe: str,
    write: Callable[[Path], Path],
    config: list[str],
    sensors: tuple[str, ...],
    classes: int,
    tmp_path: Path,
):
    arguments = [f"training/configs/{config[0]}", f"data.root={write(tmp_path / 'data')}", *config[1:]]
    train(load_config([*arguments, f"dataset={recipe}", f"out={tmp_path / 'out'}", *SMALL]), ALONE)
    _, contract, provenance = load_checkpoint(tmp_path / "out" / "final.safetensors")
    assert contract.modalities == sensors
    assert len(contract.label_space) == classes
    assert provenance["dataset"] == recipe
