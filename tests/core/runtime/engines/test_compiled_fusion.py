"""MFF and head of an exported model in compiled code: the logits of the model, or the graph in their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exported import HEIGHT, WIDTH, images_of, trained_like
from raised import user_error

from any2seg_core.kernels.fusion import weigh_and_select as weigh
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.runtime.engines import compiled_fusion
from any2seg_core.runtime.engines.compiled_fusion import HEAD, CompiledFusion, is_compiled
from any2seg_core.runtime.engines.graph import LEVELS, GraphEngine
from any2seg_core.runtime.export.graphs import SoundHead
from any2seg_core.vocabulary.modalities import all_subsets

NAMES = ("rgb", "depth", "event", "lidar")
SWITCHES = [
    {}, {"select_temperature": 0.1}, {"reweight": False}, {"residual": False}, {"unit_scale": True},
    {"reweight": False, "unit_scale": True, "select_temperature": 0.3},
]  # fmt: skip


class Stand:
    """A graph that is a function of PyTorch."""

    def __init__(self, inputs, outputs, function):
        self.inputs, self.outputs, self._function = inputs, outputs, function

    def __call__(self, outputs, inputs):
        with torch.no_grad():
            return [each.numpy() for each in self._function(*map(torch.from_numpy, inputs.values()))]


def compiled_of(model, bias: float = 0.0) -> CompiledFusion:
    head = {name: each.t().numpy().copy() for name, each in SoundHead(model.head).state_dict().items()}
    head["offset"][3] += bias
    return CompiledFusion(head, model.config.mff.model_dump())


def engine_of(model, compiled) -> GraphEngine:
    def rest(*levels):
        present = torch.ones(1, len(levels[0]), dtype=torch.bool)
        return [model.head([model.fusion(level[None], present) for level in levels])]

    encoder, fusion = Stand(("images",), LEVELS, model.encoder), Stand(LEVELS, ("logits",), rest)
    encoders, empty = dict.fromkeys(NAMES, encoder), dict.fromkeys(NAMES, (0.0, 0.0, 0.0))
    return GraphEngine("onnxruntime", "1", encoders, fusion, empty, compiled=compiled)


def noise() -> dict[str, np.ndarray]:
    return {name: image.numpy() for name, image in images_of(NAMES).items()}


def logits_of(engine, images):
    return [engine.decode(each) for each in engine.fuse_subsets(engine.encode(images), all_subsets(NAMES))]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_value_every_subset_has_the_logits_of_the_model(switches):
    model, images = trained_like(mff=switches), images_of(NAMES)
    with torch.no_grad():
        features = {name: [level[0].numpy() for level in model.encoder(image)] for name, image in images.items()}
        found = compiled_of(model).subsets(features, all_subsets(NAMES))
        for subset, logits in zip(all_subsets(NAMES), found, strict=True):
            expected = model.decode(model.fuse(model.encode({name: images[name] for name in subset}))).numpy()
            assert logits.shape == (1, 25, HEIGHT // 4, WIDTH // 4) and logits.dtype == np.float32
            np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_value_a_subset_has_the_bits_of_its_sensors_alone(monkeypatch):
    model, images = trained_like(), noise()
    monkeypatch.setattr(WORKLOAD, "is_for_kernels", lambda values: True)
    engine, graph = engine_of(model, compiled_of(model)), engine_of(model, None)
    together = logits_of(engine, images)
    assert not all(map(np.array_equal, together, logits_of(graph, images)))  # it is other code
    for subset, logits in zip(all_subsets(NAMES), together, strict=True):
        alone = engine.encode({name: images[name] for name in subset})
        assert np.array_equal(logits, engine.decode(engine.fuse(alone)))


@pytest.mark.parametrize("names", [("rgb",), NAMES])
def test_value_kernels_get_arrays_of_one_order_and_are_compiled_once(monkeypatch, names):
    """A node that compiled them again when the first sensor falls silent would say nothing for seconds."""
    given, model = [], trained_like()
    monkeypatch.setattr(compiled_fusion, "weigh_and_select", lambda *words: given.append(words) or weigh(*words))
    with torch.no_grad():
        features = {name: [level[0].numpy() for level in model.encoder(images_of(NAMES)[name])] for name in names}
    list(compiled_of(model).subsets(features, [names]))
    assert len(given) == 4 and all(each.flags.c_contiguous for words in given for each in words[:3])


def test_value_frames_of_a_batch_do_not_meet(monkeypatch):
    monkeypatch.setattr(WORKLOAD, "is_for_kernels", lambda values: True)
    model, images = trained_like(), noise()
    engine = engine_of(model, compiled_of(model))
    both = engine.fuse(engine.encode({name: np.concatenate([image, image[:, ::-1]]) for name, image in images.items()}))
    assert both.shape == (2, 25, HEIGHT // 4, WIDTH // 4)
    assert np.array_equal(both[:1], engine.fuse(engine.encode(images)))


@pytest.mark.parametrize("is_for_kernels", [True, False])
def test_value_what_runs_is_settled_by_the_first_set(monkeypatch, is_for_kernels):
    """The last bits of the two differ: the same frame must not have other ones later."""
    model, images = trained_like(), noise()
    engine = engine_of(model, compiled_of(model))
    asked = []
    monkeypatch.setattr(WORKLOAD, "is_for_kernels", lambda values: asked.append(values) or is_for_kernels)
    first = logits_of(engine, images)
    assert asked == [14 * 16 * (HEIGHT // 4) * (WIDTH // 4)]  # subsets after the first, width of the head, places
    monkeypatch.setattr(WORKLOAD, "is_for_kernels", lambda values: not is_for_kernels)
    assert all(map(np.array_equal, first, logits_of(engine, images)))


def test_value_code_of_other_labels_is_passed_over(monkeypatch, caplog):
    monkeypatch.setattr(WORKLOAD, "is_for_kernels", lambda values: True)
    model, images = trained_like(), noise()
    found = logits_of(engine_of(model, compiled_of(model, bias=50.0)), images)
    assert "not those of the graph" in caplog.text
    assert all(map(np.array_equal, found, logits_of(engine_of(model, None), images)))


def test_value_numbers_that_are_none_stay_so():
    model = trained_like()
    with torch.no_grad():
        features = {
            name: [level[0].numpy() for level in model.encoder(image)] for name, image in images_of("ab").items()
        }
    features["b"][2][5, 1, 1] = np.nan
    alone, together = compiled_of(model).subsets(features, [("a",), ("a", "b")])
    assert np.isfinite(alone).all() and np.isnan(together).any()


def test_value_models_with_compiled_code():
    assert is_compiled({"fusion": "mff"}) and is_compiled({"fusion": "mff", "mff": {"select_temperature": 0.1}})
    for model in ({"fusion": "mff_early"}, {"fusion": "mff", "mff": {"select": False}},
                  {"fusion": "mff", "head": "mlp_relu"}, {"fusion": "mff", "mff": {"weight": "spatial"}},
                  {"fusion": "mff_gated"}, {"fusion": "mff", "content_masks": True}):  # fmt: skip
        assert not is_compiled(model)


@pytest.mark.parametrize("broken", ["missing", "beyond the file", "shape"])
def test_exception_places_of_a_head_that_is_not_there(tmp_path, broken):
    values = np.arange(24, dtype="<f4")
    values.tofile(tmp_path / "model.onnx")
    places = dict.fromkeys(HEAD, (0, [4, 6]))
    found = CompiledFusion.read(tmp_path / "model.onnx", places, {}).head["classes"]
    assert found.tolist() == values.reshape(4, 6).tolist()
    if broken == "missing":
        del places["bias"]
    else:
        places["bias"] = (90, [24]) if broken == "beyond the file" else (0, ["a"])
    with user_error("checkpoint-damaged", "model.onnx", "export the checkpoint again"):
        CompiledFusion.read(tmp_path / "model.onnx", places, {})
