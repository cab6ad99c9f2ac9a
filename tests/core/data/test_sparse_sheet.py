"""The picture of sparse labels, and the command that writes it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_data import write_deliver
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.cli.main import app
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.sparse_sheet import sparse_config, sparse_sheet
from any2seg_core.vocabulary.labels import DELIVER


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("tree"), {"train": 3})


def test_value_rows_show_clicks_in_the_colour_of_their_class(root: Path):
    config = sparse_config(kind="points", count=4, every_class=True)
    frames = DeliverDataset(root, "train", ("rgb", "lidar"), sparse=config)
    picture, facts = sparse_sheet(frames, 2)
    assert picture.shape == (2 * 260, 3 * 384, 3)  # 64x96 at a height of 256, and a border
    assert [fact.name for fact in facts] == [frames.frames[0].name, frames.frames[-1].name]
    for row, fact in enumerate(facts):
        assert (fact.pixels, fact.classes, fact.of_classes) == (4, 3, 3)
        assert fact.share == pytest.approx(4 / (64 * 96))
        right = picture[row * 260 : row * 260 + 256, 768:].reshape(-1, 3)
        for name in ("Building", "Road", "Cars"):
            assert (right == DELIVER.colours[DELIVER.id(name)]).all(axis=1).sum() > 50


def test_smoke_command_writes_picture_and_table(root: Path, tmp_path: Path):
    arguments = ["data", "sparse", str(root), str(tmp_path / "s.png"), "--kind", "scribbles", "--side", "1"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert cv2.imread(str(tmp_path / "s.png")).any()
    assert "labelled pixels" in run.output and "of 3" in run.output
    arguments = ["data", "sparse", str(root), str(tmp_path / "l.jpg"), "--kind", "lidar", "--frames", "1", "--json"]
    document = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert cv2.imread(str(tmp_path / "l.jpg")).any()
    assert len(document) == 1 and document[0]["share"] > 0.05
    assert np.isclose(document[0]["pixels"], document[0]["share"] * 64 * 96)


def test_exception_settings():
    with user_error("value-unknown", "'points'"):
        sparse_config(kind="dots")
    with user_error("value-invalid"):
        sparse_config(kind="lidar", seed=3, count=None)
