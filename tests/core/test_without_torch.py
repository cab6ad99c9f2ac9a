"""An exported folder is used by processes in which PyTorch is not installed; the labels are those of PyTorch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fake_car
import numpy as np
import pytest
from exported import saved, trained_like
from PIL import Image
from raised import assert_refused, user_error

for _package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(_package)

from any2seg_core.base.checksums import write_checksums  # noqa: E402
from any2seg_core.base.torch_package import require_torch  # noqa: E402
from any2seg_core.runtime.export.write import export_checkpoint  # noqa: E402
from any2seg_core.runtime.predictor import Predictor  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = ROOT / "tests" / "without_torch"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A checkpoint, its exported folder, a picture and a recording."""
    place = tmp_path_factory.mktemp("without_torch")
    export_checkpoint(saved(place / "m.safetensors", trained_like()), place / "exported")
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 256, (7, 11, 3), np.uint8), np.ones((14, 15, 1), np.uint8))
    Image.fromarray(blocks).save(place / "a.png")
    fake_car.write_bag(place / "bag", 1.0)
    return place


def run(place: Path, *words: object, blocked: bool = True) -> subprocess.CompletedProcess:
    path = os.pathsep.join([*([str(BLOCKED)] if blocked else []), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "any2seg_core", *map(str, words)]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})  # fmt: skip


def test_value_the_block_works():
    code = "import numpy\ntry:\n    import torch.nn\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(BLOCKED)})  # fmt: skip
    assert done.stdout == "torch\n", done.stderr


def test_value_predict(place):
    done = run(place, "predict", "--model", "exported", "--rgb", "a.png", "-o", "out.png", "--json")
    assert done.returncode == 0, done.stderr
    found = np.asarray(Image.open(place / "out.png"))
    expected = Predictor.load(place / "m.safetensors")({"rgb": np.asarray(Image.open(place / "a.png"))})
    assert found.shape == expected.labels.shape and (found != expected.labels).mean() <= 0.001
    assert expected.confidence is not None
    assert json.loads(done.stdout)["mean_confidence"] == pytest.approx(expected.confidence.mean(), abs=2e-3)


def test_value_one_picture_of_a_camera_loads_no_compiler(place):
    """numba and LLVM would be a third of the processor time and memory of the first label."""
    program = """
import sys
import numpy as np
from PIL import Image
from any2seg_core import Predictor
predictor, picture = Predictor.load("exported"), {"rgb": np.asarray(Image.open("a.png"))}
first = predictor(picture)
assert "numba" not in sys.modules and "scipy" not in sys.modules
predictor.warm_up()
later = predictor(picture)
assert "numba" in sys.modules
print(np.array_equal(first.labels, later.labels), np.abs(first.confidence - later.confidence).max() < 1e-6)
"""
    path = os.pathsep.join([str(BLOCKED), str(ROOT)])
    done = subprocess.run([sys.executable, "-c", program], cwd=place, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    assert done.stdout == "True True\n", done.stderr


def test_value_bag_evaluate_of_every_subset_under_noise(place):
    words = ("bag", "evaluate", "bag", "--every", "3", "--noise", "low", "--json")
    scores = {}
    for model, blocked in (("exported", True), ("m.safetensors", False)):
        done = run(place, *words, "--checkpoint", model, "--out", f"runs/{model}", blocked=blocked)
        assert done.returncode == 0, done.stderr
        scores[model] = json.loads((place / "runs" / model / "summary.json").read_text())
        assert (place / "runs" / model / "report.html").is_file()
    found, expected = (each["subsets"] for each in scores.values())
    assert list(found) == list(expected) and len(found) == 15
    for letters, row in expected.items():
        for name, value in row.items():
            assert found[letters][name] == pytest.approx(value, abs=0.2), (letters, name)


def test_value_labels_of_a_recording(place):
    for model, blocked in (("exported", True), ("m.safetensors", False)):
        done = run(place, "bag", "extract", "bag", "--every", "4", "--labels", model, "--out", f"data/{model}",
                   blocked=blocked)  # fmt: skip
        assert done.returncode == 0, done.stderr
    expected = sorted((place / "data" / "m.safetensors").rglob("*_semantic_*.png"))
    assert len(expected) > 1
    for path in expected:
        found = place / "data" / "exported" / path.relative_to(place / "data" / "m.safetensors")
        assert (np.asarray(Image.open(found)) != np.asarray(Image.open(path))).mean() <= 0.001


def test_value_info(place):
    done = run(place, "info", "exported", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["head_width"] == 16


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "--rgb", "a.png", "-o", "no.png", "--checkpoint", "m.safetensors"),
        ("evaluate", "m.safetensors", "data"),
        ("features", "m.safetensors", "data"),
        ("info", "m.safetensors"),
        ("bag", "evaluate", "bag", "--checkpoint", "m.safetensors"),
    ],
    ids=" ".join,
)
def test_exception_what_needs_it_says_so_in_one_line(place, words):
    done = run(place, *words)
    assert done.returncode == 2
    assert_refused(done.stderr, "package-missing", "PyTorch is not installed", sys.executable)


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--device", "cuda"), "device-missing"), (("--precision", "bfloat16"), "precision-unsuitable")],
)
def test_exception_an_exported_model_has_no_other_device_or_precision(place, words, code):
    done = run(place, "predict", "--model", "exported", "--rgb", "a.png", "-o", "no.png", *words)
    assert done.returncode == 2
    assert_refused(done.stderr, code, "exported", words[1])
    assert not (place / "no.png").exists()


