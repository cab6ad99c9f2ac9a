"""Checkpoints of earlier versions: names, shapes and meaning of every weight, as recorded from commit 0d2501b.

The record holds for each way of fusing the model config as that version wrote it, names and shapes of its state, and
the logits that it computed with the weights and images of this file.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.vocabulary.contract import InputContract

NAMES = ("rgb", "lidar")
RECORD = json.loads(Path(__file__).with_name("state_names.json").read_text())


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The same weights in every version, drawn by their name."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape).astype(np.float32)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return 1.0 + np.abs(drawn)
    return np.float32(0.1) * drawn + np.float32(1.0 if "norm" in name and name.endswith("weight") else 0.0)


def recorded_state(case: str) -> dict[str, tuple[int, ...]]:
    """Name -> shape."""
    lines = [line.partition(" ") for line in RECORD[case]["state"]]
    return {name: tuple(map(int, shape.split("x"))) if shape else () for name, _, shape in lines}


@pytest.mark.parametrize("case", RECORD)
def test_value_names_and_shapes_of_the_state_are_those_recorded(case):
    model = Any2Seg(ModelConfig.model_validate(RECORD[case]["model"]))
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == recorded_state(case)


@torch.no_grad()
@pytest.mark.parametrize("case", RECORD)
def test_value_a_checkpoint_of_each_fusion_loads_and_means_the_same(tmp_path, case):
    tensors = {name: torch.from_numpy(np.asarray(values(name, shape))) for name, shape in recorded_state(case).items()}
    contract = InputContract(modalities=NAMES, label_space="deliver-25").model_dump(mode="json")
    document = {"format": 1, "model": RECORD[case]["model"], "contract": contract, "provenance": {}}
    path = tmp_path / "old.safetensors"
    save_file(tensors, path, metadata={"any2seg": json.dumps(document)})
    model, _, _ = load_checkpoint(path)
    images = {name: torch.from_numpy(10 * values(name, (2, 3, 32, 64))) for name in NAMES}
    logits = model(images, torch.tensor([[True, True], [False, True]])).logits  # (2, K, 32, 64)
    torch.testing.assert_close(logits[:, :, 7, 13].flatten(), torch.tensor(RECORD[case]["logits"]), rtol=0, atol=2e-4)
