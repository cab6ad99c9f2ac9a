"""The command as a user types it: own process, exit codes, one line per error, nothing half-written."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from raised import assert_refused
from safetensors.torch import load_file, save_file

import any2seg_core
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import read_metadata, save_checkpoint
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract

HEIGHT, WIDTH = 48, 72


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tiny checkpoint, a calibration and one file per sensor."""
    path = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    save_checkpoint(path / "m.safetensors", Any2Seg(ModelConfig(head_width=32)), InputContract(height=64, width=96), {})
    transform = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    calibration = Calibration(camera=CameraModel.from_fov(WIDTH, HEIGHT, 90.0), lidar_to_camera=transform)
    save_calibration(path / "c.yaml", calibration)
    Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path / "a.png")
    Image.fromarray(rng.integers(500, 20000, (HEIGHT, WIDTH), dtype=np.uint16)).save(path / "d.png")
    rng.uniform([1, -3, -1, 0], [20, 3, 2, 1], (400, 4)).astype(np.float32).tofile(path / "b.bin")
    x, y = rng.integers(0, WIDTH, 50), rng.integers(0, HEIGHT, 50)
    np.savez(path / "e.npz", x=x, y=y, t_ns=np.arange(50), p=[1, 0] * 25)
    return path


def run(folder, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "any2seg_core", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_value_the_version_is_that_of_the_package(folder):
    done = run(folder, "--version")
    assert (done.returncode, done.stdout) == (0, f"any2seg {any2seg_core.__version__}\n")


FILES = {"--rgb": "a.png", "--depth": "d.png", "--event": "e.npz", "--lidar": "b.bin"}


@pytest.mark.parametrize("sensors", ["--rgb --lidar", "--lidar", "--depth --event", "--rgb --depth --event --lidar"])
def test_value_predict_any_subset(folder, tmp_path, sensors):
    inputs = [word for flag in sensors.split() for word in (flag, FILES[flag])]
    out = tmp_path / "out.png"
    inputs += ["--calib", "c.yaml", "--checkpoint", "m.safetensors"]
    done = run(folder, "predict", *inputs, "-o", str(out), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["used"] == [flag[2:] for flag in FILES if flag in sensors.split()]
    labels = np.asarray(Image.open(out))
    assert labels.shape == (HEIGHT, WIDTH)
    assert labels.dtype == np.uint8
    assert labels.max() < 25
    assert sum(document["share"].values()) == pytest.approx(1.0, abs=1e-3)


def test_value_predict_reads_foreign_files_and_says_how(folder, tmp_path):
    """The same scan as nuScenes and KITTI write it, and a picture that was stored lying on its side."""
    rng = np.random.default_rng(1)
    scan = np.column_stack([rng.uniform([-20, -9, -2], [30, 9, 3], (800, 3)), rng.random(800)]).astype(np.float32)
    scan.tofile(tmp_path / "kitti.bin")
    ring = np.arange(800, dtype=np.float32) % 32
    np.column_stack([scan[:, :3], scan[:, 3] * 255, ring]).astype(np.float32).tofile(tmp_path / "a.pcd.bin")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / "a.png").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "side.png", exif=exif)
    common = ["--calib", "c.yaml", "--checkpoint", "m.safetensors"]
    for name in ("kitti.bin", "a.pcd.bin"):
        done = run(folder, "predict", "--lidar", str(tmp_path / name), *common, "-o", str(tmp_path / f"{name}.png"))
        assert done.returncode == 0, done.stderr
    assert "read as rows of 5 float32" in done.stderr and "0..255" in done.stderr
    one, other = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("kitti.bin", "a.pcd.bin"))
    assert (one == other).mean() > 0.99  # intensity went through 0..255
    done = run(folder, "predict", "--rgb", str(tmp_path / "side.png"), "--checkpoint", "m.safetensors", "-o",
               str(tmp_path / "side_out.png"))  # fmt: skip
    assert "turned upright" in done.stderr
    run(folder, "predict", "--rgb", "a.png", "--checkpoint", "m.safetensors", "-o", str(tmp_path / "out.png"))
    upright, plain = (np.asarray(Image.open(tmp_path / name)) for name in ("side_out.png", "out.png"))
    np.testing.assert_array_equal(upright, plain)


