"""Wrong calls of every command: one true line, exit code 2, nothing written."""

from __future__ import annotations

import importlib
import re
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
from bag_files import small_entries, write_bag
from PIL import Image
from wrong_calls import BAG, DATA, DRIVE, OTHERS, PREDICT, REPLAY, TRAINING

from any2seg_core.cli.main import main
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One good file of each kind, and empty and foreign ones."""
    root = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    save_checkpoint(root / "m.safetensors", Any2Seg(ModelConfig(head_width=32)), InputContract(height=32, width=32), {})
    matrix = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    save_calibration(root / "c.yaml", Calibration(CameraModel.from_fov(72, 48, 90.0), lidar_to_camera=matrix))
    Image.fromarray(random.integers(0, 256, (48, 72, 3), dtype=np.uint8)).save(root / "a.png")
    Image.fromarray(random.integers(500, 20000, (48, 72), dtype=np.uint16)).save(root / "d.png")
    random.uniform([1, -3, -1, 0], [20, 3, 2, 1], (400, 4)).astype(np.float32).tofile(root / "b.bin")
    for ending in ("png", "safetensors", "yaml", "npz", "bin", "mcap"):
        (root / f"empty.{ending}").write_bytes(b"")
    (root / "text.txt").write_text("just words\n")
    (root / "folder").mkdir()
    write_bag(root / "bag", small_entries(4))
    for split in ("train", "val"):
        for name in VEHICLE.members:
            _write(root / "data" / VEHICLE.sensor(name).folder, split, VEHICLE.sensor(name).suffix)
        _write(root / "data" / "semantic", split, "semantic")
    return root


def _write(folder, split, suffix):
    path = folder / "sun" / split / "MAP_1_point2" / f"000001_{suffix}_front.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.full((32, 32, 3), 3, np.uint8)).save(path)


@pytest.fixture(autouse=True)
def here(files, tmp_path, monkeypatch):
    """A copy of the files as the present folder, and the signal handler of before afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    shutil.copytree(files, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"
    signal.signal(signal.SIGTERM, before)


def ended(function) -> int:
    try:
        return function()
    except SystemExit as end:
        return end.code


def assert_one_line(code, capsys, here, files, told, program):
    out, err = capsys.readouterr()
    assert code == 2, (code, out, err)
    (line,) = [each for each in err.strip().splitlines() if " elapsed" not in each]  # progress on a slow machine
    assert line.startswith(f"{program}"), line
    assert told in line, line
    assert re.search(r" \[[a-z-]+\]$", line), line
    assert "Traceback" not in out and not out.strip()
    assert sorted(path.name for path in here.rglob("*")) == sorted(path.name for path in files.rglob("*"))


@pytest.mark.parametrize(("call", "told"), [*PREDICT, *OTHERS, *DATA, *BAG, *DRIVE])
def test_exception_a_wrong_call_of_the_command_is_one_line(call, told, monkeypatch, capsys, here, files):
    if call.startswith("drive"):
        pytest.importorskip("open3d")
    words = call.split()
    if words[0] == "predict" and "--checkpoint" not in words:
        words += ["--checkpoint", "m.safetensors"]
    monkeypatch.setattr(sys, "argv", ["any2seg", *words])
    assert_one_line(ended(main), capsys, here, files, told, "any2seg")


@pytest.mark.parametrize(("call", "told"), REPLAY)
def test_exception_a_wrong_replay_is_one_line(call, told, monkeypatch, capsys, here, files):
    pytest.importorskip("rclpy")
    from any2seg_ros.replay import main as replay

    monkeypatch.setattr(sys, "argv", ["replay", *call.split()[2:]])
    assert_one_line(ended(replay), capsys, here, files, told, "any2seg bag replay: ")


@pytest.mark.parametrize(("call", "told"), TRAINING)
def test_exception_a_wrong_call_of_a_training_script_is_one_line(call, told, capsys, here, files):
    script, *words = call.split()
    module = importlib.import_module(f"any2seg_training.{script}")
    assert_one_line(module.main(words), capsys, here, files, told, f"{script}: ")


def test_value_there_are_more_than_eighty():
    calls = [call for call, _ in (*PREDICT, *OTHERS, *DATA, *BAG, *REPLAY, *DRIVE, *TRAINING)]
    assert len(set(calls)) == len(calls) >= 80
