"""Engines that are here give the labels of PyTorch for every kind of model; those that are not say how to get them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import exported
import numpy as np
import pytest
import torch
from exported import EARLY, HEIGHT, WIDTH, saved, trained_like
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.base.runtimes import RUNTIMES
from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.subsets import subset_logits, zeros
from any2seg_core.runtime.engines import compiled, graph_files
from any2seg_core.runtime.engines.choice import engine_of, trained_model
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.registry import ENGINES, SLOW
from any2seg_core.runtime.export import write
from any2seg_core.runtime.export.write import export_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite, all_subsets
from any2seg_core.vocabulary.sensor import Sensor

SIZE = (HEIGHT, WIDTH)
GRAPHS = ("onnxruntime", "openvino")
FIVE = tuple(f"camera{number}" for number in range(5))
MODELS = {
    "mff": {},
    "mean of predictions": {"fusion": "mean_predictions"},
    "early mff": EARLY,
    "three sensors": {"modalities": ("rgb", "event", "lidar")},
    "five sensors": {"modalities": FIVE},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """One for all tests of this file: a model's graphs are exported once."""
    place = tmp_path_factory.getbasetemp() / "engine_cache"
    monkeypatch.setenv("ANY2SEG_CACHE", str(place))
    return place


def contract_of(model) -> InputContract:
    names = model.modalities
    suite = {"suite": SensorSuite("five", tuple(Sensor(name, "ABCDE"[i], "image") for i, name in enumerate(FIVE)))}
    return exported.contract_of(model, **(suite if names == FIVE else {}))


def needs(runtime: str) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime", runtime):
        pytest.importorskip(package)


def planes_of(names) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: rng.integers(0, 256, (70, 113, 3), np.uint8) for name in names}


def test_value_every_runtime_that_can_be_named_has_an_engine():
    assert set(ENGINES) == set(RUNTIMES) - {"default", "auto"} and set(SLOW) < set(ENGINES)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", GRAPHS)
@pytest.mark.parametrize("kind", MODELS)
def test_value_graph_engines_give_the_labels_of_pytorch_for_every_subset(kind, runtime):
    needs(runtime)
    model = trained_like(**MODELS[kind])
    names, contract = model.modalities, contract_of(model)
    predictor = Predictor(model, contract, runtime=runtime)
    assert predictor.runtime == runtime and predictor.engine.version.startswith(f"{runtime} ")
    exact = Predictor(trained_like(**MODELS[kind]), contract, runtime="eager")
    planes, subsets = planes_of(names), all_subsets(names)
    found, expected = (each.subsets(planes, subsets) for each in (predictor, exact))
    differing = [(found[subset].labels != expected[subset].labels).mean() for subset in subsets]
    assert np.mean(differing) <= 0.001
    assert all(found[subset].labels.max() < 255 for subset in subsets)


@pytest.mark.parametrize("runtime", GRAPHS)
def test_value_numbers_that_are_none_are_unlabelled(runtime):
    needs(runtime)
    engine = engine_of(trained_like(), SIZE, runtime=runtime)
    images = {name: np.zeros((1, 3, *SIZE), np.float32) for name in ("rgb", "depth")}
    images["depth"][0, 1, 3, 5] = np.nan
    logits = engine.decode(engine.fuse(engine.encode(engine.given(images))))
    labels, confidence = engine.labels(logits, (33, 50))
    assert (labels == 255).all() and not confidence.any()