def test_value_predict_camera_alone_needs_no_calibration_and_writes_pictures(folder, tmp_path):
    done = run(folder, "predict", "--rgb", "a.png", "-o", str(tmp_path / "o.png"), "--color", str(tmp_path / "c.png"),
               "--confidence", str(tmp_path / "p.png"), "--checkpoint", "m.safetensors")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rgb fused" in done.stdout
    assert re.fullmatch(r"any2seg: mean confidence 0\.\d\d is low: .*\n", done.stderr)  # random weights
    assert np.asarray(Image.open(tmp_path / "c.png")).shape == (HEIGHT, WIDTH, 3)
    assert np.asarray(Image.open(tmp_path / "p.png")).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--rgb a.png --checkpoint none.safetensors", ("checkpoint-missing", "none.safetensors")),
        ("--rgb a.png --checkpoint a.png", ("checkpoint-foreign", "a.png")),
        ("", ("sensor-none", "--rgb")),
        ("--lidar b.bin", ("calibration-missing", "--calib")),
        ("--rgb none.png", ("file-missing", "none.png")),
        ("--rgb c.yaml", ("file-format", "c.yaml")),
        ("--lidar a.png --calib c.yaml", ("file-format", "a.png")),
        ("--lidar b.bin --calib none.yaml", ("file-missing", "none.yaml")),
        ("--lidar b.bin --calib a.png", ("text-syntax", "a.png")),
        ("--lidar b.bin --calib m.safetensors", ("text-syntax", "m.safetensors")),
        ("--rgb other.png --calib c.yaml", ("calibration-size", "other.png", "10x10", "c.yaml", "72x48")),
        ("--rgb a.png --device cuda:99", ("device-missing", "cuda")),
    ],
)
def test_exception_one_line_exit_code_2_nothing_written(folder, tmp_path, arguments, told):
    Image.new("RGB", (10, 10)).save(folder / "other.png")
    words_given = arguments.split()
    if "--checkpoint" not in words_given:
        words_given += ["--checkpoint", "m.safetensors"]
    done = run(folder, "predict", *words_given, "-o", str(tmp_path / "out.png"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("any2seg: ")
    assert_refused(done.stderr, *told)
    assert list(tmp_path.iterdir()) == []


def test_exception_unknown_modality_and_wrong_suffix(folder, tmp_path):
    done = run(folder, "predict", "--radar", "a.png", "-o", str(tmp_path / "o.png"))
    assert done.returncode == 2
    assert_refused(done.stderr, "argument-unknown", "--radar")
    done = run(folder, "predict", "--rgb", "a.png", "-o", str(tmp_path / "o.jpg"), "--checkpoint", "m.safetensors")
    assert done.returncode == 2
    assert_refused(done.stderr, "file-name", "o.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-o {0}/o.png --color {0}/c.jpg", ("file-name", "c.png")),
        ("-o {0}/o.png --confidence {0}/o.png", ("output-is-input", "o.png")),
        ("-o {0}/folder.png", ("output-unwritable", "folder.png")),
        ("-o ./a.png", ("output-is-input", "a.png")),
        ("-o {0}/file/o.png", ("output-unwritable", "file")),
        (f"-o {{0}}/{'n' * 300}.png", ("file-system", "nnn")),
    ],
)
def test_exception_outputs_are_checked_before_anything_is_written(folder, tmp_path, arguments, told):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    before = (folder / "a.png").read_bytes()
    arguments = arguments.format(tmp_path).split()
    done = run(folder, "predict", "--rgb", "a.png", "--checkpoint", "m.safetensors", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert_refused(done.stderr, *told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]
    assert (folder / "a.png").read_bytes() == before


def test_value_predict_leaves_a_lidar_without_a_point_in_the_picture_out_and_says_so(folder, tmp_path):
    np.full((40, 4), [-5, 0, 0, 1], np.float32).tofile(tmp_path / "behind.bin")
    given = ["--calib", "c.yaml", "--checkpoint", "m.safetensors", "--lidar", str(tmp_path / "behind.bin")]
    done = run(folder, "predict", "--rgb", "a.png", *given, "-o", str(tmp_path / "o.png"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["used"] == ["rgb"] and list(json.loads(done.stdout)["empty"]) == ["lidar"]
    line, note = done.stderr.strip().splitlines()
    assert line.startswith("any2seg: lidar: none of its 40 points falls into the picture: 40 ") and "left out" in line
    assert "confidence" in note
    done = run(folder, "predict", *given, "-o", str(tmp_path / "none.png"))
    assert done.returncode == 2 and not (tmp_path / "none.png").exists()
    assert_refused(done.stderr, "sensor-empty", "lidar: ", "40 points")


def test_exception_info_refuses_weights_that_are_not_finite(folder, tmp_path):
    tensors, metadata = load_file(folder / "m.safetensors"), read_metadata(folder / "m.safetensors")
    tensors["head.classifier.bias"][3] = np.nan
    save_file(tensors, tmp_path / "bad.safetensors", metadata={"any2seg": json.dumps(metadata)})
    for command in (["info"], ["predict", "--rgb", "a.png", "-o", str(tmp_path / "o.png"), "--checkpoint"]):
        done = run(folder, *command, str(tmp_path / "bad.safetensors"))
        assert done.returncode == 2, done.stderr
        assert_refused(done.stderr, "not-finite", "bad.safetensors", "head.classifier.bias", "1 of 25 numbers")


def test_value_info_shows_the_contract(folder):
    done = run(folder, "info", "m.safetensors", "--json")
    assert json.loads(done.stdout)["contract"]["height"] == 64
    done = run(folder, "info", "c.yaml")
    assert done.returncode == 2
    assert_refused(done.stderr, "checkpoint-foreign", "c.yaml")


def test_smoke_help_has_an_example(folder):
    for command in (["predict"], ["info"], ["demo"], ["drive", "deliver"], ["drive", "bag"]):
        done = run(folder, *command, "--help")
        assert done.returncode == 0
        assert "Example: any2seg" in done.stdout
