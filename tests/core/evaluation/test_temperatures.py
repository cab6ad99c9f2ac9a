"""Temperatures of the confidence: against scipy's minimum, and from the command to the predictor."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_data import write_deliver
from raised import assert_refused
from scipy.optimize import minimize_scalar

from any2seg_core import Predictor
from any2seg_core.cli.main import main
from any2seg_core.evaluation.dataset import evaluate_dataset
from any2seg_core.evaluation.settings import EvaluateSettings
from any2seg_core.evaluation.temperatures import TemperatureFit
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.checkpoint_metadata import read_metadata
from any2seg_core.vocabulary.contract import InputContract


def drawn(temperature: float, seed: int = 0, K: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, K, 33, 21), and truth drawn from their softmax at this temperature, a fifth unlabelled."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, K, 33, 21, generator=generator)
    rows = (logits / temperature).softmax(dim=1).permute(0, 2, 3, 1).reshape(-1, K)
    truth = torch.multinomial(rows, 1, generator=generator).reshape(2, 33, 21)
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = 255
    return logits, truth.to(torch.uint8)


@pytest.mark.parametrize("temperature", [0.5, 0.93, 1.0, 2.6])
def test_value_equals_the_minimum_that_scipy_finds(temperature: float):
    logits, truth = drawn(temperature)
    fit = TemperatureFit()
    for one in range(2):  # frame by frame
        fit.update(logits[one : one + 1], truth[one : one + 1])
    ids, kept = truth.long(), truth != 255

    def surprise(value: float) -> float:
        losses = torch.nn.functional.cross_entropy(logits.double() / value, ids.clamp(max=6), reduction="none")
        return float(losses[kept].mean())

    expected = minimize_scalar(surprise, bounds=(0.2, 5.0), method="bounded", options={"xatol": 1e-6})
    found, least = fit.best()
    assert fit.pixels == int(kept.sum())
    assert found == pytest.approx(expected.x, rel=5e-3)
    assert found == pytest.approx(temperature, rel=0.1)  # it is what the truth was drawn with
    assert least == pytest.approx(expected.fun, abs=1e-4)
    assert fit.plain_surprise() == pytest.approx(surprise(1.0), abs=1e-6)


def test_value_logits_that_are_not_finite_and_truth_of_another_size_are_read_as_labels_are():
    logits, truth = drawn(1.0)
    logits[0, 3, 0, 0] = float("nan")
    double = truth.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    whole, doubled = TemperatureFit(), TemperatureFit()
    whole.update(logits, truth)
    doubled.update(logits, double)
    assert whole.pixels == int((truth != 255).sum()) - int(truth[0, 0, 0] != 255)
    assert np.isfinite(whole.surprises).all()
    np.testing.assert_array_equal(whole.surprises, doubled.surprises)


def test_value_of_subsets_that_were_not_fitted():
    contract = InputContract(temperatures={"R": 0.5, "RD": 0.8, "EL": 1.25})
    assert contract.temperature(("rgb",)) == 0.5
    assert contract.temperature(("lidar", "event")) == 1.25
    assert contract.temperature(("depth",)) == pytest.approx(0.5)  # the mean of one
    assert contract.temperature(("rgb", "lidar")) == pytest.approx(1.0)  # geometric mean of 0.8 and 1.25
    assert contract.temperature(("rgb", "depth", "event")) == 1.0
    assert InputContract().temperature(("rgb",)) == 1.0


@pytest.mark.parametrize("wrong", [{"DR": 1.0}, {"Q": 1.0}, {"": 1.0}, {"RR": 1.0}, {"R": 0.0}, {"R": float("nan")}])
def test_exception_temperatures_that_mean_nothing(wrong: dict):
    with pytest.raises(ValueError, match="temperatures"):
        InputContract(temperatures=wrong)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("calibrate")
    write_deliver(root / "data", {"train": 1, "val": 2}, (37, 66))
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=16)).eval()
    save_checkpoint(root / "all.safetensors", model, InputContract(height=32, width=64), {"command": "test"})
    return root


@pytest.fixture
def calibrate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command; its exit code, and what it wrote to both streams."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["any2seg", "calibrate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, *capsys.readouterr()

    return run


def test_value_the_command_keeps_labels_and_makes_confidences_likelier(folder: Path, calibrate):
    out = folder / "new.safetensors"
    code, printed, _ = calibrate(folder / "all.safetensors", folder / "data", "-o", out, "--json")
    assert not code
    told = json.loads(printed)
    assert len(told) == 15
    contract = load_checkpoint(out)[1]
    assert contract.temperatures == {letters: round(entry["temperature"], 4) for letters, entry in told.items()}
    origin = read_metadata(out)["provenance"]["temperatures"]
    assert (origin["data"], origin["split"]) == ("data", "val")  # checkpoints travel: no path of this machine
    for entry in told.values():
        assert entry["surprise"] <= entry["plain_surprise"]
    documents = [
        evaluate_dataset(EvaluateSettings(checkpoint=path, data=folder / "data"), lambda *_: None)
        for path in (folder / "all.safetensors", out)
    ]
    assert documents[0]["per_frame"] == documents[1]["per_frame"]  # right, true and predicted pixels of every class
    for letters, entry in told.items():
        for document, key in zip(documents, ("plain_ece", "ece"), strict=True):
            assert document["calibration"][letters]["ece"] == pytest.approx(100 * entry[key], abs=1e-3)


def test_value_the_predictor_divides_the_logits_of_what_it_used(folder: Path):
    model, contract, _ = load_checkpoint(folder / "all.safetensors")
    planes = np.random.default_rng(0).integers(1, 255, (2, 32, 64, 3), np.uint8)
    samples = {"rgb": planes[0], "lidar": planes[1]}
    hot = contract.model_copy(update={"temperatures": {"RL": 4.0, "R": 0.25}})
    plain, softened = Predictor(model, contract), Predictor(model, hot)
    with softened.engine.computing():
        logits = softened.engine.decode(softened.engine.fuse(softened.engine.encode(
            softened.engine.images(samples, contract)
        )))  # fmt: skip
    expected = torch.nn.functional.interpolate(logits, (32, 64), mode="bilinear").div(4.0).softmax(1).amax(1)[0]
    both = softened(samples)
    np.testing.assert_allclose(both.confidence, expected.numpy(), atol=2e-6)
    np.testing.assert_array_equal(both.labels, plain(samples).labels)
    alone = softened.subsets(samples, [("rgb",), ("rgb", "lidar")])
    assert (alone["rgb",].confidence >= plain({"rgb": planes[0]}).confidence - 1e-6).all()
    np.testing.assert_array_equal(alone["rgb", "lidar"].confidence, both.confidence)


def test_exception_an_output_that_exists_stays(folder: Path, tmp_path: Path, calibrate):
    there = tmp_path / "there.safetensors"
    there.write_text("mine")
    code, _, told = calibrate(folder / "all.safetensors", folder / "data", "-o", there)
    assert code == 2
    assert_refused(told, "output-exists", there)
    assert there.read_text() == "mine"


def test_exception_frames_without_labels(folder: Path, tmp_path: Path, calibrate):
    write_deliver(tmp_path / "data", {"val": 1}, (37, 66))
    for path in (tmp_path / "data/semantic").rglob("*.png"):
        cv2.imwrite(str(path), np.zeros((37, 66, 3), np.uint8))  # DELIVER's 0 is unlabelled
    new = tmp_path / "new.safetensors"
    code, _, told = calibrate(folder / "all.safetensors", tmp_path / "data", "-o", new)
    assert code == 2
    assert_refused(told.splitlines()[-1], "data-unlabelled", "split val", "RDEL")
    assert not new.exists()
