"""An exported folder says what the model says, for whichever sensors are there, and is written whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from exported import EARLY, HEIGHT, WIDTH, images_of, saved, trained_like  # noqa: E402
from raised import user_error  # noqa: E402

from any2seg_core.models.config import MFFConfig  # noqa: E402
from any2seg_core.models.mff import MFF  # noqa: E402
from any2seg_core.runtime.checkpoint import load_checkpoint  # noqa: E402
from any2seg_core.runtime.checkpoint_metadata import read_metadata  # noqa: E402
from any2seg_core.runtime.engines.eager import EagerEngine  # noqa: E402
from any2seg_core.runtime.engines.graph import LEVELS  # noqa: E402
from any2seg_core.runtime.engines.graph_runtimes import graph_engine  # noqa: E402
from any2seg_core.runtime.engines.parity import differing_share, noise  # noqa: E402
from any2seg_core.runtime.export import write  # noqa: E402
from any2seg_core.runtime.export.folder import open_exported  # noqa: E402
from any2seg_core.runtime.export.parity import half_empty  # noqa: E402
from any2seg_core.runtime.export.write import export_checkpoint  # noqa: E402
from any2seg_core.runtime.predictor import Predictor  # noqa: E402
from any2seg_core.vocabulary.contract import InputContract  # noqa: E402
from any2seg_core.vocabulary.modalities import SensorSuite, all_subsets  # noqa: E402
from any2seg_core.vocabulary.sensor import Sensor  # noqa: E402

VAN = SensorSuite(
    "van",
    (
        Sensor("front", "F", "image"),
        Sensor("left", "S", "image", "grey"),
        Sensor("thermal", "T", "image", "thermal16", value_range=(28000, 32000)),
        Sensor("lidar", "L", "points"),
        Sensor("radar", "R", "points", value_range=(-20, 40)),
    ),
)
ROOT = Path(__file__).resolve().parents[4]
FILES = ["README.md", "SHA256SUMS", "encoder.onnx", "fusion.onnx", "model.json", "model.onnx"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("export")
    export_checkpoint(saved(place / "m.safetensors", trained_like()), place / "out")
    return place / "out"


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    place = tmp_path_factory.mktemp("early")
    export_checkpoint(saved(place / "m.safetensors", trained_like(**EARLY)), place / "out")
    return place / "out"


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    place = tmp_path_factory.mktemp("gated")
    model = trained_like(fusion="mff_gated", content_masks=True, mff={"select_temperature": 0.1})
    export_checkpoint(saved(place / "m.safetensors", model), place / "out")
    return place / "out"


@pytest.fixture(params=["folder", "early", "gated"])
def either(request):
    return request.getfixturevalue(request.param)


def graph_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def features(levels):
    return dict(zip(LEVELS, levels, strict=False))


def rows_for(contract, images):
    """As the README says: the sensors of one size are the rows of one array."""
    inputs = {}
    for name in contract.modalities:
        size = contract.size_of(name)
        array = "images" if size[0] == contract.height else "images_half"
        inputs[array] = np.concatenate([inputs.get(array, np.zeros((0, 3, *size), np.float32)), *images.get(name, [])])
    return inputs


def run(graph, outputs, contract, images):
    """With the empty pixels of the rows, computed as the README says, where the graph asks for them."""
    inputs = rows_for(contract, images)
    if len(graph.get_inputs()) > len(inputs):
        statistics = [contract.normalisation[name] for name in contract.modalities if name in images]
        inputs["empty"] = np.array([-np.array(each.mean) / each.std for each in statistics], np.float32)
    return graph.run(outputs, inputs)


def noise_of(contract, seed=1):
    rng = np.random.default_rng(seed)
    sizes = {name: (1, 1, 3, *contract.size_of(name)) for name in contract.modalities}
    return {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}


def test_value_one_graph_takes_every_subset_of_the_sensors(either):
    """Called as others call it, by onnxruntime alone."""
    model, contract, _ = load_checkpoint(either.parent / "m.safetensors")
    images, graph = noise_of(contract), graph_of(either / "model.onnx")
    if model.asks_for_content:
        for name, empty in contract.empty_pixels.items():  # the left of all, and of the camera more of it
            images[name][..., : 60 if name == "rgb" else 20] = np.array(empty, np.float32)[:, None, None]
    for subset in all_subsets(contract.modalities):
        with torch.no_grad():
            encoded = model.encode({name: torch.from_numpy(images[name][0]) for name in subset})
            expected = model.decode(model.fuse(encoded)).numpy()
        labels, logits = run(graph, ["labels", "logits"], contract, {name: images[name] for name in subset})
        np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())
        assert labels.dtype == np.int32 and labels.shape == (1, contract.height // 4, contract.width // 4)
        assert np.array_equal(labels, logits.argmax(axis=1))
        assert (labels != expected.argmax(axis=1)).mean() <= 0.001


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("names", [("rgb",), ("depth", "event", "lidar")])
def test_value_numbers_that_are_none_make_unlabelled_in_any_runtime(either, value, names):
    contract = open_exported(either).contract
    images = {name: np.zeros((1, 1, 3, *contract.size_of(name)), np.float32) for name in names}
    images[names[-1]][0, 0, 2, 5, 7] = value
    labels, logits = run(graph_of(either / "model.onnx"), ["labels", "logits"], contract, images)
    assert (labels == 255).all() and not np.isfinite(logits).any()


def test_value_what_is_encoded_once_is_fused_for_any_subset(folder):
    rows = np.concatenate([image.numpy() for image in images_of("abc").values()])
    encoder, fusion = graph_of(folder / "encoder.onnx"), graph_of(folder / "fusion.onnx")
    levels = encoder.run(list(LEVELS), {"images": rows})
    (logits,) = fusion.run(["logits"], features([level[1:] for level in levels]))
    labels, expected = graph_of(folder / "model.onnx").run(["labels", "logits"], {"images": rows[1:]})
    assert (labels != logits.argmax(axis=1)).mean() <= 0.001
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(logits).max())
    levels[2][0, 3, 1, 1] = np.nan
    (logits,) = fusion.run(["logits"], features(levels))
    assert np.isnan(logits).all(axis=1).any()


def test_value_kept_features_give_the_logits_of_any_subset_bit_by_bit(either):
    contract, engine = open_exported(either).contract, Predictor.load(either).engine
    names, images = contract.modalities, {name: image[0] for name, image in noise_of(contract).items()}
    kept = {name: engine.encode_sensor(name, image) for name, image in images.items()}
    apart = list(engine.fuse_subsets(engine.together(kept), all_subsets(names)))
    for subset, several in zip(all_subsets(names), apart, strict=True):
        assert np.array_equal(several, engine.fuse(engine.encode({name: images[name] for name in subset})))
        assert np.array_equal(several, engine.fuse(engine.together({name: kept[name] for name in subset})))


def test_value_the_weights_lie_on_disk_once(either):
    """All graphs together are hardly more than the weights, which other programs find in the file of the whole."""
    model, _, _ = load_checkpoint(either.parent / "m.safetensors")
    weights = sum(each.numel() for each in model.parameters()) * 4
    sizes = {path.name: path.stat().st_size for path in either.glob("*.onnx")}
    assert weights < 1.1 * sizes["model.onnx"] and sum(sizes.values()) < 1.1 * weights
    whole = onnx.load(either / "model.onnx", load_external_data=False)
    assert not any(each.data_location for each in whole.graph.initializer)
    assert not any(node.metadata_props for node in whole.graph.node)  # which tell of files of this machine


MFF_SWITCHES = [
    {"select": False}, {"select_temperature": 0.1}, {"reweight": False}, {"residual": False}, {"weight": "spatial"},
    {"unit_scale": True},
    {"select": False, "residual": False, "weight": "spatial", "unit_scale": True},
]  # fmt: skip


class OneLevel(torch.nn.Module):
    """MFF of the rows of one level (R, C, H, W) -> (1, C, H, W), as `FusionGraph` calls it."""

    def __init__(self, switches):
        super().__init__()
        self.mff = MFF(MFFConfig(**switches))

    def forward(self, rows):
        return self.mff(rows[None], torch.ones(1, rows.shape[0], dtype=torch.bool))


@pytest.mark.parametrize("switches", MFF_SWITCHES, ids=str)
def test_value_every_switch_of_mff_is_exported(tmp_path, switches):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 6, 5, 7)).astype(np.float32))
    level = OneLevel(switches)
    onnx.save(write.exported(level, {"level": rows[:3]}, ("fused",), 4), tmp_path / "g.onnx")
    graph = graph_of(tmp_path / "g.onnx")
    for kept in (slice(0, 4), slice(1, 3), slice(3, 4)):
        (found,) = graph.run(["fused"], {"level": rows[kept].numpy()})
        np.testing.assert_allclose(found, level(rows[kept]).numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "mean_predictions", "num_classes": 3},
        {"fusion": "mean_predictions", "content_masks": True, "modalities": ("rgb", "depth", "lidar")},
        {**EARLY, "content_masks": True, "modalities": ("rgb", "depth", "lidar")},
        {"encoder": "mit_b2", "modalities": ("rgb", "lidar")},
        {"modalities": ("rgb", "event", "lidar"), "num_classes": 19},
        {"modalities": VAN.members, "num_classes": 300, "align_corners": True, "layer_norm_eps": 1e-6},
        {"head": "mlp_relu", "modalities": ("depth",), "mff": {"unit_scale": True}},
    ],
    ids=str,
)
def test_value_other_models_pass_the_comparison(tmp_path, changes):
    model = trained_like(**changes)
    contract = {"label_space": "muses-19"} if model.config.num_classes == 19 else {}
    if "num_classes" in changes and not contract:
        names = [f"class {number}" for number in range(changes["num_classes"])]
        contract["label_space"] = {"name": "many", "classes": names}
    if model.modalities == VAN.members:
        contract["suite"] = VAN
    written = export_checkpoint(saved(tmp_path / "m.safetensors", model, **contract), tmp_path / "out")
    assert written["differing_share"] <= 0.001 and written["subsets"] == 2 ** len(model.modalities) - 1
    assert open_exported(tmp_path / "out").align_corners == model.config.align_corners
    predictor = Predictor.load(tmp_path / "out")
    unlabelled = 255 if model.config.num_classes <= 255 else 65535
    plane = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for name in model.modalities:
        alone = predictor({name: plane})
        assert alone.used == (name,) and alone.labels.shape == (40, 50) and alone.labels.max() < unlabelled


def test_value_the_folder_holds_what_the_checkpoint_says(folder):
    document = read_metadata(folder)
    original = read_metadata(folder.parent / "m.safetensors")
    assert {part: document[part] for part in original} == original
    assert sorted(path.name for path in folder.iterdir()) == FILES
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("OK") == 4
    for name in ("model.onnx", "encoder.onnx", "fusion.onnx"):
        onnx.checker.check_model(str(folder / name))


def test_value_the_program_of_the_readme_gives_the_labels_of_the_predictor(either, tmp_path):
    program = re.search(r"```python\n(.*?)```", (either / "README.md").read_text(), re.S)[1]
    assert program.count("\n") <= 50
    assert set(re.findall(r"^import (.*)$", program, re.M)) == {"json, sys", "cv2, numpy, onnxruntime"}
    rng, planes = np.random.default_rng(0), {}
    for name in ("rgb", "lidar"):
        planes[name] = cv2.resize(rng.integers(0, 256, (12, 20, 3), np.uint8), (161, 97), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{name}.png"), planes[name][:, :, ::-1])
    words = [f"{name}={tmp_path / name}.png" for name in planes]
    command = [sys.executable, "-c", program, str(tmp_path / "labels.png"), *words]
    subprocess.run(command, cwd=either, check=True, timeout=120)
    found = cv2.imread(str(tmp_path / "labels.png"), cv2.IMREAD_UNCHANGED)
    model, contract, _ = load_checkpoint(either.parent / "m.safetensors")
    expected = Predictor(model, contract)(planes).labels
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert (found != expected).mean() <= 0.001


def test_value_the_program_in_c_plus_plus_names_what_the_graph_has(folder):
    text = (ROOT / "docs" / "deployment.md").read_text()
    program = re.search(r"```cpp\n(.*?)```", text, re.S)[1]
    assert program.count("\n") <= 60
    graph, contract = graph_of(folder / "model.onnx"), json.loads((folder / "model.json").read_text())["contract"]
    names = [re.findall(r'"(\w+)"', part) for part in re.findall(r"(?:inputs|outputs)\[\] = \{(.*?)\}", program)]
    assert [names[0], len(names)] == [[each.name for each in graph.get_inputs()], 2]
    assert set(names[1]) <= {each.name for each in graph.get_outputs()}
    for key, of in re.findall(r"contract\.(\w+)(?:\.(\w+))?", program):
        assert not of or of in contract[key]
    usual = contract["normalisation"]["rgb"]
    for key, name in (("mean", "mean"), ("std", "deviation")):
        given = re.search(rf"\b{name}\[\] = \{{(.*?)\}}", program)[1]
        assert [float(each) for each in given.split(",")] == usual[key]


def test_value_the_readme_tells_of_temperatures(tmp_path):
    model = trained_like()
    for number, temperatures in enumerate(({}, {"R": 1.5})):
        contract = InputContract(modalities=model.modalities, height=HEIGHT, width=WIDTH, temperatures=temperatures)
        text = write._readme(tmp_path / "m.safetensors", model, contract, 0.0)
        assert ("contract.temperatures" in text) == bool(number)


def test_exception_a_folder_that_is_there_is_left_alone(folder, tmp_path):
    checkpoint = folder.parent / "m.safetensors"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with user_error("output-exists", "is there already"):
        export_checkpoint(checkpoint, tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


@pytest.mark.parametrize("fusion", ["early_concat", "linear"])
def test_exception_sensors_that_are_encoded_together_have_no_such_graph(tmp_path, fusion):
    path = saved(tmp_path / "m.safetensors", trained_like(fusion=fusion))
    with user_error("model-unsuitable", f"fusion={fusion}"):
        export_checkpoint(path, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_exception_a_graph_of_other_labels_is_refused(folder, tmp_path, monkeypatch):
    def of_another_model(model, contract, out, source):
        for name in ("model.onnx", "encoder.onnx", "fusion.onnx"):
            shutil.copy(folder / name, out / name)

    monkeypatch.setattr(write, "write_graphs", of_another_model)
    model = trained_like()
    model.head.classifier.bias.data[3] += 5.0
    path = saved(tmp_path / "m.safetensors", model)
    with user_error("model-unsuitable", "other labels than PyTorch"):
        export_checkpoint(path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_value_what_is_empty_is_known_by_the_sensor(gated):
    """Images a half of which says nothing have other labels when the empty pixel is another one."""
    model, contract, _ = load_checkpoint(gated.parent / "m.safetensors")
    images = half_empty(noise({name: contract.size_of(name) for name in contract.modalities}), contract)
    for name, empty in contract.empty_pixels.items():
        is_empty = (images[name] == np.array(empty, np.float32)[:, None, None]).all(axis=1)  # (1, h, w)
        assert is_empty.mean() == 0.5 and (is_empty.all(axis=1) | ~is_empty.any(axis=1)).all()
    shares = []
    for empty in (contract.empty_pixels, dict.fromkeys(contract.modalities, (9.0, 9.0, 9.0))):
        engine = graph_engine("onnxruntime", gated, open_exported(gated).encoders, empty, False)
        with torch.no_grad():
            shares.append(differing_share(engine, EagerEngine(model), images))
    assert shares[0] <= 0.001 and shares[1] > 0.05


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_exception_a_package_that_is_missing_is_told_before_work_begins(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with user_error("package-missing", "pip install 'any2seg"):
        export_checkpoint(tmp_path / "nothing.safetensors", tmp_path / "out")


def test_exception_an_exported_folder_is_no_checkpoint_to_train_on(folder):
    with user_error("checkpoint-foreign", "give the .safetensors checkpoint"):
        load_checkpoint(folder)


def test_value_model_json_is_plain_json_for_other_programs(folder):
    contract = json.loads((folder / "model.json").read_text())["contract"]
    assert (contract["height"], contract["width"]) == (HEIGHT, WIDTH) and "label_space" in contract