@pytest.mark.parametrize("fill_in", [None, zeros])
@pytest.mark.parametrize("runtime", GRAPHS)
def test_value_an_evaluation_gives_them_batches_and_absent_sensors(runtime, fill_in):
    needs(runtime)
    model, batch = trained_like(), 3
    engine = engine_of(trained_like(), SIZE, runtime=runtime)
    torch.manual_seed(1)
    images = {name: torch.randn(batch, 3, *SIZE) for name in ("rgb", "event")}
    frames = EvaluationBatch(images, torch.zeros(batch, *SIZE, dtype=torch.uint8), (0, 1, 2))
    subsets = [("rgb",), ("depth",), ("rgb", "depth", "event")]
    found = dict(subset_logits(model, frames, subsets, fill_in, engine))
    expected = dict(subset_logits(model, frames, subsets, fill_in, EagerEngine(model)))
    assert (found["depth",] is None) == (fill_in is None)
    for subset in subsets:
        if found[subset] is not None:
            assert found[subset].shape == expected[subset].shape == (batch, 25, HEIGHT // 4, WIDTH // 4)
            assert (found[subset].argmax(dim=1) != expected[subset].argmax(dim=1)).float().mean() <= 0.001


def test_exception_graphs_keep_no_stream(cache):
    needs("onnxruntime")
    with user_error("model-unsuitable", "stream=anchor", "onnxruntime"):
        Predictor(trained_like(), contract_of(trained_like()), stream="anchor", runtime="onnxruntime")


@pytest.mark.parametrize("runtime", GRAPHS)
@pytest.mark.parametrize("fusion", ["linear", "early_concat"])
def test_exception_a_model_without_graphs(cache, runtime, fusion):
    needs(runtime)
    with user_error("model-unsuitable", f"runtime {runtime}", f"fusion={fusion}"):
        Predictor(trained_like(fusion=fusion), InputContract(height=HEIGHT, width=WIDTH), runtime=runtime)


def test_value_graphs_are_exported_once_and_again_where_they_are_damaged(cache, tmp_path, monkeypatch, caplog):
    needs("onnxruntime")
    folder = _graphs(cache)
    exports = _copying(monkeypatch, shutil.copytree(folder, tmp_path / "whole"))
    engine_of(trained_like(), SIZE, runtime="onnxruntime")
    assert exports == []
    (folder / "model.onnx").write_bytes(b"cut off")
    assert engine_of(trained_like(), SIZE, runtime="onnxruntime").name == "onnxruntime"
    assert exports == [SIZE] and "model.onnx" in caplog.text and (folder / "model.onnx").stat().st_size > 1000
    assert not list((cache / "graphs").glob(".*partial"))


def _graphs(cache) -> Path:
    """Those of `trained_like()`, exported by the first test that asks."""
    engine_of(trained_like(), SIZE, runtime="onnxruntime")
    trained = trained_model(trained_like(), SIZE, "cpu", "float32", "onnxruntime")
    return cache / "graphs" / graph_files.name_of_graphs(trained)


def _copy(graphs, folder) -> None:
    for name in ("model.onnx", "encoder.onnx", "fusion.onnx"):
        shutil.copy(graphs / name, folder / name)


def _copying(monkeypatch, folder) -> list[tuple[int, int]]:
    """Exports are copies of this folder from now on; gets the size of each."""
    exports: list[tuple[int, int]] = []

    def write_graphs(model, size, place, source):
        exports.append(size)
        _copy(folder, place)

    monkeypatch.setattr(graph_files, "write_graphs", write_graphs)
    return exports


def test_value_a_cache_that_cannot_be_written_leaves_nothing(cache, tmp_path, monkeypatch):
    needs("onnxruntime")
    exports = _copying(monkeypatch, _graphs(cache))
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path / "taken"))
    for _ in range(2):
        assert engine_of(trained_like(), SIZE, runtime="onnxruntime").name == "onnxruntime"
    assert exports == [SIZE, SIZE] and [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("runtime", "hidden"),
    [("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("onnxruntime", "onnxscript"), ("openvino", "onnx")],
)
def test_exception_a_package_that_is_missing_is_told_in_one_line(tmp_path, monkeypatch, runtime, hidden):
    if hidden != runtime:
        needs(runtime)
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, hidden, None)
    with user_error("package-missing", "pip install 'any2seg["):
        engine_of(trained_like(), SIZE, runtime=runtime)
    assert list(tmp_path.rglob("*.onnx")) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"runtime": "tflite"}, "value-unknown"),
        ({"runtime": "onnxruntime", "precision": "bfloat16"}, "precision-unsuitable"),
    ],
)
def test_exception_what_no_engine_takes(options, code, monkeypatch):
    monkeypatch.setattr("any2seg_core.models.precision.has_bfloat16", lambda: True)
    with user_error(code, "runtime", options["runtime"]):
        engine_of(trained_like(), SIZE, **options)


def test_value_runtimes_of_float32_alone_do_not_measure_another_precision(monkeypatch):
    needs("onnxruntime")
    monkeypatch.setattr("any2seg_core.models.precision._faster", lambda *_: pytest.fail("measured"))
    assert engine_of(trained_like(), SIZE, precision="auto", runtime="onnxruntime").precision == "float32"


def test_value_named_engines_are_used_and_the_default_is_cpu():
    assert [engine_of(trained_like(), SIZE, runtime=name).name for name in ("default", "cpu", "eager")] == [
        "cpu", "cpu", "eager"
    ]  # fmt: skip
    with user_error("runtime-unsuitable", "runtime cpu", "float32"):
        engine_of(trained_like().double(), SIZE, runtime="cpu")


@pytest.mark.parametrize("runtime", GRAPHS)
def test_value_an_exported_folder_runs_under_both_runtimes(cache, tmp_path, monkeypatch, runtime):
    needs(runtime)
    place, model = tmp_path / "exported", trained_like()
    graphs = _graphs(cache)
    monkeypatch.setattr(write, "write_graphs", lambda _, size, folder, source: _copy(graphs, folder))
    export_checkpoint(saved(tmp_path / "m.safetensors", model), place)
    predictor, planes = Predictor.load(place, runtime=runtime), planes_of(model.modalities)
    assert predictor.runtime == runtime
    expected = Predictor(model, contract_of(model), runtime="eager")(planes).labels
    assert (predictor(planes).labels != expected).mean() <= 0.001
    for name in ("eager", "cpu", "compile", "tensorrt"):
        with user_error("runtime-unsuitable", place, name, "give its checkpoint"):
            Predictor.load(place, runtime=name)


class Broken(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand more lines")


def test_exception_a_compiler_that_is_missing_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(compiled.torch, "compile", Broken)
    with user_error("runtime-unsuitable", "runtime compile", "No working C++ compiler", "g++"):
        engine_of(trained_like(), SIZE, runtime="compile")


def test_value_what_is_compiled_is_encoder_and_head(monkeypatch, caplog):
    """The compiler is the test's own: it doubles nothing, and is asked twice."""
    asked = []
    monkeypatch.setattr(compiled.torch, "compile", lambda module: asked.append(type(module).__name__) or module)
    engine = engine_of(trained_like(), SIZE, runtime="compile")
    assert engine.name == "compile" and len(asked) == 2 and "torch.compile is at work" in caplog.text


@pytest.mark.slow
def test_value_torch_compile_gives_the_labels_of_pytorch():
    model = trained_like(modalities=("rgb", "lidar"))
    try:
        engine = engine_of(model, SIZE, runtime="compile")
    except UserError as error:
        assert "cannot compile" in str(error)
        pytest.skip(str(error))
    assert engine.name == "compile" and engine.precision == "float32"
