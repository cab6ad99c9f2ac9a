"""`any2seg predict`: what it says of sensors that it leaves out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from any2seg_core.base.errors import UserError
from any2seg_core.cli.main import app
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("predict")
    torch.manual_seed(0)
    save_checkpoint(path / "m.safetensors", Any2Seg(ModelConfig(head_width=32)), InputContract(height=32, width=64), {})
    transform = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    save_calibration(path / "c.yaml", Calibration(CameraModel.from_fov(61, 37, 90.0), lidar_to_camera=transform))
    Image.fromarray(np.full((37, 61, 3), 3, np.uint8)).save(path / "dark.png")
    points = np.random.default_rng(0).uniform([1, -3, -1, 0], [20, 3, 2, 1], (400, 4))
    np.save(path / "p.npy", points.astype(np.float32))
    (path / "lenient.yaml").write_text("/**:\n  ros__parameters:\n    health: {black_level: 2}\n")
    return path


def predict(folder, *words):
    files = {word: str(folder / word) for word in ("dark.png", "p.npy", "c.yaml", "m.safetensors", "lenient.yaml")}
    arguments = [files.get(word, word) for word in (*words, "--checkpoint", "m.safetensors")]
    return CliRunner().invoke(app, ["predict", *arguments, "--json"])


def test_value_a_black_image_is_left_out_and_the_lidar_is_used(folder, tmp_path):
    done = predict(folder, "--rgb", "dark.png", "--lidar", "p.npy", "--calib", "c.yaml", "-o", str(tmp_path / "o.png"))
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["used"] == ["lidar"]
    assert document["left_out"]["rgb"]["reason"] == "black" and document["empty"] == {}
    assert "any2seg: rgb: camera image is black" in done.stderr
    assert np.asarray(Image.open(tmp_path / "o.png")).shape == (37, 61)


def test_value_thresholds_are_those_of_the_nodes_parameter_file(folder, tmp_path):
    done = predict(folder, "--rgb", "dark.png", "--params", "lenient.yaml", "-o", str(tmp_path / "o.png"))
    assert done.exit_code == 0 and json.loads(done.stdout)["used"] == ["rgb"]


def test_exception_no_sensor_left_writes_nothing(folder, tmp_path):
    done = predict(folder, "--rgb", "dark.png", "-o", str(tmp_path / "o.png"))
    assert isinstance(done.exception, UserError) and done.exception.code == "sensor-empty"
    assert "rgb: camera image is black" in str(done.exception)
    assert not list(tmp_path.iterdir())
