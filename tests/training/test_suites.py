"""Suites of one and of five sensors from training to a report: nothing counts on four sensors or knows their names."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_data import write_deliver
from raised import user_error
from tiny_run import ALONE, settings, train_until_killed

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.check import check_tree
from any2seg_core.data.images import CorruptFileError
from any2seg_core.evaluation.dataset import evaluate_dataset
from any2seg_core.evaluation.settings import EvaluateSettings
from any2seg_core.models import Any2Seg
from any2seg_core.reports.dataset import write_documents
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.vocabulary.modalities import sensor_suite
from any2seg_training.config import load_config
from any2seg_training.splits import open_split
from any2seg_training.train import train

FIVE = """
name: yard
camera: front
sensors:
  front: {kind: image, letter: C, title: front camera}
  side: {kind: image, letter: S, format: grey}
  thermal: {kind: image, letter: T, format: thermal16, range: [28000, 32000]}
  lidar: {kind: points, letter: L, title: LiDAR}
  radar: {kind: points, letter: R, range: [-20, 40]}
"""
ONE = "name: eye\nsensors: {eye: {kind: image, letter: E, title: only camera}}\n"
LETTERS = ["".join(each) for size in range(1, 6) for each in combinations("CSTLR", size)]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The suite's file, and a tree of it in DELIVER's layout."""
    root = tmp_path_factory.mktemp("yard")
    (root / "yard.yaml").write_text(FIVE)
    suite = sensor_suite(root / "yard.yaml")
    return root / "yard.yaml", write_deliver(root / "data", {"train": 4, "val": 1}, (64, 96), suite=suite)


