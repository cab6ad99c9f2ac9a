"""Multi-stage training: a model labels the frames, the next one trains on sparse labels completed by them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_data import write_deliver
from fake_trees import write_mcubes
from raised import user_error

from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.pseudo import PseudoLabels
from any2seg_core.data.sparse import SparseConfig
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.labels import DELIVER, IGNORE, MCUBES, NOT_ANNOTATED, is_labelled
from any2seg_training.config import load_config
from any2seg_training.processes import Processes
from any2seg_training.pseudo_labels import main
from any2seg_training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))
TINY = [
    "height=64", "width=64", "crop_height=64", "crop_width=64", "steps=1", "batch_size=2", "head_width=16", "workers=0",
    "threads=1", "device=cpu", "log_every=1", "modalities=[rgb, lidar]",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("tree"), {"train": 2, "val": 1})


@pytest.fixture(scope="module")
def checkpoint(data: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stage1")
    train(load_config([*TINY, f"data={data}", f"out={out}", "data.sparse={kind: points, count: 9}"]), ALONE)
    return out / "final.safetensors"


def test_value_pseudo_labels_are_the_predictions_and_complete_the_clicks(data, checkpoint, tmp_path, capsys):
    folder = tmp_path / "pseudo"
    assert main([f"checkpoint={checkpoint}", f"data={data}", f"out={folder}"]) == 0
    assert "4 frames, 100.0 % of their pixels" in capsys.readouterr().out
    sparse = SparseConfig(kind="points", count=9)
    clicks = DeliverDataset(data, "train", sparse=sparse)
    frames = DeliverDataset(data, "train", sparse=sparse, pseudo=folder)
    predictor = Predictor.load(checkpoint)
    for index, frame in enumerate(frames.frames):
        sample = clicks[index]
        found = predictor({name: sample.planes[name] for name in ("rgb", "lidar")}).labels
        kept = is_labelled(sample.labels)
        assert kept.sum() == 9
        expected = np.where(kept, sample.labels, found)
        assert np.array_equal(frames[index].labels, expected), frame.name
        assert np.array_equal(frames.labels(index), expected)


def test_value_threshold_leaves_the_rest_unlabelled_and_a_second_run_goes_on(data, checkpoint, tmp_path):
    folder = tmp_path / "pseudo"
    arguments = [f"checkpoint={checkpoint}", f"data={data}", f"out={folder}", "threshold=0.06"]
    assert main(arguments) == 0
    files = PseudoLabels(folder, "train", DELIVER)
    frames = DeliverDataset(data, "train", sparse=SparseConfig(kind="points", count=1), pseudo=folder)
    labels = frames[0].labels
    path = files.path(frames.frames[0].name)
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert 0 < (raw == IGNORE).sum() < raw.size
    assert np.all(labels[raw == IGNORE][labels[raw == IGNORE] >= 25] == NOT_ANNOTATED)
    before = {p: p.read_bytes() for p in folder.rglob("*.png")}
    path.unlink()
    with user_error("pseudo-labels-missing", "0 more"):
        DeliverDataset(data, "train", sparse=SparseConfig(kind="points"), pseudo=folder)
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*.png")}
    assert main(arguments) == 0
    assert {p: p.read_bytes() for p in folder.rglob("*.png")} == before
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())
    assert not list(folder.rglob(".*"))


def test_smoke_a_second_stage_trains(data, checkpoint, tmp_path):
    assert main([f"checkpoint={checkpoint}", f"data={data}", f"out={tmp_path / 'pseudo'}"]) == 0
    second = ["data.sparse={kind: points, count: 9}", f"data.pseudo={tmp_path / 'pseudo'}", f"data={data}"]
    train(load_config([*TINY, *second, f"out={tmp_path / 'stage2'}"]), ALONE)
    last = json.loads((tmp_path / "stage2" / "log.jsonl").read_text().splitlines()[0])
    assert np.isfinite(last["loss"])


def test_exception_what_does_not_fit(data, checkpoint, tmp_path, capsys):
    with user_error("value-invalid"):
        load_config(["data=d", "out=o", "data.pseudo=p"])
    with user_error("pseudo-labels-missing", "training/pseudo"):
        DeliverDataset(data, "train", pseudo=tmp_path)
    folder = tmp_path / "pseudo"
    arguments = [f"checkpoint={checkpoint}", f"data={data}", f"out={folder}"]
    assert main(arguments) == 0
    assert main([*arguments, "threshold=0.5"]) == 2
    assert "holds pseudo labels of another threshold; choose another folder" in capsys.readouterr().err
    with user_error("label-space-mismatch", "deliver-25", "mcubes-20"):
        PseudoLabels(folder, "train", MCUBES)
    other = write_mcubes(tmp_path / "mcubes", {"train": 1}, (64, 256))
    assert main([f"checkpoint={checkpoint}", f"data={other}", f"out={tmp_path / 'x'}"]) == 2
    files = PseudoLabels(folder, "train", DELIVER)
    name = DeliverDataset(data, "train").frames[0].name
    cv2.imwrite(str(files.path(name)), np.full((64, 96), 77, np.uint8))
    with user_error("size-mismatch", kind=CorruptFileError):
        files.complete(np.full((64, 96), NOT_ANNOTATED, np.uint8), name)
