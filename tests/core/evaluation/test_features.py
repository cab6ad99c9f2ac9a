"""Principal components beside the eigenvectors of the covariance, variance by hand, the command from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_deliver
from PIL import Image
from raised import user_error

from any2seg_core.cli.main import main
from any2seg_core.evaluation.features import FeatureSample, explained_by, principal_components, sample_features
from any2seg_core.evaluation.settings import FeatureSettings
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.reports.features import features_document, features_picture
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("features")
    write_deliver(root / "data", {"train": 1, "val": 1}, (37, 66))
    for name, fusion in (("mff", "mff"), ("linear", "linear")):
        torch.manual_seed(0)
        model = Any2Seg(ModelConfig(head_width=16, fusion=fusion)).eval()
        save_checkpoint(root / f"{name}.safetensors", model, InputContract(height=32, width=64), {})
    return root


def test_exception_a_level_at_which_sensors_are_fused_already(folder: Path, tmp_path: Path):
    early, scale = tmp_path / "early.safetensors", {"lidar": 0.5}
    model = Any2Seg(ModelConfig(head_width=16, fusion="mff_early", mff_early={"scale": scale})).eval()
    save_checkpoint(early, model, InputContract(height=64, width=64, scale=scale), {})
    given = {"checkpoint": early, "data": folder / "data", "points": 3}
    sample = sample_features(FeatureSettings(**given, level=2), lambda *_: None)
    assert sample.features.shape == (2 * 4 * 3, 64)
    with user_error("model-unsuitable", "early.safetensors", "--level 2"):
        sample_features(FeatureSettings(**given, level=3), lambda *_: None)


@pytest.mark.parametrize("shape", [(40, 7), (5, 9)])
def test_value_components_are_the_eigenvectors_of_the_covariance(shape):
    features = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    points, shares = principal_components(features)
    values, vectors = np.linalg.eigh(np.cov(features.T))
    assert shares == pytest.approx(values[::-1][:2] / values.sum())
    expected = (features - features.mean(axis=0)) @ vectors[:, ::-1][:, :2]
    for own, reference in zip(points.T, expected.T, strict=True):
        assert abs(own @ reference) == pytest.approx(np.linalg.norm(own) * np.linalg.norm(reference))
        assert np.linalg.norm(own) == pytest.approx(np.linalg.norm(reference))


def test_value_features_that_do_not_vary_have_no_components():
    points, shares = principal_components(np.ones((3, 4)))
    assert not points.any() and not shares.any()
    assert np.isnan(explained_by(np.ones((3, 4)), np.array([0, 1, 1])))


def test_value_variance_between_groups_by_hand():
    features = np.array([[0.0], [2.0], [4.0], [6.0]])  # mean 3, total 20; group means 1 and 5: between 16
    assert explained_by(features, np.array([0, 0, 1, 1])) == pytest.approx(16 / 20)
    assert explained_by(features, np.array([0, 1, 1, 0])) == pytest.approx(0.0)


def test_value_every_sensor_is_sampled_at_the_same_labelled_places(folder: Path):
    settings = FeatureSettings(checkpoint=folder / "mff.safetensors", data=folder / "data", points=3, level=1)
    sample = sample_features(settings, lambda *_: None)
    assert sample.frames == 2
    assert sample.features.shape == (2 * 4 * 3, 32)
    per_sensor = [sample.classes[sample.sensors == number] for number in range(4)]
    assert all(np.array_equal(per_sensor[0], each) for each in per_sensor[1:])
    assert (sample.classes < 254).all()
    again = sample_features(settings, lambda *_: None)
    np.testing.assert_array_equal(sample.features, again.features)
    document = features_document(sample)
    assert document["per_sensor"] == dict.fromkeys(VEHICLE.members, 6)


def test_value_the_picture_shows_every_dot_in_the_colours_of_its_sensor_and_class():
    features = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 3.0]])
    which, classes = np.array([0, 1, 1]), np.array([6, 6, 12], np.uint8)
    sample = FeatureSample(features, which, classes, ("rgb", "lidar"), VEHICLE, DELIVER, 1)
    pixels = features_picture(sample)
    left, right = np.split(pixels[44:684], [24 + 640 + 12], axis=1)  # without title and legend

    def dots(panel, colour):
        return (panel == np.asarray(colour)).all(axis=-1).sum()

    assert dots(left, (0x00, 0x72, 0xB2)) * 2 == dots(left, (0x00, 0x9E, 0x73)) > 40
    assert dots(right, DELIVER.colours[6]) == 2 * dots(right, DELIVER.colours[12]) > 40


def run(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["any2seg", "features", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0, *capsys.readouterr()


def test_smoke_command_line(folder: Path, tmp_path: Path, monkeypatch, capsys):
    picture = tmp_path / "f.png"
    code, out, _ = run(monkeypatch, capsys, folder / "mff.safetensors", folder / "data", "-o", picture, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["frames"] == 2 and 0 <= document["between_sensors"] <= 100
    assert Image.open(picture).size[0] == 2 * (640 + 24) + 24


def test_exception_bad_input_is_one_line_and_exit_2(folder: Path, tmp_path: Path, monkeypatch, capsys):
    for checkpoint, out, code in (("linear", "f.png", "model-unsuitable"), ("mff", "f.jpg", "file-name")):
        path = folder / f"{checkpoint}.safetensors"
        status, _, error = run(monkeypatch, capsys, path, folder / "data", "--out", tmp_path / out)
        assert status == 2 and len(error.splitlines()) == 1
        assert f"[{code}]" in error
    assert list(tmp_path.iterdir()) == []