def test_exception_a_path_without_a_model_is_told_before_pytorch_is_asked_for(place):
    (place / "link").symlink_to("nowhere")
    done = run(place, "predict", "--model", "link", "--rgb", "a.png", "-o", "no.png")
    assert done.returncode == 2
    assert_refused(done.stderr, "checkpoint-missing", "link")


def test_exception_a_graph_of_another_model(place, tmp_path):
    shutil.copytree(place / "exported", tmp_path / "swapped")
    shutil.copy(tmp_path / "swapped" / "fusion.onnx", tmp_path / "swapped" / "encoder.onnx")
    write_checksums(tmp_path / "swapped")
    done = run(place, "predict", "--model", tmp_path / "swapped", "--rgb", "a.png", "-o", "no.png")
    assert done.returncode == 2 and not (place / "no.png").exists()
    assert_refused(done.stderr, "checkpoint-damaged", "onnxruntime", "images")


def test_exception_an_exported_model_keeps_no_stream(place):
    with user_error("model-unsuitable", "stream=anchor"):
        Predictor.load(place / "exported", stream="anchor")


def test_value_all_subsets_of_one_encoding_are_those_of_each_alone(place):
    predictor = Predictor.load(place / "exported")
    rng = np.random.default_rng(1)
    planes = {name: rng.integers(0, 256, (50, 70, 3), np.uint8) for name in predictor.contract.modalities}
    subsets = [("depth",), ("rgb", "lidar"), predictor.contract.modalities]
    found = predictor.subsets(planes, subsets, compared="depth")
    for subset in subsets:
        alone = predictor({name: planes[name] for name in subset})
        assert (alone.labels != found[subset].labels).mean() <= 0.001
    together = found[predictor.contract.modalities]
    assert together.agreement is not None and 0.0 <= together.agreement <= 1.0 and found[("depth",)].agreement is None


def test_exception_torch_is_looked_for_without_loading_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with user_error("package-missing", "the sun"):
        require_torch("the sun")


def test_value_the_list_of_what_runs_exported_models_is_that_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    lists = (re.search(rf"^{name} = \[(.*?)\]", text, re.S | re.M)[1] for name in ("dependencies", "onnx"))
    needed = [each for entry in lists for each in re.findall(r'"(.*?)"', entry)]
    expected = [each for each in needed if not each.startswith("torch")]
    assert len(expected) == len(needed) - 1 and any(each.startswith("onnxruntime") for each in expected)
    listed = [line for line in (ROOT / "runtime-requirements.txt").read_text().splitlines() if line[:1] != "#"]
    assert sorted(listed) == sorted(expected)