@pytest.fixture(scope="module")
def trained(yard: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps, each with a state."""
    out = tmp_path_factory.mktemp("run")
    train(settings(yard[1], out, suite=str(yard[0]), steps=3, save_every=1, ema_decay=0.0), ALONE)
    return out


def test_value_a_checkpoint_of_five_sensors_holds_its_suite_and_judges_all_31_subsets(trained: Path, yard):
    model, contract, provenance = load_checkpoint(trained / "final.safetensors")
    assert contract.suite == sensor_suite(yard[0])
    assert contract.modalities == model.modalities == ("front", "side", "thermal", "lidar", "radar")
    assert contract.encodings["thermal"] == "range8-1"
    assert list(provenance["results"]["subsets"]) == LETTERS
    assert "suite" not in provenance["config"]  # a place on one machine; the contract has it whole
    assert all(np.isfinite(line["loss"]) for line in lines(trained) if line["kind"] == "step")


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_value_encoder_and_head_of_five_sensors_are_those_of_one(trained: Path):
    """A further sensor costs no parameter."""
    model, _, _ = load_checkpoint(trained / "final.safetensors")
    alone = Any2Seg(model.config.model_copy(update={"modalities": ("front",)}))
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in alone.state_dict().items()
    }


def test_value_resuming_five_sensors_is_exact(trained: Path, yard, tmp_path: Path):
    """Two steps, killed, and one more from their state equal three; the suite's file may have moved."""
    given = {"steps": 3, "save_every": 2, "ema_decay": 0.0}
    train_until_killed(settings(yard[1], tmp_path, suite=str(yard[0]), **given))
    moved = tmp_path / "moved.yaml"
    moved.write_text(FIVE)
    train(settings(yard[1], tmp_path, suite=str(moved), resume=True, **given), ALONE)
    whole, parts = (torch.load(out / "last.pt", weights_only=True)["model"] for out in (trained, tmp_path))
    assert [name for name, value in whole.items() if not torch.equal(value, parts[name])] == []
    losses = [[line["loss"] for line in lines(out) if line["kind"] == "step"] for out in (trained, tmp_path)]
    assert len(losses[0]) == 3
    assert losses[0] == losses[1]


def test_exception_a_run_does_not_go_on_with_other_sensors(trained: Path, yard, tmp_path: Path):
    other = tmp_path / "yard.yaml"
    other.write_text(FIVE.replace("[28000, 32000]", "[27000, 32000]"))
    config = settings(yard[1], trained, suite=str(other), steps=4, resume=True)
    with user_error("resume-mismatch", "sensors.thermal.range", "27000"):
        train(config, ALONE)


def test_value_reports_of_five_sensors_show_them_by_title_and_letter(trained: Path, yard, tmp_path: Path):
    views: list = []
    request = EvaluateSettings(checkpoint=trained / "final.safetensors", data=yard[1], noise=True)
    document = evaluate_dataset(request, lambda *_: None, views)
    assert list(document["subsets"]) == LETTERS
    assert document["monotonicity"]["steps"] == 5 * 15  # adding one to each of the 15 subsets without it
    assert set(document["monotonicity"]["by_sensor"]) == set("CSTLR")
    assert document["data_set"] is None and document["published"] == []  # these are not DELIVER's sensors
    assert document["mm_robust"] is None  # no depth
    stored = load_checkpoint(trained / "final.safetensors")[2]["results"]["subsets"]
    for letters in ("C", "TLR", "CSTLR"):
        assert document["subsets"][letters]["miou_present"] == pytest.approx(stored[letters]["miou_present"], abs=0.02)
    write_documents(tmp_path, document, views)
    page = (tmp_path / "report.html").read_text()
    for word in ("front camera", "thermal", "radar", "LiDAR", ">CSTLR<", ">TL<"):
        assert word in page
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sum(line["kind"] == "subset" for line in results) == 31


def test_value_an_evaluation_of_some_subsets_has_all_sensors_last(trained: Path, yard):
    request = EvaluateSettings(checkpoint=trained / "final.safetensors", data=yard[1], subsets="thermal,R,all,CL")
    document = evaluate_dataset(request, lambda *_: None)
    assert list(document["subsets"]) == ["T", "R", "CL", "CSTLR"]
    assert document["failure_expectation"] == {"0.2": None, "0.1": None, "0.05": None}
    with user_error("sensor-unknown", "'E'"):
        evaluate_dataset(request.model_copy(update={"subsets": "E"}), lambda *_: None)


def test_value_one_sensor_and_one_sample_at_a_time(tmp_path: Path):
    (tmp_path / "eye.yaml").write_text(ONE)
    suite = sensor_suite(tmp_path / "eye.yaml")
    data = write_deliver(tmp_path / "data", {"train": 2, "val": 1}, (37, 53), suite=suite)
    given = {"suite": str(tmp_path / "eye.yaml"), "batch_size": 1, "steps": 2, "method": "m3l"}
    train(settings(data, tmp_path / "run", **given), ALONE)
    model, contract, provenance = load_checkpoint(tmp_path / "run" / "final.safetensors")
    assert contract.suite == suite and model.modalities == ("eye",)
    assert list(provenance["results"]["subsets"]) == ["E"]
    request = EvaluateSettings(checkpoint=tmp_path / "run" / "final.safetensors", data=data, noise=True)
    document = evaluate_dataset(request, lambda *_: None)
    assert document["monotonicity"] is None
    assert document["failure_expectation"]["0.2"] == pytest.approx(document["subsets"]["E"]["miou_all"], abs=1e-3)
    write_documents(tmp_path / "report", document)
    assert "only camera" not in (tmp_path / "report" / "report.html").read_text()  # no picture was asked for


@pytest.mark.parametrize(
    "options",
    [
        {"method": "m3l", "m3l": {"masking": {"CSTLR": 1, "TL": 2}}},
        {"fusion": "mean_predictions", "lambda_p": 0.3},
        {"fusion": "linear", "modality_dropout": "uniform_subsets"},
        {"fusion": "early_concat", "modality_dropout": {"CSTLR": 3, "thermal+radar": 1}},
        {"lambda_f": 0.02, "modalities": "side,thermal"},
    ],
    ids=lambda options: next(iter(options)) + "-" + str(next(iter(options.values()))),
)
def test_smoke_methods_and_fusions_take_five_sensors(yard, tmp_path: Path, options: dict):
    results = train(settings(yard[1], tmp_path, suite=str(yard[0]), steps=1, eval_subsets="all", **options), ALONE)
    (letters,) = results["subsets"]
    assert letters == ("ST" if "modalities" in options else "CSTLR")
    assert 0 <= results["subsets"][letters]["miou_present"] <= 100
    assert all(np.isfinite(line["loss"]) for line in lines(tmp_path) if line["kind"] == "step")


def test_value_a_tree_of_more_folders_is_read_with_its_suite(yard):
    suite = sensor_suite(yard[0])
    frames = open_dataset("auto", yard[1], "val", suite=suite)
    assert frames.modalities == suite.members
    path = frames.files(frames.frames[0])["radar"][0]
    assert path.relative_to(yard[1]).parts[0] == "radar" and path.name == "000000_radar_front.png"
    np.testing.assert_array_equal(frames[0].planes["radar"], cv2.imread(str(path))[..., ::-1])
    config = settings(yard[1], Path("o"), suite=str(yard[0]), modalities="T,radar")
    assert open_split(config, "val", "none").modalities == ("thermal", "radar")
    report = check_tree(yard[1], suite=suite)
    assert report.count == 0
    assert set(report.encodings) == set(suite.members)


def test_value_counts_of_a_thermal_camera_are_brought_to_its_range(yard, tmp_path: Path):
    """28000 is 0 and 32000 is 255, what lies outside is cut; a plane of 8 bits stays as it is."""
    suite = sensor_suite(yard[0])
    data = write_deliver(tmp_path, {"val": 1}, (32, 40), suite=suite)
    frames = open_dataset("deliver", data, "val", "thermal", suite=suite)
    first, second = (frames.files(frame)["thermal"][0] for frame in frames.frames)
    counts = np.full((32, 40), 30000, np.uint16)
    counts[0, :3] = 27000, 32000, 65535
    assert cv2.imwrite(str(first), counts)
    plane = frames[0].planes["thermal"]
    assert plane.shape == (32, 40, 3)
    assert plane[0, :4, 1].tolist() == [0, 255, 255, 128]
    np.testing.assert_array_equal(frames[1].planes["thermal"], cv2.imread(str(second))[..., ::-1])
    assert cv2.imwrite(str(first), np.zeros((32, 40, 3), np.uint16))
    with user_error("file-content", first.name, kind=CorruptFileError):
        frames[0]


def test_exception_suites_that_do_not_fit_are_told(yard, trained: Path, tmp_path: Path):
    vehicle = write_deliver(tmp_path / "vehicle", {"train": 1, "val": 1})
    with user_error("data-empty", "front"):  # no such folder in a tree of the vehicle
        open_dataset("deliver", vehicle, "val", suite=sensor_suite(yard[0]))
    with user_error("option-unsupported", "suite=yard", "muses"):
        open_dataset("muses", tmp_path, "val", suite=sensor_suite(yard[0]))
    request = EvaluateSettings(checkpoint=trained / "final.safetensors", data=vehicle, suite="vehicle")
    with user_error("sensor-absent", "front", "suite=FILE"):
        evaluate_dataset(request, lambda *_: None)
    with user_error("value-unknown", "suite='yrad'"):
        load_config([f"data={vehicle}", "out=o", "suite=yrad"])
    with user_error("sensor-unknown", "'X'"):
        train(settings(yard[1], tmp_path / "run", suite=str(yard[0]), eval_subsets="X"), ALONE)
    assert not (tmp_path / "run").exists()
