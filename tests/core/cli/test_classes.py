"""`any2seg data classes`: names, files and checkpoints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from raised import assert_refused

from any2seg_core.cli.main import main
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import label_space, shipped_names

YARD = "name: yard\nclasses: [{name: ground, colour: [81, 0, 81], raw: [1, 300], group: flat}, {name: crate, raw: 7}]\n"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["any2seg", "data", "classes", *map(str, words)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_value_a_file_as_table_and_as_json(tmp_path: Path, monkeypatch, capsys):
    path = tmp_path / "yard.yaml"
    path.write_text(YARD)
    assert run(monkeypatch, path) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("yard: 2 classes", "ground", "81, 0, 81", "1, 300", "flat", "crate"))
    assert run(monkeypatch, path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == label_space(path).to_document()


def test_value_a_checkpoint_says_its_own_classes_without_the_file(tmp_path: Path, monkeypatch, capsys):
    path = tmp_path / "yard.yaml"
    path.write_text(YARD)
    space = label_space(path)
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=8, modalities=("rgb",), num_classes=2))
    contract = InputContract(modalities=("rgb",), height=32, width=32, label_space=space)
    save_checkpoint(tmp_path / "m.safetensors", model, contract, {})
    path.unlink()
    assert run(monkeypatch, tmp_path / "m.safetensors", "--json") == 0
    assert json.loads(capsys.readouterr().out) == space.to_document()


def test_value_what_is_shipped(monkeypatch, capsys):
    assert run(monkeypatch) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*shipped_names(), "cityscapes-19_to_deliver-25"))
    assert run(monkeypatch, "--json") == 0
    assert json.loads(capsys.readouterr().out)["label_spaces"] == list(shipped_names())


def test_exception_no_such_label_space(tmp_path: Path, monkeypatch, capsys):
    for word, code in (("nothing", "label-space-unknown"), (tmp_path / "no.yaml", "file-missing"),
                       (tmp_path / "no.safetensors", "checkpoint-missing")):  # fmt: skip
        assert run(monkeypatch, word) == 2
        assert_refused(capsys.readouterr().err, code, word)
