"""A run knows its data set: contract, first weights, options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_data import write_deliver
from fake_trees import write_mcubes, write_muses

from any2seg_core.checkpoint import save_checkpoint
from any2seg_core.contract import InputContract
from any2seg_core.errors import UserError
from any2seg_core.models import Any2Seg, ModelConfig
from training.build import build_contract, build_model, build_run, open_split
from training.config import TrainConfig
from training.processes import Processes

ALONE = Processes(0, 1, torch.device("cpu"))


def config(data: Path, **changes: object) -> TrainConfig:
    size = {"height": 64, "width": 64, "head_width": 16, "cache": "none"}
    return TrainConfig(data=data, out=data / "run", **(size | changes))


def test_value_a_drive_has_the_contract_of_the_vehicle(tmp_path: Path):
    """What the shipped checkpoint and the node have: nothing of it may depend on the other data sets."""
    root = write_deliver(tmp_path, {"train": 1}, (32, 40))
    (root / "drive_train.json").write_text("{}")
    settings = config(root)
    contract = build_contract(settings, open_split(settings, "train", "none"))
    expected = InputContract(height=64, width=64)
    assert contract == expected
    assert contract.model_dump_json() == expected.model_dump_json()


def test_value_contracts_of_the_others(tmp_path: Path):
    muses = config(write_muses(tmp_path / "muses", {"train": 1}), modalities=("lidar", "rgb"))
    contract = build_contract(muses, open_split(muses, "train", "none"))
    assert contract.modalities == ("rgb", "lidar")
    assert contract.event_window_ns == 30_000_000
    assert (contract.label_space, contract.num_classes) == ("muses-19", 19)
    mcubes = config(write_mcubes(tmp_path / "mcubes", {"train": 1}))
    contract = build_contract(mcubes, open_split(mcubes, "train", "none"))
    assert contract.family.letters == "IADN"


def test_exception_first_weights_of_another_data_set(tmp_path: Path):
    start = tmp_path / "deliver.safetensors"
    save_checkpoint(start, Any2Seg(ModelConfig(head_width=16)), InputContract(), {})
    settings = config(write_muses(tmp_path / "muses", {"train": 1}), init=start)
    contract = build_contract(settings, open_split(settings, "train", "none"))
    with pytest.raises(UserError, match="deliver.safetensors was trained on labels deliver-25, .* has muses-19"):
        build_model(settings, contract)


def test_exception_options_of_another_data_set(tmp_path: Path):
    root = write_deliver(tmp_path, {"train": 1}, (32, 40))
    with pytest.raises(UserError, match="parity=hkust: .* is deliver, which has no such choice"):
        open_split(config(root, parity="hkust"), "train", "none")


def test_exception_a_bad_label_id_stops_before_the_first_step(tmp_path: Path):
    root = write_deliver(tmp_path, {"train": 2, "val": 1}, (32, 40))
    path = sorted((root / "semantic").rglob("*.png"))[0]
    path.write_bytes((root / "img" / path.relative_to(root / "semantic")).with_name(
        path.name.replace("semantic", "rgb")).read_bytes())  # fmt: skip
    with pytest.raises(UserError, match=f"{path.name}: label id .* is out of range"):
        build_run(config(root), ALONE)
    run = build_run(config(root, skip_corrupt=True), ALONE)
    assert run.train_frames.skipped == (run.train_frames.frames[0].name,)
