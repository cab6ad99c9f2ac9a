"""Suites of one, three and five sensors from messages to labels: every subset, several of one kind, ill ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.messages import array_to_image_fields
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.models.config import FusionName, MFFConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.file_set import segment_arrays
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import InputOptions, input_options
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sensors.places import SensorPlace
from any2seg_core.sync import Sample, SampleSet
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

CAMERA, LEFT = CameraModel.from_fov(53, 37, 80.0), CameraModel.from_fov(41, 31, 70.0)
AHEAD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
FRONT = Sensor("front", "F", "image")
THERMAL = Sensor("thermal", "T", "image", "thermal16", value_range=(28000, 32000))
LIDAR, RADAR = Sensor("lidar", "L", "points"), Sensor("radar", "R", "points", value_range=(-20, 40))
ONE = SensorSuite("eye", (FRONT,))
THREE = SensorSuite("bumper", (RADAR, FRONT, THERMAL))
FIVE = SensorSuite("van", (Sensor("left", "S", "image"), FRONT, THERMAL, LIDAR, RADAR), "front")
PLACES = {name: SensorPlace(LEFT) for name in ("left", "thermal")}
PLACES |= {name: SensorPlace(None, AHEAD) for name in ("lidar", "radar")}
STAMP = 7_000_000_000


def calibration(suite: SensorSuite) -> Calibration:
    return Calibration(CAMERA, sensors={name: place for name, place in PLACES.items() if name in suite.members})


def header(stamp_ns: int) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="")


def picture(pixels: np.ndarray, encoding: str, stamp_ns: int = STAMP) -> SimpleNamespace:
    return SimpleNamespace(header=header(stamp_ns), **array_to_image_fields(pixels, encoding))


def cloud(rows: np.ndarray, names: tuple[str, ...], stamp_ns: int = STAMP) -> SimpleNamespace:
    fields = [SimpleNamespace(name=name, offset=4 * k, datatype=7, count=1) for k, name in enumerate(names)]
    data = rows.astype("<f4").tobytes()
    return SimpleNamespace(header=header(stamp_ns), height=1, width=len(rows), fields=fields, is_bigendian=False,
                           point_step=16, row_step=len(data), data=data)  # fmt: skip


def messages(suite: SensorSuite, stamp_ns: int = STAMP, seed: int = 0) -> dict[str, list[SimpleNamespace]]:
    rng = np.random.default_rng(seed)
    points = rng.uniform([3, -2, -1, 1], [30, 2, 1, 255], (60, 4))
    made = {
        "left": picture(rng.integers(0, 256, (31, 41, 3), dtype=np.uint8), "bgr8", stamp_ns),
        "front": picture(rng.integers(0, 256, (37, 53, 3), dtype=np.uint8), "rgb8", stamp_ns),
        "thermal": picture(rng.integers(28000, 32000, (31, 41), dtype=np.uint16), "mono16", stamp_ns),
        "lidar": cloud(points, ("x", "y", "z", "intensity"), stamp_ns),
        "radar": cloud(points[:5] - [0, 0, 0, 10], ("x", "y", "z", "rcs"), stamp_ns),
    }
    return {name: [made[name]] for name in suite.members}


def predictor(suite: SensorSuite, fusion: FusionName = "mff") -> Predictor:
    torch.manual_seed(0)
    # With a temperature no choice of MFF hangs on rounding, as it would between two sensors of a new model.
    mff = MFFConfig(select_temperature=0.1 if fusion == "mff" else 0.0)
    model = Any2Seg(ModelConfig(modalities=suite.members, fusion=fusion, mff=mff, num_classes=4, head_width=16))
    return Predictor(model, InputContract(suite=suite, height=64, width=96))


def synchronised(suite: SensorSuite, given: dict[str, list[SimpleNamespace]]) -> SampleSet:
    samples = {name: (Sample(STAMP, STAMP, found[0]),) for name, found in given.items()}
    missing = {name: "timeout" for name in suite.members if name not in given}
    return SampleSet(STAMP, next(iter(given)), samples, missing, dict.fromkeys(given, 0))


@pytest.mark.parametrize("suite", [ONE, THREE, FIVE], ids=lambda suite: suite.name)
def test_value_every_subset_goes_from_messages_to_labels(suite):
    frames, model = FrameBuilder(calibration(suite), suite=suite), predictor(suite)
    segmenter = SetSegmenter(model, sync_config({}, suite.members, 50_000_000, suite))
    whole = frames.build(messages(suite), STAMP)
    assert not whole.errors
    assert tuple(whole.planes) == suite.members
    for subset in suite.all_subsets():
        frames.reset()
        given = {name: messages(suite)[name] for name in subset}
        frame = frames.build(given, STAMP)
        assert tuple(frame.planes) == subset
        assert {plane.shape for plane in frame.planes.values()} == {(37, 53, 3)}
        assert all(np.array_equal(frame.planes[name], whole.planes[name]) for name in subset)
        result = segmenter.segment(synchronised(suite, given), frame, STAMP)
        assert result.segmentation.used == subset
        assert result.segmentation.labels.shape == (37, 53)
        assert set(result.reliability) == set(suite.members)
        assert np.array_equal(result.segmentation.labels, model(frame.planes).labels)


@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "early_concat", "linear"])
def test_value_each_of_the_31_subsets_through_every_fusion(fusion):
    model = predictor(FIVE, fusion)
    planes = FrameBuilder(calibration(FIVE), suite=FIVE).build(messages(FIVE), STAMP).planes
    found = model.subsets(planes, FIVE.all_subsets())
    assert len(found) == 31
    for subset, segmentation in found.items():
        alone = model({name: planes[name] for name in subset})
        assert (segmentation.labels != alone.labels).mean() < 0.02
        assert segmentation.used == alone.used == subset


@pytest.mark.parametrize("fusion", ["mff", "mean_predictions"])
def test_value_a_fifth_sensor_costs_no_parameter(fusion):
    def count(suite: SensorSuite) -> int:
        return sum(p.numel() for p in Any2Seg(ModelConfig(modalities=suite.members, fusion=fusion)).parameters())

    assert count(ONE) == count(THREE) == count(FIVE)


def test_value_models_that_see_sensors_apart_grow_with_their_number():
    def model(suite: SensorSuite, fusion: FusionName) -> Any2Seg:
        return Any2Seg(ModelConfig(modalities=suite.members, fusion=fusion))

    assert model(FIVE, "early_concat").encoder.stages[0].embed.proj.weight.shape[1] == 15
    assert model(FIVE, "linear").fusion.weight.shape == (5,)
    with user_error("model-unsuitable", "keys"):
        model(SensorSuite("odd", (Sensor("keys", "K", "image"),)), "linear")


@pytest.mark.parametrize("suite", [ONE, THREE, FIVE], ids=lambda suite: suite.name)
def test_value_a_checkpoint_keeps_its_suite(suite, tmp_path):
    torch.manual_seed(1)
    model = Any2Seg(ModelConfig(modalities=suite.members))
    save_checkpoint(tmp_path / "c.safetensors", model, InputContract(suite=suite), {})
    loaded, contract, _ = load_checkpoint(tmp_path / "c.safetensors")
    assert contract.suite == suite
    assert loaded.modalities == contract.modalities == suite.members
    assert loaded.config == model.config


def test_value_a_radar_point_lies_where_the_pinhole_says():
    radar = cloud(np.array([[10.0, -2.0, 1.0, 10.0]]), ("x", "y", "z", "rcs"))
    frame = FrameBuilder(calibration(THREE), suite=THREE).build({"radar": [radar]}, STAMP)
    focal = 53 / 2 / np.tan(np.radians(40))  # px
    column, row = 26 + focal * 2 / 10, 18 - focal * 1 / 10
    drawn = np.argwhere(frame.planes["radar"][..., 0])
    assert len(drawn) == 9
    assert drawn.mean(axis=0).tolist() == [round(row), round(column)]
    distance = np.sqrt(10**2 + 2**2 + 1)
    assert frame.planes["radar"][round(row), round(column)].tolist() == [
        pytest.approx(255 * 10 / (10 + distance), abs=1), pytest.approx(255 * 0.5, abs=1), 101,  # (1 m + 4 m) * 20 + 1
    ]  # fmt: skip


def test_value_several_sensors_of_a_kind_have_each_their_own_place_and_size():
    two = SensorSuite(
        "twins",
        (FRONT, Sensor("depth", "D", "depth"), Sensor("rear", "B", "depth"), Sensor("event", "E", "events"),
         Sensor("side", "S", "events"), LIDAR, Sensor("roof", "T", "points")),
    )  # fmt: skip
    high = AHEAD.copy()
    high[1, 3] = -5.0
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])  # half a turn about the axis
    known = Calibration(
        CAMERA, lidar_to_camera=AHEAD,
        sensors={"roof": SensorPlace(None, high), "side": SensorPlace(LEFT, turned), "rear": SensorPlace(LEFT)},
    )  # fmt: skip
    rows = np.array([[10.0, 0, 0, 1.0]] * 30)
    lidar, roof = (cloud(rows, ("x", "y", "z", "intensity")) for _ in range(2))
    events = [SimpleNamespace(header=header(STAMP), height=1, width=2, is_bigendian=False, point_step=13, row_step=26,
                              fields=[], data=np.array([(x, y, STAMP / 1, 1)] * 2, np.dtype([("x", "<u2"), ("y", "<u2"),
                              ("t", "<f8"), ("pol", "i1")])).tobytes()) for x, y in ((26, 18), (20, 15))]  # fmt: skip
    depths = [np.full((37, 53), 20.0, np.float32), np.full((31, 41), 40.0, np.float32)]
    given = {
        "lidar": [lidar], "roof": [roof], "event": events[:1], "side": events[1:],
        "depth": [picture(depths[0], "32FC1")], "rear": [picture(depths[1], "32FC1")],
    }  # fmt: skip
    frame = FrameBuilder(known, suite=two).build(given, STAMP)
    assert not frame.errors
    assert tuple(frame.planes) == ("depth", "rear", "event", "side", "lidar", "roof")
    planes = frame.planes
    assert planes["depth"][18, 26, 0] == round(255 * 10 / 30) and planes["rear"][18, 26, 0] == round(255 * 10 / 50)
    assert np.argwhere(planes["lidar"][..., 0]).mean(axis=0).tolist() == [18, 26]
    assert np.argwhere(planes["roof"][..., 0]).mean(axis=0)[0] < 8  # five metres higher
    assert planes["event"][18, 26, 0] == 80 and planes["event"].any(axis=2).sum() == 1
    assert planes["side"][18, 26, 0] == 80  # the middle stays the middle


@pytest.mark.parametrize(("stamps", "expected"), [(4, "frozen"), (2, None)])
def test_value_a_frozen_radar_is_ill(stamps, expected):
    options = InputOptions(health=HealthConfig.of({"frozen_frames": 3}, THREE))
    frames = FrameBuilder(calibration(THREE), options=options, suite=THREE)
    for k in range(stamps):
        frame = frames.build({"radar": messages(THREE, STAMP + k * 10**8)["radar"]}, STAMP + k * 10**8)
    assert frame.reasons.get("radar") == expected


def test_value_five_points_are_enough_for_a_radar_and_none_is_not():
    frames = FrameBuilder(calibration(FIVE), suite=FIVE)
    rows = np.array([[10.0, 0, 0, 1.0]] * 5)
    named = {"lidar": "intensity", "radar": "rcs"}
    given = {name: [cloud(rows, ("x", "y", "z", field))] for name, field in named.items()}
    assert frames.build(given, STAMP).reasons == {"lidar": "sparse"}
    given["radar"] = [cloud(rows[:0], ("x", "y", "z", "rcs"))]
    assert frames.build(given, STAMP).reasons == {"lidar": "sparse", "radar": "sparse"}


@pytest.mark.parametrize(
    ("count", "expected"), [(28000, "black"), (20000, "black"), (32000, "saturated"), (30000, None)]
)
def test_value_thermal_images_are_judged_within_their_range(count, expected):
    counts = np.full((31, 41), count, np.uint16)
    counts[0, 0] = 30000
    frame = FrameBuilder(calibration(FIVE), suite=FIVE).build({"thermal": [picture(counts, "mono16")]}, STAMP)
    assert frame.reasons.get("thermal") == expected
    if expected:
        assert frame.errors["thermal"].startswith("thermal image is")


def test_value_a_camera_that_sees_nothing_of_the_grid_counts_as_missing():
    back = np.eye(4)
    back[:3, :3] = np.diag([-1.0, 1.0, -1.0])
    known = Calibration(CAMERA, sensors={"left": SensorPlace(LEFT, back)})
    frame = FrameBuilder(known, suite=FIVE).build({"left": messages(FIVE)["left"]}, STAMP)
    assert frame.reasons == {"left": "empty"}
    assert "sensors.left.to_camera" in frame.errors["left"]


def test_value_camera_infos_and_transforms_of_every_sensor():
    frames = FrameBuilder(None, suite=FIVE)
    assert not frames.set_camera("thermal", LEFT)
    assert frames.set_camera("front", CAMERA)
    assert frames.rig.place("thermal").camera is LEFT
    assert frames.build({"radar": messages(FIVE)["radar"]}, STAMP).reasons == {"radar": "transform"}
    assert frames.set_extrinsics("radar", AHEAD) and not frames.set_extrinsics("radar", AHEAD)
    assert tuple(frames.build({"radar": messages(FIVE)["radar"]}, STAMP).planes) == ("radar",)
    assert frames.set_camera("left", LEFT)
    assert np.array_equal(frames.rig.place("radar").to_camera, AHEAD)
    frames.warm_up()
    assert not frames.build(messages(FIVE), STAMP).reasons.keys() - {"lidar"}


def test_value_arrays_of_files_take_the_same_road():
    model = predictor(FIVE)
    frame = FrameBuilder(calibration(FIVE), suite=FIVE).build(messages(FIVE), STAMP)
    found, again = segment_arrays(model, frame.samples, calibration(FIVE))
    assert tuple(again.planes) == FIVE.members
    assert all(np.array_equal(again.planes[name], frame.planes[name]) for name in FIVE.members)
    assert np.array_equal(found.labels, model(frame.planes).labels)
    assert np.array_equal(found.labels, model(frame.samples, frame.rig).labels)


def test_value_options_know_the_suite():
    assert input_options({}, FIVE).health.frozen_sensors == ("left", "front", "thermal", "radar")
    assert input_options({"health.frozen_sensors": ["T", "radar"]}, FIVE).health.frozen_sensors == ("thermal", "radar")
    with user_error("sensor-unknown", "rgb"):
        input_options({"health.frozen_sensors": ["rgb"]}, FIVE)
    sync = sync_config({"radar.max_age_s": 0.4}, FIVE.members, 50_000_000, FIVE)
    assert tuple(sync.streams) == FIVE.members
    assert sync.streams["radar"].max_age_ns == 400_000_000


def test_exception_samples_of_another_suite():
    with user_error("sensor-unknown", "'rgb'", "van"):
        predictor(FIVE)({"rgb": np.zeros((37, 53, 3), np.uint8)})
    with user_error("calibration-missing", "thermal"):
        predictor(FIVE)({"thermal": np.full((31, 41), 30000, np.uint16)})
