"""Training straight from recordings: unlabelled ones beside a data set, and a labelled one alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bag_files import kitti_entries, labelled_kitti_entries, write_bag
from fake_data import write_deliver
from raised import user_error

from any2seg_core.data.bag import BagDataset
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.teachers.captions import Caption
from any2seg_core.vocabulary.labels import label_space, stored_label_space
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.build import Run
from any2seg_training.cache_teacher import CacheConfig, embed_part, frame_captions
from any2seg_training.config import load_config
from any2seg_training.evaluate import main as evaluate_main
from any2seg_training.processes import Processes
from any2seg_training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))
CAMERA = CameraModel.from_fov(96, 64, 90.0, "camera_color_left")
SMALL = ["height=64", "width=96", "crop_height=64", "crop_width=64", "head_width=32", "batch_size=2", "steps=2",
         "warmup_steps=0", "workers=0", "threads=1", "device=cpu", "compile_fusion=false", "log_every=1"]  # fmt: skip


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def m3l(tmp_path: Path) -> list[str]:
    """Arguments of a run whose teacher has four sensors, with a bag of two; its first set lacks the LiDAR as well."""
    data = write_deliver(tmp_path / "deliver", {"train": 2, "val": 1}, (64, 96))
    bag = write_bag(tmp_path / "drive", kitti_entries(7, CAMERA))
    arguments = ["training/configs/m3l_drive.yaml", f"data.root={data}", f"data.unlabelled={bag}", "data.bag.every=2"]
    return [*arguments, "data.labelled_fraction=1", "m3l.warmup_steps=0", "cache=ram", *SMALL]


@pytest.mark.parametrize("keep", [True, False])
def test_smoke_unlabelled_frames_straight_from_a_recording(m3l: list[str], tmp_path: Path, keep: bool):
    results = train(load_config([*m3l, f"data.bag.keep={keep}", f"out={tmp_path / 'out'}"]), ALONE)
    assert set(results["subsets"]) >= {"R", "L", "RDEL"}
    _, contract, provenance = load_checkpoint(tmp_path / "out" / "final.safetensors")
    assert contract.modalities == ("rgb", "depth", "event", "lidar")
    assert provenance["unlabelled_frames"] == {"drive": 4}
    assert len(list((tmp_path / "drive").glob("any2seg_planes/*/rgb/*.png"))) == (4 if keep else 0)


def test_value_resume_is_exact_with_a_recording(m3l: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two steps with planes in memory equal one, killed, and one more whose worker reads planes from the disk."""
    save = Run.save

    def save_then_die(run: Run, path: Path) -> None:
        save(run, path)
        raise KilledError

    train(load_config([*m3l, f"out={tmp_path / 'whole'}"]), ALONE)
    rest = [*m3l, f"out={tmp_path / 'parts'}", "save_every=1"]
    monkeypatch.setattr(Run, "save", save_then_die)
    with pytest.raises(KilledError):
        train(load_config(rest), ALONE)
    monkeypatch.setattr(Run, "save", save)
    train(load_config([*rest, "resume=true", "cache=none", "workers=1"]), ALONE)
    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 2
    assert all(torch.equal(value, parts["model"][name]) for name, value in whole["model"].items())


def test_smoke_a_labelled_recording_alone(tmp_path: Path):
    """Trained on the first 0.44 s of a bag and judged on the rest, in the run and by the command."""
    bag = write_bag(tmp_path / "drive", labelled_kitti_entries(8, CAMERA))
    arguments = ["training/configs/drive_b0.yaml", f"data={bag}", f"out={tmp_path / 'out'}", "cache=disk", *SMALL]
    with user_error("data-empty", "bag.val_share"):
        train(load_config(arguments), ALONE)
    results = train(load_config([*arguments, "data.bag.val_share=0.4"]), ALONE)
    assert list(results["subsets"]) == ["R", "L", "RL"]
    checkpoint = tmp_path / "out" / "final.safetensors"
    _, contract, provenance = load_checkpoint(checkpoint)
    assert contract.encodings == {"rgb": "rgb8", "lidar": "range-intensity-height-1"}
    assert (provenance["dataset"], provenance["train_frames"]) == ("bag", 5)
    assert provenance["config"]["data"]["bag"]["val_share"] == 0.4
    assert "calibration" not in provenance["config"]["data"]["bag"]

    (bag / "any2seg.yaml").write_text("val_share: 0.4\n")
    target = tmp_path / "result.json"
    assert evaluate_main([f"checkpoint={checkpoint}", f"data={bag}", f"json={target}"]) == 0
    summary = json.loads(target.read_text())
    assert (summary["frames"], summary["data_set"]) == (3, None)
    for letters, row in results["subsets"].items():
        measured = {name: value for name, value in row.items() if value is not None}  # training counts no confidence
        assert {name: summary["subsets"][letters][name] for name in measured} == pytest.approx(measured, abs=0.02)
        assert "miou_present" in measured


def test_value_a_recording_with_classes_of_its_own(tmp_path: Path):
    """The checkpoint knows 30 classes when the file of them is gone, and is judged in them."""
    bag = write_bag(tmp_path / "drive", labelled_kitti_entries(8, CAMERA))
    (bag / "own.yaml").write_text(f"name: own\nclasses: [{', '.join(f'class {k}' for k in range(30))}]\n")
    (bag / "any2seg.yaml").write_text("val_share: 0.4\nlabel_space: own.yaml\n")
    space = label_space(bag / "own.yaml")
    train(load_config(["training/configs/drive_b0.yaml", f"data={bag}", f"out={tmp_path / 'out'}", *SMALL]), ALONE)
    checkpoint, target = tmp_path / "out" / "final.safetensors", tmp_path / "result.json"
    assert evaluate_main([f"checkpoint={checkpoint}", f"data={bag}", f"json={target}"]) == 0
    document = json.loads(target.read_text())
    assert np.shape(document["confusion"]["counts"]) == (30, 31)
    (bag / "own.yaml").unlink()
    assert load_checkpoint(checkpoint)[1].label_space == space
    assert stored_label_space(document["label_space"]) == space


class WordCounts:
    """Stands for a teacher: five numbers per text, and per plane its number among those that were given."""

    name = "word counts"

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text)] * 5 for text in texts], np.float32)

    def embed_modalities(self, planes: dict[str, np.ndarray], _caption: Caption, _suite: SensorSuite) -> np.ndarray:
        return np.array([[number + 1.0] * 5 for number, _ in enumerate(planes)], np.float32)


def test_value_a_teacher_embeds_what_a_frame_has(tmp_path: Path):
    """The first set has a camera alone: the row of its LiDAR is zero."""
    bag = write_bag(tmp_path / "drive", labelled_kitti_entries(3, CAMERA))
    frames = BagDataset(bag, "train", ["rgb", "lidar"], cache="ram")
    captions, _ = frame_captions(CacheConfig(teacher="text", data=bag, out=tmp_path), frames)
    found = embed_part(WordCounts(), frames, captions, range(3))["modality"]
    assert found.shape == (3, 2, 5)
    np.testing.assert_array_equal(found[:, :, 0], [[1, 0], [1, 2], [1, 2]])
