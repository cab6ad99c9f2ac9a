from __future__ import annotations

import json
import subprocess
import sys

import pytest
from bag_files import kitti_entries, small_entries, write_bag
from raised import assert_refused
from typer.testing import CliRunner

from any2seg_core.cli.main import app
from any2seg_core.data.deliver import DeliverDataset

RUN = CliRunner()


def call(*arguments):
    result = RUN.invoke(app, ["bag", *map(str, arguments)])
    assert result.exception is None, result.output
    return result.stdout


def test_smoke_inspect_as_tables_and_json(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(3))
    assert "recommended parameters" in call("inspect", bag)
    document = json.loads(call("inspect", bag, "--json", "--topic", "lidar=none"))
    assert document["roles"]["streams"] == {"rgb": "/kitti/camera_color_left/image"}


def test_value_extract_through_the_command(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(5))
    text = call("extract", bag, "--out", tmp_path / "data", "--modalities", "R", "--every", 2, "--split", "val")
    assert "3 val frames of rgb, without labels" in text
    assert len(DeliverDataset(tmp_path / "data", "val", ("rgb",), labelled=False)) == 3
    document = json.loads(call("extract", bag, "--out", tmp_path / "data", "--modalities", "rgb", "--json"))
    assert (document["written"], document["labelled"]) == (5, False)


@pytest.mark.parametrize("command", ["inspect", "extract"])
def test_smoke_help_has_an_example(command):
    assert f"Example: any2seg bag {command}" in call(command, "--help")


def test_exception_bad_input_is_one_line_and_exit_code_two(tmp_path):
    bag = write_bag(tmp_path / "bag", small_entries(2))
    for arguments, told in (
        (["inspect", tmp_path / "none"], ("bag-missing", tmp_path / "none")),
        (["extract", bag, "--out", tmp_path / "o", "--topic", "rgb=/x"], ("bag-topic-missing", "/x")),
    ):
        command = [sys.executable, "-m", "any2seg_core", "bag", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert_refused(done.stderr, *told)
    assert not (tmp_path / "o").exists()
