"""`any2seg fleet view`: stores that are refused, in one line, and what labels are made with."""

from __future__ import annotations

import json
import sys

import pytest
from raised import assert_refused
from shown import tiny_checkpoint

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

from any2seg_core.base.entry import run
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.cli import fleet_view
from any2seg_core.cli.main import app
from any2seg_core.fleet.store import FleetStore
from any2seg_core.runtime.checkpoint_metadata import checkpoint_sha256


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        run(app, "any2seg", ["fleet", "view", *map(str, words)])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def store(tmp_path):
    return FleetStore.create(tmp_path / "store")


def test_exception_no_store(tmp_path, capsys):
    assert_refused(refused(capsys, tmp_path / "none"), "store-missing", tmp_path / "none")


def test_exception_a_store_of_another_version(store, capsys):
    (store.path / "store.json").write_text(json.dumps({"format": "any2seg-fleet", "version": 99}))
    assert_refused(refused(capsys, store.path), "store-version", 99)


def test_exception_an_evaluation_that_is_not_there_and_one_of_several(store, capsys):
    store.write_evaluation("a", {})
    store.write_evaluation("b", {})
    assert_refused(refused(capsys, store.path, "--evaluation", "c"), "value-unknown", "a, b")
    assert_refused(refused(capsys, store.path), "value-unknown", "--evaluation", "a, b")


def test_exception_a_missing_package(store, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert_refused(refused(capsys, store.path), "package-missing", "pip install 'any2seg[view]'")


def test_value_labels_are_of_the_checkpoint_of_the_evaluation_where_it_is_here(tmp_path, monkeypatch):
    """By its name and its checksum: another file of that name is not taken."""
    own = tiny_checkpoint(tmp_path / "own.safetensors")
    monkeypatch.chdir(tmp_path)
    meant = {"checkpoint": {"name": "own.safetensors", "sha256": checkpoint_sha256(own)}}
    predictor, told = fleet_view._predictor(None, meant)
    assert told == "own.safetensors" and predictor.contract.height == 32
    meant["checkpoint"]["sha256"] = "0" * 64
    predictor, told = fleet_view._predictor(None, meant)
    assert predictor is None and "own.safetensors" in told and "--checkpoint" in told
    assert fleet_view._predictor(own, meant)[1] == "own.safetensors"
    assert fleet_view._predictor(None, {})[1] == default_checkpoint().name
