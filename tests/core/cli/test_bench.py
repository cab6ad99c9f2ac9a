"""``any2seg bench``: its own run with next to nothing to do, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from raised import assert_refused

from any2seg_core.bench import run
from any2seg_core.bench.workshop import Effort
from any2seg_core.cli.main import main
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_checkpoint(path, Any2Seg(ModelConfig(head_width=32)), InputContract(height=64, width=64), {})
    return path


@pytest.fixture
def bench(checkpoint, monkeypatch, capsys):
    """Runs the command; returns exit code, stdout and stderr."""
    monkeypatch.setattr(run, "QUICK", Effort(least=1, most=1, seconds=0.0, scale=0.001))

    def call(*words):
        monkeypatch.setattr("sys.argv", ["any2seg", "bench", str(checkpoint), "--quick", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


def test_value_a_run_prints_writes_and_is_compared_with_the_next(bench, tmp_path):
    code, text, _ = bench("--only", "events", "-o", tmp_path / "first")
    assert code == 0 and "1000 events" in text
    assert (tmp_path / "first" / "bench.md").exists()
    code, text, _ = bench("--only", "events", "--compare", tmp_path / "first")
    assert code == 0 and "new / before" in text


def test_value_json_is_the_document_alone(bench):
    code, text, _ = bench("--only", "events", "--json")
    document = json.loads(text)
    assert code == 0 and document["format"] == "any2seg bench" and document["parts"][0]["rows"][0]["least"] > 0
    assert document["command"].startswith("any2seg bench ") and document["conditions"]["quick"] is True


def test_exception_bad_input_is_one_line_before_anything_is_measured(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "run_bench", None)  # calling it would fail otherwise
    (tmp_path / "there").mkdir()
    (tmp_path / "foreign.json").write_text('{"format": "another"}')
    for words, code, named in (
        (("--only", "wheels"), "value-unknown", "wheels"),
        (("-o", tmp_path / "there"), "output-exists", "there"),
        (("--compare", tmp_path / "foreign.json"), "file-format", "foreign.json"),
        (("--compare", tmp_path / "none.json"), "file-missing", "none.json"),
        (("--size", 100), "value-range", "100"),
        (("--recording", tmp_path / "none"), "file-missing", "--recording"),
        (("--cmnext", tmp_path / "none"), "file-missing", "--cmnext"),
        (("--device", "cuda:99"), "device-missing", "cuda:99"),
    ):
        status, text, told = bench(*words)
        assert (status, text) == (2, ""), words
        assert_refused(told, code, named)


def test_exception_a_run_of_another_machine_is_not_compared(bench, tmp_path):
    bench("--only", "events", "-o", tmp_path / "first")
    path = tmp_path / "first" / "bench.json"
    document = json.loads(path.read_text())
    document["machine"]["processor"] = "Another 9000"
    path.write_text(json.dumps(document))
    status, text, told = bench("--only", "events", "--compare", path)
    assert (status, text) == (2, "")
    assert_refused(told, "machine-mismatch", "Another 9000", "comparable")
