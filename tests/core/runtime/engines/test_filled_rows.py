"""Only rows that hold something are encoded; the rest is what the model makes of nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.engines.compiled import CompileEngine
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.graph import GraphEngine
from any2seg_core.runtime.feature_memory import FeatureMemory
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite, all_subsets
from any2seg_core.vocabulary.sensor import Sensor

HEIGHT, WIDTH = 160, 64
TRUCK = SensorSuite(
    "truck",
    (
        Sensor("front", "F", "image"),
        Sensor("roof", "O", "points"),
        Sensor("bumper", "B", "points"),
        Sensor("radar", "R", "points", value_range=(-20, 40)),
    ),
)
NAMES = TRUCK.members


def build(fusion: str = "mff", engine: str = "cpu", scale: dict | None = None):
    """An engine with filled rows, the same without, and what the first one's model was given to encode."""
    torch.manual_seed(0)
    config = ModelConfig(
        head_width=16, num_classes=7, modalities=NAMES, fusion=fusion, mff_early={"scale": scale or {}}
    )
    model = Any2Seg(config).eval()
    height = 192 if scale else HEIGHT  # of which a half is a multiple of 32 too
    contract = InputContract(modalities=NAMES, height=height, width=WIDTH, suite=TRUCK, scale=scale or {})
    made = {"cpu": CpuEngine, "eager": EagerEngine}[engine]
    rows, whole, seen = made(model), made(model), []
    rows.encode_filled_rows(contract)
    encode = rows.model.encode
    rows.model.encode = lambda images: seen.append((*images, *next(iter(images.values())).shape[2:])) or encode(images)
    return rows, whole, contract, seen


