"""The notebooks under examples/, run as scripts on small data."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import fake_car
import numpy as np
import pytest
from PIL import Image

from any2seg_core import Calibration, CameraModel, Predictor, SensorRig, load_calibration
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.sensors.calibration import save_calibration

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
WIDTH, HEIGHT = 75, 61


def run(monkeypatch, capsys, name, argument):
    monkeypatch.setattr(sys, "argv", [name, str(argument)])
    runpy.run_path(str(ROOT / "examples" / name))
    return capsys.readouterr().out


@pytest.fixture()
def folder(tmp_path):
    """Two moments, one of the camera alone and one with a cloud, and a third whose only file is broken."""
    random = np.random.default_rng(5)
    for sensor in ("rgb", "lidar", "depth"):
        (tmp_path / sensor).mkdir()
    for name in ("one", "two"):
        Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "rgb" / f"{name}.png")
    points = random.uniform([3, -4, -1, 0], [30, 4, 2, 1], (400, 4)).astype(np.float32)
    points.tofile(tmp_path / "lidar" / "two.bin")
    (tmp_path / "depth" / "three.png").write_bytes(b"no picture")
    camera = CameraModel.from_fov(WIDTH, HEIGHT, 91.0)
    save_calibration(tmp_path / "calibration.yaml", Calibration(camera, lidar_to_camera=LIDAR_TO_CAMERA))
    return tmp_path


def test_value_labels_of_a_folder_are_those_of_the_predictor(monkeypatch, capsys, folder):
    text = run(monkeypatch, capsys, "segment_a_folder.py", folder)
    assert "3 moments" in text
    assert "one: fused rgb\n" in text
    assert "two: fused rgb, lidar\n" in text
    assert "three: " in text
    samples = {"rgb": np.asarray(Image.open(folder / "rgb" / "two.png"))}
    samples["lidar"] = np.fromfile(folder / "lidar" / "two.bin", np.float32).reshape(-1, 4)
    expected = Predictor.load()(samples, SensorRig(load_calibration(folder / "calibration.yaml"))).labels
    assert np.array_equal(np.asarray(Image.open(folder / "labels" / "two.png")), expected)
    assert {path.name for path in (folder / "labels").iterdir()} == {"one.png", "two.png"}
    assert Image.open(folder / "overlay" / "one.png").size == (WIDTH, HEIGHT)


def test_value_every_message_of_a_bag_is_followed(monkeypatch, capsys, tmp_path):
    text = run(monkeypatch, capsys, "follow_a_bag.py", fake_car.write_bag(tmp_path / "bag", 0.5))
    assert "rgb    /carla/ego_vehicle/rgb_front/image: 5 messages" in text  # 0.5 s at 10 Hz
    assert "lidar: 4 messages, 4 used" in text  # the first lies before the start of the recording
    assert "4 sets of rgb + depth + event + lidar" in text


def test_value_the_readme_names_every_example():
    text = (ROOT / "README.md").read_text()
    assert len(EXAMPLES) == 2
    assert [path.name for path in EXAMPLES if f"examples/{path.name}" not in text] == []
    for path in EXAMPLES:
        assert path.read_text().startswith("# %% [markdown]\n")


def test_value_the_recipe_reads_the_tree_that_it_describes(tmp_path):
    """Ten frames in five drives; one lacks its label, one its cloud."""
    camera = CameraModel.from_fov(WIDTH, HEIGHT, 90.0)
    save_calibration(tmp_path / "car.yaml", Calibration(camera, lidar_to_camera=LIDAR_TO_CAMERA))
    rng = np.random.default_rng(0)
    for drive in "abcde":
        for stamp in ("10", "11"):
            for folder in ("camera", "velodyne", "labels"):
                (tmp_path / folder / drive).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(
                tmp_path / "camera" / drive / f"{stamp}.jpg"
            )
            points = rng.uniform((2, -5, -2, 0, 0), (30, 5, 2, 255, 16), (50, 5)).astype("<f4")
            points.tofile(tmp_path / "velodyne" / drive / f"{stamp}.bin")
            Image.fromarray(np.full((HEIGHT, WIDTH), 7, np.uint8)).save(tmp_path / "labels" / drive / f"{stamp}.png")
    (tmp_path / "labels" / "a" / "10.png").unlink()
    (tmp_path / "velodyne" / "b" / "10.bin").unlink()
    recipe = str(ROOT / "examples" / "own_data.yaml")
    frames = [open_dataset(recipe, tmp_path, split) for split in ("train", "val")]
    assert sum(map(len, frames)) == 9
    found = [frames[part].present(frame) for part in (0, 1) for frame in frames[part].frames]
    assert sorted(map(len, found)) == [1] + [2] * 8
    assert np.unique(frames[0][0].labels).tolist() == [0]  # id 7 of Cityscapes' files is road
