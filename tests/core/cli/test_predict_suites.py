"""`any2seg predict` with the sensors of another suite, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from raised import assert_refused

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

SUITE = SensorSuite(
    "van",
    (
        Sensor("front", "F", "image"),
        Sensor("thermal", "T", "image", "thermal16", value_range=(28000, 32000)),
        Sensor("radar", "R", "points", value_range=(-20, 40)),
    ),
)
CALIBRATION = """
camera: {width: 71, height: 45, hfov_deg: 80}
sensors:
  thermal: {camera: {width: 41, height: 31, hfov_deg: 70}}
  radar: {to_camera: [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("van")
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(modalities=SUITE.members, head_width=32))
    save_checkpoint(path / "m.safetensors", model, InputContract(suite=SUITE, height=64, width=96), {})
    (path / "c.yaml").write_text(CALIBRATION)
    Image.fromarray(rng.integers(0, 256, (45, 71, 3), dtype=np.uint8)).save(path / "a.png")
    Image.fromarray(rng.integers(28000, 32000, (31, 41), dtype=np.uint16)).save(path / "t.png")
    rng.uniform([3, -2, -1, -20], [20, 2, 1, 40], (9, 4)).astype(np.float32).tofile(path / "r.bin")
    return path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "any2seg_core", "predict", "--checkpoint", "m.safetensors", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_value_all_sensors_of_the_suite_make_labels(folder):
    radar = ("--sensor", "radar=r.bin", "--point-columns", "4")
    done = run(folder, "--sensor", "front=a.png", "--sensor", "thermal=t.png", *radar, "--calib", "c.yaml", "-o",
               "all.png", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["used"] == ["front", "thermal", "radar"]
    assert Image.open(folder / "all.png").size == (71, 45)


def test_value_the_camera_alone_needs_no_calibration(folder):
    done = run(folder, "--sensor", "front=a.png", "-o", "front.png")
    assert done.returncode == 0, done.stderr
    assert Image.open(folder / "front.png").size == (71, 45)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sensor", "thermal=t.png"], ("calibration-missing", "thermal", "--calib")),
        (["--sensor", "sonar=a.png"], ("sensor-unknown", "'sonar'", "front, thermal, radar")),
        (["--rgb", "a.png"], ("sensor-unknown", "'rgb'", "front, thermal, radar")),
        (["--sensor", "thermal"], ("value-format", "thermal", "NAME=FILES")),
        (["--sensor", "front=a.png", "--sensor", "front=b.png"], ("value-twice", "front")),
    ],
)
def test_exception_sensors(folder, arguments, told):
    done = run(folder, *arguments, "-o", "none.png")
    assert done.returncode == 2
    assert_refused(done.stderr.strip(), *told)
    assert not (folder / "none.png").exists()
