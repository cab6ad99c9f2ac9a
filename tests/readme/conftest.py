"""A home folder in which the documents' commands find what they name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT
from PIL import Image
from small_rig import small_rig
from store_tables import frames_table

from any2seg_core.base.video import VideoWriter
from any2seg_core.fleet.indexing import index
from any2seg_core.fleet.store import FleetStore
from any2seg_core.sensors.calibration import save_calibration
from any2seg_drive.bag_writer import write_bag
from any2seg_drive.deliver_writer import write_deliver
from any2seg_drive.frame_writer import write_frame

LINKS = ("checkpoints", "training", "bags", "benchmarks", "any2seg_training")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """Recording, data set and sensor files, made once: a second of a small drive."""
    pytest.importorskip("open3d")
    root, rig = tmp_path_factory.mktemp("inputs"), small_rig()
    write_bag(root / "drive", [(0.8, "sunny")], rig=rig, progress=False, semantic_lidar=True)
    for split in ("train", "val"):
        write_deliver(root / "data", split, 1, 2, rig=rig, progress=False)
    write_frame(root / "frame", 1.0, rig=rig)
    calibration = rig.calibration()
    save_calibration(root / "calibration.yaml", calibration)
    random = np.random.default_rng(0)
    shape = (calibration.camera.height, calibration.camera.width, 3)
    Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(root / "a.png")
    random.uniform([4, -3, -1, 0], [20, 3, 2, 1], (400, 4)).astype(np.float32).tofile(root / "b.bin")
    write_sequences(root)
    write_store(root / "store", root / "drive")
    return root


def write_sequences(root: Path) -> None:
    """Folders `pictures` and `clouds` whose files have one name each, and the pictures as a film."""
    for number in range(3):
        for source, folder in (("a.png", "pictures"), ("b.bin", "clouds")):
            (root / folder).mkdir(exist_ok=True)
            shutil.copy(root / source, root / folder / f"{number:04d}{Path(source).suffix}")
    with VideoWriter(root / "film.mp4", 10) as film:
        for path in sorted((root / "pictures").iterdir()):
            film.add(np.asarray(Image.open(path)))


def write_store(path: Path, recording: Path) -> None:
    """A fleet's store of one recording, with an evaluation of five frames."""
    index(path, [str(recording)])
    store = FleetStore.open(path)
    (row,) = store.recordings().to_pylist()
    store.write_evaluation("drive_b0", {})
    frames = [
        {"stamp_ns": row["start_ns"] + at * 100_000_000, "used": "RDEL", "confidence": 0.5 + at / 10,
         "agreement": {"R": 0.5, "RL": 1.0}, "reliability": {"rgb": 1.0, "lidar": 0.5}, "embedding": [at, 1.0]}
        for at in range(5)
    ]  # fmt: skip
    store.write_part("drive_b0", row["recording_id"], frames_table(row["recording_id"], frames))


def write_evaluations(runs: Path) -> None:
    """What `any2seg evaluate --out` and `any2seg bag evaluate` leave, two of each with one frame of one class."""
    counts = {"RDEL": {"6": [70, 100, 90]}}
    head = {"label_space": "deliver-25", "protocol": "drop"}
    of_subset = {"kind": "subset", "sensors": "RDEL", "miou_present": 70.0}
    of_set = [head | {"kind": "evaluation"}, of_subset, {"kind": "frame", "frame": "000001", "counts": counts}]
    of_bag = [head | {"bag": {"name": "drive"}}, {"stamp_ns": 1, "subsets": {"RDEL": {"counts": counts["RDEL"]}}}]
    for name, lines in (("evaluation", of_set), ("evaluation_new", of_set), ("evaluate/before", of_bag),
                        ("evaluate/after", of_bag)):  # fmt: skip
        (runs / name).mkdir(parents=True)
        file = "results.jsonl" if lines is of_set else "frames.jsonl"
        (runs / name / file).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def home(inputs, tmp_path) -> Path:
    """A new home folder with links to the inputs; what a command writes stays in it."""
    home = tmp_path / "home"
    for folder in ("runs/demo", "data"):
        (home / folder).mkdir(parents=True)
    for name in LINKS:
        (home / name).symlink_to(ROOT / name)
    for name in ("runs/drive", "runs/night", "runs/tags", "runs/demo/bag"):
        (home / name).symlink_to(inputs / "drive")
    for name in ("data/drive", "data/DELIVER"):
        (home / name).symlink_to(inputs / "data")
    (home / "drive.mcap").symlink_to(next((inputs / "drive").glob("*.mcap")))
    for name in ("pictures", "clouds", "film.mp4"):
        (home / name).symlink_to(inputs / name)
    (home / "runs/demo/schedule.json").write_text("[]")
    write_evaluations(home / "runs")
    shutil.copytree(inputs / "store", home / "runs/store")
    for name in ("a.png", "b.bin", "calibration.yaml"):
        shutil.copy(inputs / name, home)
    shutil.copy(inputs / "calibration.yaml", home / "c.yaml")
    shutil.copytree(inputs / "frame", home / "frame")
    return home


@pytest.fixture
def environment(home) -> dict[str, str]:
    """Of a shell in that home whose `any2seg` and `python` are those of these tests, on the tree that is tested."""
    programs = home.parent / "bin"
    programs.mkdir()
    python = shutil.which(sys.executable)
    modules = {"any2seg": "any2seg_core", "any2seg-segment-node": "any2seg_ros.segment_node",
               "any2seg-segment-cameras": "any2seg_ros.segment_cameras"}  # fmt: skip
    for name, module in modules.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{python}" -m {module} "$@"\n')
    for name in ("python", "python3"):
        (programs / name).write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "ros2_ws/src/any2seg_ros"), *sys.path]))
    return os.environ | {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": path,
                         "OMP_NUM_THREADS": "1", "TERM": "dumb"}  # fmt: skip


@pytest.fixture
def paste(home, environment):
    """Function that gives a command to bash in that home and waits for its end."""

    def run(command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "-c", command], cwd=home, env=environment, capture_output=True, text=True, timeout=120
        )

    return run
