"""A run knows its data set: contract, first weights, options."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_data import write_deliver
from fake_trees import write_mcubes, write_muses
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_training.build import build_contract, build_model, build_run
from any2seg_training.config import TrainConfig
from any2seg_training.guard import require_val
from any2seg_training.processes import Processes
from any2seg_training.sample_changes import build_degradation
from any2seg_training.splits import open_split

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
    assert (contract.label_space.name, contract.num_classes) == ("muses-19", 19)
    mcubes = config(write_mcubes(tmp_path / "mcubes", {"train": 1}))
    contract = build_contract(mcubes, open_split(mcubes, "train", "none"))
    assert contract.suite.letters == "IADN"


def test_exception_first_weights_of_another_data_set(tmp_path: Path):
    start = tmp_path / "deliver.safetensors"
    save_checkpoint(start, Any2Seg(ModelConfig(head_width=16)), InputContract(), {})
    settings = config(write_muses(tmp_path / "muses", {"train": 1}), init=start)
    contract = build_contract(settings, open_split(settings, "train", "none"))
    with user_error("label-space-mismatch", "deliver.safetensors", "deliver-25", "muses-19"):
        build_model(settings, contract)


def test_value_first_weights_of_a_model_without_learned_tokens(tmp_path: Path):
    """What stands for an absent modality may differ; tokens that the start has not are drawn anew."""
    root, start = write_deliver(tmp_path / "data", {"train": 1}, (32, 40)), tmp_path / "start.safetensors"
    first = Any2Seg(ModelConfig(head_width=16, fusion="linear"))
    save_checkpoint(start, first, InputContract(), {})
    given = {"head_width": 16, "fusion": "linear", "init": start}
    contract = build_contract(config(root), open_split(config(root), "train", "none"))
    model = build_model(config(root, **given, linear={"absent": "token"}), contract)
    weights = model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in first.state_dict().items())
    assert len(weights) == len(first.state_dict()) + 4
    with user_error("checkpoint-mismatch", "start.safetensors"):
        build_model(config(root, **given, linear={"alpha": 0.5}), contract)


def test_value_first_weights_of_a_model_that_fuses_elsewhere(tmp_path: Path):
    """MFF has no parameters: the weights fit wherever it stands and however it is switched."""
    root, start = write_deliver(tmp_path / "data", {"train": 1}, (32, 40)), tmp_path / "start.safetensors"
    first = Any2Seg(ModelConfig(head_width=16, mff={"select_temperature": 0.1}))
    save_checkpoint(start, first, InputContract(), {})
    early = {"fusion": "mff_early", "mff_early": {"scale": {"lidar": 0.5}}, "content_masks": True}
    settings = config(root, head_width=16, init=start, **early)
    contract = build_contract(settings, open_split(settings, "train", "none"))
    model = build_model(settings, contract)
    assert contract.scale == model.config.mff_early.scale == {"lidar": 0.5}
    weights = model.state_dict()
    assert weights.keys() == first.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in first.state_dict().items())
    with user_error("checkpoint-mismatch", "start.safetensors"):
        build_model(config(root, head_width=16, init=start, fusion="mean_predictions"), contract)


def test_exception_faults_that_no_sensor_can_have():
    contract = InputContract(modalities=("rgb", "depth"))

    def built(**degradation: object):
        return build_degradation(TrainConfig(data="d", out="o", degradation=degradation), contract)

    assert built() is None
    assert built(probability=0.5).config.probability == 0.5  # of all kinds those that these sensors can have
    with user_error("value-conflict", "beams", "night"):
        built(probability=0.5, kinds=("night", "beams"))


def test_exception_a_scale_for_a_sensor_that_is_not_there(tmp_path: Path):
    root = write_deliver(tmp_path / "data", {"train": 1}, (32, 40))
    settings = config(root, fusion="mff_early", mff_early={"scale": {"radar": 0.5, "lidar": 0.5}})
    with user_error("sensor-absent", "mff_early.scale names radar", "rgb, depth, event, lidar"):
        build_contract(settings, open_split(settings, "train", "none"))


def test_exception_options_of_another_data_set(tmp_path: Path):
    root = write_deliver(tmp_path, {"train": 1}, (32, 40))
    with user_error("option-unsupported", "parity=hkust"):
        open_split(config(root, parity="hkust"), "train", "none")


def test_exception_a_bad_label_id_stops_before_the_first_step(tmp_path: Path):
    root = write_deliver(tmp_path, {"train": 2, "val": 1}, (32, 40))
    path = sorted((root / "semantic").rglob("*.png"))[0]
    path.write_bytes((root / "img" / path.relative_to(root / "semantic")).with_name(
        path.name.replace("semantic", "rgb")).read_bytes())  # fmt: skip
    with user_error("label-ids", path.name):
        build_run(config(root), ALONE)
    run = build_run(config(root, skip_corrupt=True), ALONE)
    assert run.train_frames.skipped == (run.train_frames.frames[0].name,)


def blank(root: Path, split: str) -> Path:
    """Nobody has labelled a pixel of that split."""
    for path in (root / "semantic").rglob(f"{split}/*/*.png"):
        assert cv2.imwrite(str(path), np.zeros((32, 40), np.uint8))
    return root


def test_exception_nothing_to_learn_or_to_judge_by(tmp_path: Path):
    with user_error("data-unlabelled", "2 train"):
        build_run(config(blank(write_deliver(tmp_path / "a", {"train": 1, "val": 1}, (32, 40)), "train")), ALONE)
    frames = open_split(
        config(blank(write_deliver(tmp_path / "b", {"train": 1, "val": 1}, (32, 40)), "val")), "val", "none"
    )
    with user_error("data-unlabelled", "2 val"):
        require_val(frames, 1, ALONE)


@pytest.mark.parametrize("what", ["label of any frame", "sensor of a frame that is evaluated on the way"])
def test_exception_bad_val_files_stop_before_the_first_step(tmp_path: Path, what: str):
    root = write_deliver(tmp_path, {"train": 1, "val": 3}, (32, 40))
    frames = open_split(config(root), "val", "none")
    require_val(frames, 2, ALONE)
    folder, place = ("semantic", 3) if what.startswith("label") else ("lidar", -1)
    path = sorted((root / folder).rglob("val/*/*.png"))[place]
    path.write_bytes(path.read_bytes()[:40])
    with user_error("file-format", path.name):
        require_val(frames, 2, ALONE)
    lenient = open_split(config(root, skip_corrupt=True), "val", "none")
    require_val(lenient, 2, ALONE)
    assert len(lenient.skipped) == 1


def test_value_counting_the_classes_shows_how_far_it_is(tmp_path, monkeypatch):
    """It reads every label before the first step: a silent minute, where nobody says something."""
    shown = []

    def watched(items, title, total, is_shown):
        shown.append((title, total, is_shown))
        return items

    monkeypatch.setattr("any2seg_training.build.track", watched)
    build_run(config(write_deliver(tmp_path, {"train": 3, "val": 1}, (32, 40))), ALONE)
    assert shown == [("count the classes", 6, True)]  # three sequences of two
