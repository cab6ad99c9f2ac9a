"""`any2seg engines` tells what `--runtime auto` takes and why; the engines and their times are the test's own."""

from __future__ import annotations

import json

import pytest
from exported import saved, trained_like
from fake_engines import KEY, chooser
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.base.errors import UserError
from any2seg_core.cli.main import app
from any2seg_core.runtime.engines import choice
from any2seg_core.runtime.engines.memory import EngineMemory, Remembered


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A checkpoint, and an empty cache."""
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path / "cache"))
    return saved(tmp_path / "m.safetensors", trained_like())


def run(*words: object) -> str:
    done = CliRunner().invoke(app, ["engines", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture
def fakes(monkeypatch):
    missing = {"openvino": UserError("runtime openvino needs openvino: pip install", "package-missing")}
    seconds = {"cpu": 0.1, "onnxruntime": 0.05, "compile": 0.2}
    found = chooser(monkeypatch, seconds, {"onnxruntime": 0.0004}, missing, slow=("compile",))
    monkeypatch.setattr(choice, "chooser_of", lambda *_: found)


def test_value_what_is_chosen_and_why(model, fakes):
    document = json.loads(run(model, "--json"))
    assert document["engine"] == "onnxruntime" and document["precision"] == "float32" and document["key"] == KEY
    row = document["measured"]["onnxruntime"]
    assert row["ms"] == pytest.approx(50.0) and row["ratio"] == pytest.approx(0.5) and row["share"] == 0.0004
    assert set(document["measured"]) == {"cpu", "onnxruntime"} and set(document["missing"]) == {"openvino", "compile"}
    text = run(model)
    for words in ("runtime auto: onnxruntime", "0.50", "0.040%", "50.0", "openvino: runtime openvino needs openvino"):
        assert words in text


def test_value_one_that_takes_minutes_is_measured_when_it_is_asked_for(model, fakes):
    document = json.loads(run(model, "--also", "compile", "--json"))
    assert document["measured"]["compile"]["ratio"] == pytest.approx(2.0)
    with user_error("value-unknown", "tflite"):
        run(model, "--also", "tflite")


def test_value_what_is_remembered_can_be_forgotten(model, fakes):
    EngineMemory(KEY).write(Remembered(key=KEY, chosen="cpu"))
    assert EngineMemory(KEY).read().chosen == "cpu"
    (gone,) = json.loads(run("--forget", "--json"))["removed"]
    assert gone.endswith("/cache/engines") and EngineMemory(KEY).read().chosen == ""
    assert "nothing was there" in run("--forget")


def test_exception_an_engine_for_a_gpu_is_not_built_for_a_processor(model):
    with user_error("device-missing", "runtime tensorrt", "cpu"):
        run(model, "--build-only")


def test_exception_a_folder_has_no_other_device(tmp_path):
    (tmp_path / "out").mkdir()
    with user_error("device-missing", "out", "cuda"):
        run(tmp_path / "out", "--device", "cuda")
