"""The NumPy door: planes and raw arrays, any subset, and messages for what cannot be segmented."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets

HEIGHT, WIDTH = 70, 101
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0.4], [1, 0, 0, -0.5], [0, 0, 0, 1]], float)


@pytest.fixture(scope="module")
def model() -> Any2Seg:
    torch.manual_seed(0)
    return Any2Seg(ModelConfig(head_width=32))


@pytest.fixture(scope="module")
def predictor(model) -> Predictor:
    return Predictor(model, InputContract(height=64, width=96))


@pytest.fixture(scope="module")
def rig() -> SensorRig:
    camera = CameraModel.from_fov(WIDTH, HEIGHT, 80.0)
    return SensorRig(Calibration(camera=camera, lidar_to_camera=LIDAR_TO_CAMERA), 50_000_000)


@pytest.fixture(scope="module")
def raw() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    events = np.zeros(500, EVENT_DTYPE)
    events["x"] = rng.integers(0, WIDTH, 500)
    events["y"] = rng.integers(0, HEIGHT, 500)
    events["t"] = np.sort(rng.integers(10**9, 10**9 + 40_000_000, 500))
    events["p"] = rng.choice([-1, 1], 500)
    points = rng.uniform([2, -8, -2, 0], [40, 8, 3, 1], (3000, 4)).astype(np.float32)
    return {
        "rgb": rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        "depth": rng.uniform(1, 60, (HEIGHT, WIDTH)).astype(np.float32),
        "event": events,
        "lidar": points,
    }


@pytest.mark.parametrize("subset", all_subsets(), ids="-".join)
def test_shape_any_subset_of_raw_samples(predictor, rig, raw, subset):
    result = predictor({name: raw[name] for name in reversed(subset)}, rig, stamp_ns=10**9 + 40_000_000)
    assert result.used == subset
    assert result.labels.shape == result.confidence.shape == (HEIGHT, WIDTH)
    assert result.labels.dtype == np.uint8
    assert result.confidence.dtype == np.float32
    assert result.labels.max() < 25
    assert ((result.confidence > 0) & (result.confidence <= 1)).all()


def test_value_planes_give_the_same_as_raw_samples(predictor, rig, raw):
    stamp_ns = 10**9 + 40_000_000
    planes = rig.planes(raw, stamp_ns)
    assert (predictor(planes).labels == predictor(raw, rig, stamp_ns).labels).all()


def test_value_repeated_calls_agree_and_leave_the_input_alone(predictor, raw):
    image = raw["rgb"].copy()
    first = predictor({"rgb": image})
    second = predictor({"rgb": image})
    assert (first.labels == second.labels).all()
    assert (image == raw["rgb"]).all()


def test_shape_output_size_can_be_chosen(predictor, raw):
    assert predictor({"rgb": raw["rgb"]}, size=(33, 47)).labels.shape == (33, 47)


def test_smoke_load_and_warm_up(model, predictor, tmp_path):
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, predictor.contract, {})
    loaded = Predictor.load(path)
    loaded.warm_up()
    image = np.full((40, 50, 3), 90, np.uint8)
    assert (loaded({"rgb": image}).labels == predictor({"rgb": image}).labels).all()


@pytest.fixture
def bfloat16(monkeypatch):
    """The processor has instructions for it, whatever this machine has."""
    monkeypatch.setattr("any2seg_core.models.precision.has_bfloat16", lambda: True)


@pytest.mark.usefixtures("bfloat16")
def test_value_bfloat16_is_near_and_subsets_agree_with_calls(predictor, rig, raw):
    planes = rig.planes(raw, 10**9 + 40_000_000)
    torch.manual_seed(0)
    reduced = Predictor(Any2Seg(ModelConfig(head_width=32)), InputContract(height=64, width=96), precision="bfloat16")
    reduced.warm_up()
    several = reduced.subsets(planes, [("depth",), VEHICLE.members])
    for subset, result in several.items():
        alone = reduced({name: planes[name] for name in subset})
        exact = predictor({name: planes[name] for name in subset})
        assert np.array_equal(result.labels, alone.labels) and np.array_equal(result.confidence, alone.confidence)
        assert 0 < np.abs(result.confidence - exact.confidence).mean() < 2e-3


def test_exception_messages(predictor, raw):
    with user_error("sensor-none", "rgb, depth, event, lidar"):
        predictor({})
    with user_error("sensor-unknown", "'radar'"):
        predictor({"radar": raw["rgb"]})
    with user_error("calibration-missing", "depth"):
        predictor({"rgb": raw["rgb"], "depth": raw["depth"]})
    with user_error("size-mismatch", "{'rgb': (70, 101), 'lidar': (10, 10)}"):
        predictor({"rgb": raw["rgb"], "lidar": np.zeros((10, 10, 3), np.uint8)})


def test_exception_modality_the_checkpoint_does_not_know(raw):
    model = Any2Seg(ModelConfig(head_width=32, modalities=("rgb", "depth")))
    predictor = Predictor(model, InputContract(height=64, width=96, modalities=("rgb", "depth")))
    with user_error("sensor-absent", "lidar", "rgb, depth"):
        predictor({"lidar": np.zeros((64, 96, 3), np.uint8)})
    assert "lidar" not in predictor.contract.modalities


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:first", "meta", ""])
def test_exception_device_that_is_not_there(tmp_path, device):
    with user_error("device-missing", device) as caught:
        Predictor.load(tmp_path / "m.safetensors", device=device)
    assert "\n" not in str(caught.value)


def test_exception_raw_samples_for_a_model_of_other_planes(rig, raw):
    """DELIVER's published lidar images are not what the rig makes of a cloud: no silent nonsense."""
    encodings = InputContract().encodings | {"lidar": "deliver-lidar"}
    foreign = Predictor(Any2Seg(ModelConfig(head_width=16)), InputContract(height=64, width=96, encodings=encodings))
    with user_error("plane-encoding", "deliver-lidar"):
        foreign({"rgb": raw["rgb"], "lidar": raw["lidar"]}, rig)
    plane = rig.planes({"lidar": raw["lidar"]}, 0)
    assert foreign(plane).used == ("lidar",)
    assert foreign({"depth": raw["depth"]}, rig).used == ("depth",)


