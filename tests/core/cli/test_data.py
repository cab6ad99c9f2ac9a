"""`any2seg data`: a recipe for a folder of one's own, and a look through it."""

from __future__ import annotations

import json

import pytest
from folder_trees import write_yard
from typer.testing import CliRunner

from any2seg_core.cli.data import data_app


def run(*arguments: object):
    return CliRunner().invoke(data_app, [str(argument) for argument in arguments])


@pytest.fixture
def yard(tmp_path):
    return write_yard(tmp_path / "yard", frames=3)


def test_value_init_then_check(yard, tmp_path):
    done = run("init", yard, "-o", tmp_path / "yard.yaml")
    assert done.exit_code == 0, done.output
    assert "image/{drive}/{frame}.png" in done.output
    checked = run("check", yard, "--dataset", tmp_path / "yard.yaml", "--json")
    assert checked.exit_code == 0, checked.output
    report = json.loads(checked.stdout)
    assert report["kind"] == "yard" and report["sizes"]["lidar"] == {"61x37": 9}
    assert sum(sum(counts.values()) for counts in report["frames"].values()) == 9


def test_value_init_as_json_writes_nothing_unasked(yard):
    before = sorted(yard.rglob("*"))
    done = run("init", yard, "--json")
    document = json.loads(done.stdout)
    assert document["recipe"]["calibration"] == "car.yaml" and document["written"] == []
    assert {entry["pattern"]: entry["files"] for entry in document["patterns"]}["label/{drive}/{frame}.png"] == 9
    assert sorted(yard.rglob("*")) == before


def test_value_convert_keeps_the_planes_of_a_recipe(yard, tmp_path):
    run("init", yard, "-o", tmp_path / "yard.yaml")
    done = [run("convert", yard, "--dataset", tmp_path / "yard.yaml", "--workers", "1", "--json") for _ in range(2)]
    assert [json.loads(each.stdout)["made"] for each in done] == [9, 0], done[0].output
    assert len(list((yard / "any2seg_planes").rglob("*.png"))) == 9


def test_value_check_lists_what_is_wrong(yard, tmp_path):
    run("init", yard, "-o", tmp_path / "yard.yaml")
    (yard / "cloud" / "d1" / "0001.bin").write_bytes(b"12345")
    (yard / "label" / "d2" / "0000.png").unlink()
    done = run("check", yard, "--dataset", tmp_path / "yard.yaml", "--json")
    assert done.exit_code == 1
    told = " ".join(line for lines in json.loads(done.stdout)["problems"].values() for line in lines)
    assert "cloud/d1/0001.bin" in told and "label/d2/0000.png" in told