def planes_of(bands: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    rng, planes = np.random.default_rng(1), {}
    for name, (first, last) in bands.items():
        planes[name] = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        planes[name][first:last] = rng.integers(1, 256, (last - first, WIDTH, 3))
    return planes


def levels_equal(found, expected) -> bool:
    return all(torch.equal(*pair) for pair in zip(found.levels, expected.levels, strict=True))


@torch.inference_mode()
@pytest.mark.parametrize("engine", ["cpu", "eager"])
@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "mff_early"])
def test_value_filled_rows_are_encoded_alone_and_the_rest_is_that_of_nothing(fusion, engine):
    rows, whole, contract, seen = build(fusion, engine)
    bands = {"front": (40, 90), "roof": (40, 90), "bumper": (64, 65), "radar": (0, 160)}
    images = rows.images(planes_of(bands), contract)
    found = {name: rows.encode_sensor(name, image) for name, image in images.items()}
    nothing = ("roof", 160, WIDTH), ("roof", 64, WIDTH), ("bumper", 160, WIDTH), ("bumper", 32, WIDTH)
    assert seen == [("front", 160, WIDTH), *nothing, ("radar", 160, WIDTH)]
    for name in ("front", "radar"):
        assert levels_equal(found[name], whole.encode_sensor(name, images[name]))
    empty = whole.images(planes_of({"roof": (0, 0)}), contract)["roof"]
    empty, part = (whole.encode_sensor("roof", each) for each in (empty, images["roof"][:, :, 32:96].contiguous()))
    for j, level in enumerate(found["roof"].levels):
        stride = 4 * 2**j
        inside = slice(32 // stride, 96 // stride)
        assert torch.equal(level[:, :, :, inside], part.levels[j])
        outside = [place for place in range(160 // stride) if not inside.start <= place < inside.stop]
        assert torch.equal(level[:, :, :, outside], empty.levels[j][:, :, :, outside])
    if fusion == "mean_predictions":
        assert torch.equal(found["roof"].logits[:, :, :, 8:24], part.logits)
    logits = rows.decode(rows.fuse(rows.together(found)))
    assert logits.shape == (1, 7, HEIGHT // 4, WIDTH // 4) and bool(logits.isfinite().all())


@torch.inference_mode()
def test_value_nothing_at_all_is_encoded_once_and_a_size_that_changes_anew():
    rows, whole, contract, seen = build()
    for height, width in ((160, 64), (160, 64), (96, 64), (160, 64)):
        pixel = whole.images(planes_of({"roof": (0, 0)}), contract)["roof"][:, :, :1, :1]
        image = pixel.expand(1, 3, height, width).contiguous()
        assert levels_equal(rows.encode_sensor("roof", image), whole.encode_sensor("roof", image))
    assert seen == [("roof", 160, 64), ("roof", 96, 64), ("roof", 160, 64)]


@torch.inference_mode()
def test_value_samples_of_a_batch_have_rows_of_their_own():
    rows, _, contract, _ = build("mean_predictions")
    bands = ((0, 20), (100, 160), (0, 160), (0, 0))
    images = torch.cat([rows.images(planes_of({"roof": band}), contract)["roof"] for band in bands])
    batch = rows.encode_sensor("roof", images)
    for b in range(len(bands)):
        alone = rows.encode_sensor("roof", images[b : b + 1])
        assert all(torch.equal(one[b : b + 1], other) for one, other in zip(batch.levels, alone.levels, strict=True))
        assert torch.equal(batch.logits[b : b + 1], alone.logits)


@torch.inference_mode()
def test_value_a_sensor_at_half_the_size():
    rows, whole, contract, seen = build("mff_early", scale={"roof": 0.5})
    image = torch.randn(1, 3, 96, 32)
    nothing = rows.images(planes_of({"roof": (0, 0)}), contract)["roof"][:, :, :1, :1]
    image[:, :, 64:] = nothing
    found = rows.encode_sensor("roof", image)
    assert seen == [("roof", 96, 32), ("roof", 64, 32)]
    part = whole.encode_sensor("roof", image[:, :, :64].contiguous())
    assert [level.shape[3] for level in found.levels] == [48, 24]
    assert all(torch.equal(a[:, :, :, : b.shape[3]], b) for a, b in zip(found.levels, part.levels, strict=True))


@pytest.mark.parametrize("engine", ["cpu", "eager"])
def test_value_subsets_and_reuse_are_bit_equal_to_calls(engine):
    rows, _, contract, _ = build(engine=engine)
    predictor, memory = Predictor(rows, contract), FeatureMemory()
    planes = planes_of({"front": (0, 160), "roof": (50, 60), "bumper": (120, 160), "radar": (10, 90)})
    found = predictor.subsets(planes, all_subsets(NAMES), features=memory)
    for subset, several in found.items():
        alone = predictor({name: planes[name] for name in subset})
        assert np.array_equal(several.labels, alone.labels) and np.array_equal(several.confidence, alone.confidence)


def test_value_the_predictor_says_so_and_planes_without_voids_have_the_same_labels():
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=16, num_classes=7, modalities=NAMES)).eval()
    contract = InputContract(modalities=NAMES, height=HEIGHT, width=WIDTH, suite=TRUCK)
    rows, whole = (Predictor(model, contract, filled_rows=on) for on in (True, False))
    full = planes_of(dict.fromkeys(NAMES, (0, 160)))
    assert np.array_equal(rows(full).confidence, whole(full).confidence)
    partly = full | planes_of({"roof": (60, 90)})
    assert not np.array_equal(rows(partly).confidence, whole(partly).confidence)


@pytest.mark.parametrize("fusion", ["linear", "early_concat"])
def test_exception_sensors_that_are_encoded_together(fusion):
    model = Any2Seg(ModelConfig(head_width=16, modalities=NAMES, fusion=fusion)).eval()
    with user_error("model-unsuitable", "filled_rows", fusion):
        Predictor(model, InputContract(modalities=NAMES, height=32, width=32, suite=TRUCK), filled_rows=True)


def test_exception_engines_of_one_size():
    contract = InputContract(height=32, width=32)
    with user_error("runtime-unsuitable", "onnxruntime", "eager or cpu"):
        Predictor(GraphEngine("onnxruntime", "1", {}, None, {}), contract, filled_rows=True)
    engine = EagerEngine.__new__(CompileEngine)
    with user_error("runtime-unsuitable", "compile", "eager or cpu"):
        engine.encode_filled_rows(contract)


def test_value_an_empty_plane_reaches_no_engine():
    rows, _, contract, seen = build()
    predictor = Predictor(rows, contract)
    planes = planes_of({"front": (0, 160), "roof": (0, 0), "radar": (0, 160)})
    result = predictor(planes)
    assert [name for name, *_ in seen] == ["front", "radar"] and result.used == ("front", "radar")
    assert list(result.empty) == ["roof"]
