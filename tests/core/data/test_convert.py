"""`any2seg data convert`: what it writes is what the readers compute, and an interrupted run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_data import write_deliver
from fake_trees import write_mcubes, write_muses
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.cli.main import app
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.convert import convert_tree


@pytest.fixture
def muses(tmp_path: Path) -> Path:
    return write_muses(tmp_path / "muses", {"train": 3, "test": 1})


def kept(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted((root / "any2seg_planes").rglob("*.png"))}


def test_value_planes_are_those_of_the_reader_and_are_found_by_it(muses: Path):
    fresh = [open_dataset("muses", muses, "train")[index].planes for index in range(6)]
    steps = []
    done = convert_tree(muses, progress=lambda *step: steps.append(step))
    assert (done.frames, done.made, done.skipped) == (8, 16, [])  # the test split has sensors, if no labels
    assert steps == [("train", 4, 6), ("train", 6, 6), ("test", 2, 2)]
    for path in (*muses.rglob("*.bin"), *muses.rglob("*.h5")):
        path.write_bytes(b"")
    for index, planes in enumerate(fresh):
        for name, plane in open_dataset("muses", muses, "train")[index].planes.items():
            assert np.array_equal(plane, planes[name])


def test_value_goes_on_after_an_interruption_and_workers_write_the_same_bytes(muses: Path):
    assert convert_tree(muses, workers=2).made == 16
    first = kept(muses)
    assert len(first) == 16
    for path in list(first)[::3]:
        Path(path).unlink()
    assert convert_tree(muses, workers=1).made == 6
    assert kept(muses) == first
    assert convert_tree(muses).made == 0
    assert not list(muses.rglob("*.partial*"))


def test_value_hha_of_deliver(tmp_path: Path):
    root = write_deliver(tmp_path / "deliver", {"val": 2}, (20, 30))
    for path in (root / "semantic").rglob("*.png"):
        target = root / "depth" / path.relative_to(root / "semantic")
        target.parent.mkdir(parents=True, exist_ok=True)
        name = path.name.replace("semantic", "depth")
        assert cv2.imwrite(str(target.with_name(name)), np.full((20, 30), 8000, np.uint16))
    done = convert_tree(root)
    assert (done.frames, done.made) == (4, 4)
    plane = open_dataset("auto", root, "val", source="raw")[0].planes["depth"]
    assert np.all(plane[..., 0] == round(2550 / 18))


def test_exception_corrupt_files_stop_it_or_are_listed(muses: Path):
    broken = next(muses.glob("lidar/train/clear/day/*.bin"))
    broken.write_bytes(b"x")
    with user_error("file-content", "REC0000_frame_000000_lidar.bin", "1 bytes"):
        convert_tree(muses)
    result = CliRunner().invoke(app, ["data", "convert", str(muses), "--skip-corrupt", "--json", "--workers", "1"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert len(document["skipped"]) == 1
    assert broken.name in document["skipped"][0]


def test_exception_nothing_to_convert(tmp_path: Path, muses: Path):
    with user_error("option-unsupported", "mcubes", "deliver, muses"):
        convert_tree(write_mcubes(tmp_path / "mcubes", {"val": 1}))
    with user_error("data-empty"):
        convert_tree(muses, splits=["val"])
    deliver = write_deliver(tmp_path / "deliver", {"val": 1}, (20, 30))
    with user_error("data-empty"):
        convert_tree(deliver)
