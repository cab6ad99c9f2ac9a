"""`any2seg robustness`: against plain predictions on planes with the same fault, and what must stop it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_deliver
from raised import user_error
from untrained import write_checkpoint

from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.evaluation.fault_table import Trial, _open, fault_table, fault_trials, frame_labeller
from any2seg_core.evaluation.settings import RobustnessSettings
from any2seg_core.faults.planes import plane_faults
from any2seg_core.reports.faults import fault_rows, fault_text, write_faults
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.preprocess import logits_to_labels, planes_to_tensor
from any2seg_core.vocabulary.modalities import VEHICLE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("robustness")
    write_deliver(root / "data", {"val": 1}, (37, 66))
    write_checkpoint(root / "first.safetensors")
    write_checkpoint(root / "second.safetensors", seed=1)
    write_checkpoint(root / "depth.safetensors", ("depth",))
    return root


def settings(folder: Path, **given: object) -> RobustnessSettings:
    return RobustnessSettings(checkpoint=folder / "first.safetensors", data=folder / "data", **given)


@pytest.fixture(scope="module")
def document(folder: Path) -> dict:
    asked = settings(folder, beside=folder / "second.safetensors", severities=(0.5, 1.0), seed=3)
    seen: list[tuple[int, int]] = []
    document = fault_table(asked, lambda _, done, total: seen.append((done, total)))
    assert seen[-1] == (28, 28)  # two frames and two checkpoints: faults, three rates, three noise levels
    return document


@pytest.mark.parametrize("trial", [
    None, Trial("night", "rgb", 0.5), Trial("freeze", "depth", 1.0), Trial("beams", "lidar", 0.5),
    Trial("gone", "event", None),
], ids=str)  # fmt: skip
def test_value_labels_are_those_of_plain_forwards(folder: Path, trial: Trial | None):
    """On planes with the fault, drawn by seed, frame, fault and sensor."""
    path = folder / "first.safetensors"
    target = _open(settings(folder, seed=3), path)
    model, contract, _ = load_checkpoint(path)
    frames = DeliverDataset(folder / "data", "val")
    planes = dict(frames[1].planes)
    if trial is not None and trial.severity is None:
        del planes[trial.sensor]
    elif trial is not None:
        rng = np.random.default_rng([3, 1, *(zlib.crc32(text.encode()) for text in trial[:2])])
        change = plane_faults(VEHICLE.sensor(trial.sensor))[trial.fault]
        planes[trial.sensor] = change(planes[trial.sensor], trial.severity, rng)
    with torch.no_grad():
        logits = model(planes_to_tensor(planes, contract)).logits
    expected, _ = logits_to_labels(logits, *frames[1].labels.shape, with_confidence=False)
    found = frame_labeller(target, target.frames[1], 3, 1)(trial)
    assert np.mean(found != expected[0].numpy()) < 0.01  # ties of an untrained model


def test_value_miou_and_what_is_left_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A model that is right without a fault and says Building with any: the share of Building, by the classes."""
    monkeypatch.setattr(
        "any2seg_core.evaluation.fault_table.frame_labeller",
        lambda target, sample, seed, index: lambda trial: sample.labels if trial is None else 0 * sample.labels,
    )
    document = fault_table(settings(folder, skip_noise=True, faults=("glare",)), lambda *_: None)
    frames = DeliverDataset(folder / "data", "val")
    truth = np.concatenate([frames[index].labels.ravel() for index in range(len(frames))])
    truth = truth[truth < 254]
    expected = 100.0 * np.mean(truth == 0) / len(np.unique(truth))
    assert document["miou"] == [100.0]
    assert [row["severity"] for row in document["faults"] if row["sensor"] == "rgb"] == [0.25, 0.5, 1.0, None]
    for row in document["faults"]:
        assert row["miou"] == row["relative"] == [pytest.approx(expected, abs=6e-4)]
    assert document["noise"] == []


def test_value_every_fault_that_a_sensor_can_have(folder: Path):
    trials = fault_trials(settings(folder, severities=(1.0,)), VEHICLE, ("rgb", "lidar"))
    assert trials == [
        *(Trial(fault, "rgb", 1.0) for fault in ("night", "glare", "fog", "blur", "noise", "freeze")),
        Trial("gone", "rgb", None),
        *(Trial(fault, "lidar", 1.0) for fault in ("fog", "beams", "freeze")),
        Trial("gone", "lidar", None),
    ]
    alone = fault_trials(settings(folder, faults=("freeze",)), VEHICLE, ("depth",))
    assert [trial.severity for trial in alone] == [0.25, 0.5, 1.0]  # the only sensor cannot be gone


def test_value_text_markdown_and_picture_hold_every_figure(document: dict, tmp_path: Path):
    text = fault_text(document)
    assert max(map(len, text.splitlines()[1:])) <= 80
    head, *rows = fault_rows(document, "miou")
    assert head == ("sensor", "fault", "A 0.5", "A 1", "B 0.5", "B 1")
    assert len(rows) == 13 + 4
    gone = next(row for row in rows if row[:2] == ("lidar", "gone"))
    assert [bool(cell) for cell in gone[2:]] == [True, False, True, False]
    assert {entry["damage"] for entry in document["noise"]} == {
        "RMM r = 0.25", "RMM r = 0.5", "RMM r = 0.75", "NM low", "NM mid", "NM high",
    }  # fmt: skip
    paths = write_faults(tmp_path, document, "any2seg robustness")
    assert [path.name for path in paths] == ["robustness.json", "robustness.md", "robustness.svg"]
    assert json.loads(paths[0].read_text()) == document
    assert "![mIoU left over the severity of each fault](robustness.svg)" in paths[1].read_text()
    assert paths[2].read_text().count("<path") == 13 * 2


def test_exception_before_any_frame_is_read(folder: Path):
    other = settings(folder, beside=folder / "depth.safetensors")
    for asked, code, named in (
        (settings(folder, faults=("rust",)), "value-unknown", "rust"),
        (settings(folder, severities=(1.5,)), "value-range", "1.5"),
        (other, "value-conflict", "sensors"),
    ):
        with user_error(code, named):
            fault_table(asked, lambda *_: None)
    with user_error("value-conflict", "beams"):
        fault_trials(settings(folder, faults=("beams",)), VEHICLE, ("rgb", "depth"))
