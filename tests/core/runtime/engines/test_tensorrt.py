"""What of TensorRT can be known without a GPU of NVIDIA: its key, its cache, its refusals. A package that is faked."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from exported import trained_like
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.runtime.engines import tensorrt
from any2seg_core.runtime.engines.choice import engine_of, trained_model
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.parity import differing_share, noise
from any2seg_core.runtime.engines.tensorrt import TensorRtEngine, build_only

SIZE = (64, 96)
GPU = {"name": "GPU 1", "capability": "9.0", "cuda": "13.0"}


class FakeTensorRt(ModuleType):
    """"Builds" by keeping the encoder in float32; files hold a word."""

    __version__ = "2.14.0"

    def __init__(self) -> None:
        super().__init__("torch_tensorrt")
        self.built, self.options, self.fails = [], {}, False
        self.dynamo = SimpleNamespace(compile=self._compile)

    def Input(self, **options):  # noqa: N802 (the package's own name)
        return SimpleNamespace(**options)

    def _compile(self, program, arg_inputs, **options):
        if self.fails:
            raise AssertionError("no converter for aten.gelu\nmore")
        self.built.append((program, arg_inputs[0]))
        return program

    def save(self, module, path, output_format, arg_inputs):
        with open(path, "w") as file:
            file.write("engine")

    def load(self, path):
        with open(path) as file:
            assert file.read() == "engine"
        return SimpleNamespace(module=lambda: trained_like().encoder)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A machine with torch-tensorrt, a GPU, and an empty cache."""
    found = FakeTensorRt()
    monkeypatch.setitem(sys.modules, "torch_tensorrt", found)
    monkeypatch.setattr(tensorrt, "gpu_of", lambda device: GPU)
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.export, "export", lambda encoder, images, dynamic_shapes: encoder)
    return found


def trained(**changes):
    return trained_model(trained_like(**changes), SIZE, "cpu", "float32", "tensorrt")


def test_value_an_engine_is_built_once_for_any_number_of_rows(package, tmp_path):
    first = TensorRtEngine(trained())
    assert first.name == "tensorrt" and first.version == "torch-tensorrt 2.14.0" and first.precision == "float16"
    ((encoder, rows),) = package.built
    assert (rows.min_shape, rows.max_shape) == ((1, 3, *SIZE), (8, 3, *SIZE)) and rows.dtype == torch.float32
    assert {value.dtype for value in encoder.parameters()} == {torch.float16}
    second = TensorRtEngine(trained())
    assert len(package.built) == 1 and len(list(tmp_path.rglob("*.ep"))) == 1
    images = noise(trained().sizes)
    assert differing_share(second, EagerEngine(trained_like()), images) <= 0.001
    with torch.no_grad():
        many = second.model.encoder(torch.cat([torch.zeros(1, 3, *SIZE)] * 11))
    assert [len(level) for level in many] == [11] * 4


def test_value_build_only_fills_the_cache(package):
    path = build_only(trained())
    assert path.read_text() == "engine" and build_only(trained()) == path and len(package.built) == 1
    TensorRtEngine(trained())
    assert len(package.built) == 1


def test_value_the_key_changes_with_all_that_an_engine_depends_on(package, monkeypatch):
    found = {build_only(trained()), build_only(trained(num_classes=19))}
    found.add(build_only(trained_model(trained_like(), (96, 64), "cpu", "float32", "tensorrt")))
    for change in ({"name": "GPU 2"}, {"capability": "8.6"}, {"cuda": "12.8"}):
        monkeypatch.setattr(tensorrt, "gpu_of", lambda device, change=change: GPU | change)
        found.add(build_only(trained()))
    monkeypatch.setattr("any2seg_core.runtime.engines.trained.installed", lambda packages: {"torch-tensorrt": "2.15"})
    found.add(build_only(trained()))
    assert len(found) == len(package.built) == 7


def test_value_without_a_cache_it_is_built_for_this_process(package, monkeypatch, tmp_path):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path / "taken"))
    for _ in range(2):
        assert TensorRtEngine(trained()).name == "tensorrt"
    assert len(package.built) == 2 and [path.name for path in tmp_path.iterdir()] == ["taken"]
    with user_error("output-unwritable", "taken"):
        build_only(trained())


def test_exception_what_cannot_be_built_is_told_in_one_line(package, tmp_path):
    package.fails = True
    with user_error("runtime-unsuitable", "torch-tensorrt 2.14.0", "no converter for aten.gelu"):
        TensorRtEngine(trained())
    assert not list(tmp_path.rglob("*.ep"))
    with user_error("model-unsuitable", "fusion=linear"):
        TensorRtEngine(trained(fusion="linear"))


@pytest.mark.parametrize("error", [Exception("libnvinfer.so.10: cannot open"), ImportError("no such"), OSError("x")])
def test_exception_a_package_without_its_libraries(package, monkeypatch, error):
    """torch-tensorrt 2.14 raises a bare Exception then."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "torch_tensorrt":
                raise error

    monkeypatch.delitem(sys.modules, "torch_tensorrt")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with user_error("package-missing", "torch-tensorrt", str(error), "pip install"):
        TensorRtEngine(trained())


def test_exception_a_processor_runs_no_tensorrt(tmp_path, monkeypatch):
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path))
    with user_error("device-missing", "runtime tensorrt", "cpu"):
        engine_of(trained_like(), SIZE, runtime="tensorrt")


@pytest.mark.slow
def test_value_tensorrt_gives_the_labels_of_pytorch(tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU of NVIDIA")
    try:
        tensorrt.import_torch_tensorrt()
    except UserError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path))
    assert engine_of(trained_like(), SIZE, "cuda", runtime="tensorrt").name == "tensorrt"
