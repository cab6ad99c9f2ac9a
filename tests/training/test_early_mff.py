"""Training of early MFF with sensors at half the sides: it learns, goes on exactly, and says what it was fed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fake_data import write_deliver
from tiny_run import ALONE, settings, state, train_until_killed

from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_training.batches import to_model_input
from any2seg_training.train import train

EARLY = {"fusion": "mff_early", "mff_early": {"scale": {"depth": 0.5, "lidar": 0.5}}, "width": 128, "crop_width": 128}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 6, "val": 2}, (64, 130))


def test_value_planes_of_a_batch_are_scaled_as_those_of_a_frame():
    planes = torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    contract = InputContract(height=64, width=128, scale={"depth": 0.5, "lidar": 0.5})
    images = to_model_input({"event": planes, "depth": planes, "lidar": planes}, contract, torch.device("cpu"))
    values = planes.float() / 255.0
    torch.testing.assert_close(images["event"], values)
    mean = F.interpolate(values, (32, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(images["depth"], mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(images["lidar"], values[:, :, 1::2, 1::2])  # of four the one below to the right


def test_value_resume_is_exact_and_the_checkpoint_tells_the_scale(data: Path, tmp_path: Path):
    train(settings(data, tmp_path / "whole", **EARLY), ALONE)
    train_until_killed(settings(data, tmp_path / "parts", **EARLY))
    results = train(settings(data, tmp_path / "parts", resume=True, **EARLY), ALONE)
    whole, parts = (state(tmp_path / name) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    assert all(torch.equal(value, parts["average"][name]) for name, value in whole["average"].items())
    assert len(results["subsets"]) == 15
    model, contract, provenance = load_checkpoint(tmp_path / "parts" / "final.safetensors")
    assert contract.scale == model.config.mff_early.scale == {"depth": 0.5, "lidar": 0.5}
    assert provenance["config"]["fusion"] == "mff_early"


def test_value_its_loss_falls(data: Path, tmp_path: Path):
    out = tmp_path / "run"
    train(settings(data, out, **EARLY, steps=40, lr=3e-3, head_width=32, save_every=40), ALONE)
    log = (out / "log.jsonl").read_text().splitlines()
    losses = [float(line.split('"loss": ')[1].split(",")[0]) for line in log if '"loss": ' in line]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