def test_shape_fine_planes_of_materials():
    names = ("rgb", "aolp", "dolp", "nir")
    contract = InputContract(modalities=names, height=64, width=96, label_space="mcubes-20")
    predictor = Predictor(Any2Seg(ModelConfig(head_width=16, num_classes=20, modalities=names)), contract)
    plane = np.random.default_rng(0).uniform(-255, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
    result = predictor({"aolp": plane, "nir": np.abs(plane)})
    assert result.used == ("aolp", "nir")
    assert result.labels.shape == (HEIGHT, WIDTH)
    assert result.labels.max() < 20


def test_value_nothing_is_compiled_after_the_warm_up():
    """In a process of its own: no frame of any subset, size or layout waits for a compiler."""
    program = """
import numpy as np, torch
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.kernels import fusion, head, labels, planes
from any2seg_core.vocabulary.modalities import all_subsets
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.preprocess import planes_to_tensor

def compiled():
    modules = (fusion, head, labels, planes)
    return {(m.__name__, n): len(f.signatures) for m in modules for n, f in vars(m).items() if hasattr(f, "signatures")}

predictor = Predictor(Any2Seg(ModelConfig(head_width=32)), InputContract(height=64, width=96))
predictor.warm_up()
warm = compiled()
assert len(warm) > 5 and sum(warm.values()) > 5, warm
for height, width in ((64, 96), (70, 101), (33, 300)):
    for subset in all_subsets():
        predictor({name: np.ones((height, width, 3), np.uint8) for name in subset})
        predictor({name: np.ones((height, width, 3), np.uint8) for name in subset}, size=(41, 17))
print({key: (warm[key], count) for key, count in compiled().items() if count != warm[key]})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "{}"


def test_exception_intensity_of_bytes_is_told(predictor, rig, raw):
    points = raw["lidar"].copy()
    points[:, 3] = np.linspace(0, 255, len(points))
    with user_error("value-range", "255"):
        predictor({"lidar": points}, rig)


NOTHING = {
    "rgb": np.zeros((HEIGHT, WIDTH, 3), np.uint8),
    "depth": np.zeros((HEIGHT, WIDTH), np.float32),
    "event": np.zeros(0, EVENT_DTYPE),
    "lidar": np.full((50, 4), [-9, 0, 0, 1], np.float32),
}


@pytest.mark.parametrize("name", VEHICLE.members)
def test_value_an_empty_plane_is_not_fused_and_changes_nothing(predictor, rig, raw, name):
    stamp_ns = 10**9 + 40_000_000
    others = {other: raw[other] for other in VEHICLE.members if other != name}
    result = predictor({**others, name: NOTHING[name]}, rig, stamp_ns)
    expected = predictor(others, rig, stamp_ns)
    assert result.used == expected.used == tuple(others)
    assert list(result.empty) == [name] and result.empty[name].startswith(f"{name}: ")
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.confidence, expected.confidence)
    assert expected.empty == {}


def test_value_an_empty_ready_plane_is_not_fused(predictor, raw):
    planes = {"rgb": raw["rgb"], "lidar": np.zeros((HEIGHT, WIDTH, 3), np.uint8)}
    assert predictor(planes).used == ("rgb",)
    fine = {"rgb": np.zeros((HEIGHT, WIDTH, 3), np.float32), "depth": np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)}
    assert predictor(fine).used == ("depth",)


@pytest.mark.parametrize("subset", all_subsets(), ids="-".join)
def test_exception_nothing_but_empty_planes(predictor, rig, subset):
    with user_error("sensor-empty", subset[0]):
        predictor({name: NOTHING[name] for name in subset}, rig, 10**9)
    with user_error("sensor-empty"):
        predictor.subsets({name: NOTHING[name] for name in subset}, [subset], rig, 10**9)


def test_value_subsets_leave_empty_planes_out(predictor, rig, raw):
    """Depth is empty: alone it has no entry, with others it is as if it were not there."""
    stamp_ns = 10**9 + 40_000_000
    samples = raw | {"depth": NOTHING["depth"]}
    found = predictor.subsets(samples, all_subsets(), rig, stamp_ns)
    assert set(found) == set(all_subsets()) - {("depth",)}
    for subset, result in found.items():
        seen = tuple(name for name in subset if name != "depth")
        assert result.used == seen and result is found[seen]
    without = predictor({name: raw[name] for name in VEHICLE.members if name != "depth"}, rig, stamp_ns)
    assert np.array_equal(found[VEHICLE.members].labels, without.labels)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "early_concat", "linear"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_value_weights_that_are_not_finite_label_nothing(raw, fusion, precision, value):
    """Also the query of an attention and the hidden map of the head, where a kernel could lose a NaN."""
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=32, fusion=fusion))
    planes = dict.fromkeys(VEHICLE.members, raw["rgb"])
    places = ("encoder.stages.0.blocks.1.attn.q.weight", "encoder.stages.2.blocks.0.mlp.fc1.bias",
              "head.projections.1.weight", "head.classifier.bias")  # fmt: skip
    for place in places:
        poisoned = copy.deepcopy(model)
        poisoned.state_dict()[place].view(-1)[0] = value
        result = Predictor(poisoned, InputContract(height=64, width=96), precision=precision)(planes)
        assert (result.labels == 255).all(), place
        assert not result.confidence.any() and result.invalid_share == 1.0, place
    healthy = Predictor(model, InputContract(height=64, width=96), precision=precision)(planes)
    assert healthy.invalid_share == 0.0 and healthy.labels.max() < 25


def test_value_a_stream_is_sound_again_after_a_set_that_was_not(raw):
    """The anchor of the next set is not the broken one: it is as if the stream began there."""
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=32)).eval()
    engine = EagerEngine(model)  # sees weights that change
    stream = Predictor(engine, InputContract(height=64, width=96), stream="anchor")
    planes = {"rgb": raw["rgb"], "depth": raw["rgb"][::-1]}
    weight = model.state_dict()["encoder.stages.1.blocks.0.attn.proj.weight"]
    stream(planes, stamp_ns=0)
    good, weight[0, 0] = weight[0, 0].item(), np.nan
    assert stream(planes, stamp_ns=10**8).invalid_share == 1.0
    weight[0, 0] = good
    result, first = stream(planes, stamp_ns=2 * 10**8), Predictor(engine, stream.contract)(planes)
    assert result.invalid_share == 0.0
    assert np.array_equal(result.labels, first.labels)


@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "early_concat", "linear"])
@pytest.mark.parametrize("engine", ["cpu", "eager"])
def test_value_a_subset_of_several_is_bit_equal_to_a_call_of_its_own(rig, raw, fusion, engine):
    torch.manual_seed(3)
    model = Any2Seg(ModelConfig(head_width=32, fusion=fusion)).eval()
    own = CpuEngine(model) if engine == "cpu" else EagerEngine(model)
    predictor = Predictor(own, InputContract(height=64, width=160))
    planes = rig.planes(raw, 10**9 + 40_000_000)
    found = predictor.subsets(planes, all_subsets(), compared="depth")
    for subset, several in found.items():
        alone = predictor({name: planes[name] for name in subset}, size=(HEIGHT, WIDTH), compared="depth")
        assert np.array_equal(several.labels, alone.labels), subset
        assert np.array_equal(several.confidence, alone.confidence), subset
        assert several.agreement == alone.agreement


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_exception_a_fine_plane_that_is_not_finite(predictor, raw, value):
    plane = np.full((HEIGHT, WIDTH, 3), 3.5, np.float32)
    plane[5, 6, 1] = value
    with user_error("not-finite", "depth"):
        predictor({"rgb": raw["rgb"], "depth": plane})


@pytest.mark.parametrize("fusion", ["mff", "mean_predictions"])
@pytest.mark.parametrize("compared", ["rgb", "lidar"])
def test_value_agreement_is_that_of_the_two_maps_of_the_model(rig, raw, fusion, compared):
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=32, fusion=fusion))
    predictor = Predictor(model, InputContract(height=64, width=96))
    planes = rig.planes(raw, 10**9 + 40_000_000)
    result, plain = predictor(planes, compared=compared), predictor(planes)
    assert np.array_equal(result.labels, plain.labels) and np.array_equal(result.confidence, plain.confidence)
    assert plain.agreement is None
    with torch.inference_mode():
        encoded = model.encode(planes_to_tensor(planes, predictor.contract))
        together = model.decode(model.fuse(encoded)).argmax(dim=1)[0]  # (16, 24)
        alone = model.modality_logits(encoded)[0, VEHICLE.members.index(compared)].argmax(dim=0)
    assert result.agreement == pytest.approx((together == alone).float().mean().item(), abs=0.01)


@pytest.mark.parametrize("fusion", ["early_concat", "linear"])
def test_value_nothing_is_compared_where_sensors_are_encoded_together(raw, fusion):
    predictor = Predictor(Any2Seg(ModelConfig(head_width=32, fusion=fusion)), InputContract(height=64, width=96))
    planes = {"rgb": raw["rgb"], "lidar": raw["rgb"][::-1].copy()}
    assert predictor(planes, compared="lidar").agreement is None


def test_value_nothing_is_compared_with_itself_or_with_what_is_not_there(predictor, raw):
    planes = {"rgb": raw["rgb"], "lidar": np.zeros((HEIGHT, WIDTH, 3), np.uint8)}
    assert predictor({"rgb": raw["rgb"]}, compared="rgb").agreement is None
    assert predictor(planes, compared="lidar").agreement is None
    assert predictor(planes, compared="event").agreement is None
