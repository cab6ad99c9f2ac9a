"""Sensor files take the road of live messages: the same labels, the same judgement of ill sensors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.messages import array_to_image_fields
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.file_set import reasons_of, segment_arrays
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract

HEIGHT, WIDTH = 37, 61
TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
CAMERA = CameraModel.from_fov(WIDTH, HEIGHT, 90.0)
CALIBRATION = Calibration(CAMERA, lidar_to_camera=TO_CAMERA)


def cloud(points):
    names = ("x", "y", "z", "intensity")
    fields = [SimpleNamespace(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(names)]
    return SimpleNamespace(height=1, width=len(points), fields=fields, is_bigendian=False, point_step=16,
                           row_step=16 * len(points), data=points.tobytes())  # fmt: skip


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    return Predictor(Any2Seg(ModelConfig(head_width=32)), InputContract(height=32, width=64))


@pytest.fixture
def samples():
    random = np.random.default_rng(0)
    return {
        "rgb": random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        "lidar": random.uniform([1, -3, -1, 0], [20, 3, 2, 1], (400, 4)).astype(np.float32),
    }


def test_value_files_and_messages_of_the_same_content_get_the_same_labels(predictor, samples):
    by_file, _ = segment_arrays(predictor, samples, CALIBRATION)
    messages = {
        "rgb": [SimpleNamespace(**array_to_image_fields(samples["rgb"], "rgb8"))],
        "lidar": [cloud(samples["lidar"])],
    }
    planes = FrameBuilder(CALIBRATION).build(messages, 1).planes
    assert by_file.used == ("rgb", "lidar")
    np.testing.assert_array_equal(by_file.labels, predictor(planes).labels)


@pytest.mark.parametrize(
    ("ill", "array", "reason"),
    [
        ("rgb", np.full((HEIGHT, WIDTH, 3), 3, np.uint8), "black"),
        ("rgb", np.full((HEIGHT, WIDTH, 3), 255, np.uint8), "saturated"),
        ("lidar", np.full((5, 4), 1.0, np.float32), "sparse"),
        ("lidar", np.full((400, 4), [-5, 0, 0, 1], np.float32), "empty"),
    ],
)
def test_value_an_ill_sensor_is_left_out_by_name(predictor, samples, ill, array, reason):
    (other,) = set(samples) - {ill}
    result, frame = segment_arrays(predictor, samples | {ill: array}, CALIBRATION)
    assert (result.used, frame.reasons) == ((other,), {ill: reason})
    (why,) = reasons_of(frame)
    assert why.startswith(f"{ill}: ")
    alone, _ = segment_arrays(predictor, {other: samples[other]}, CALIBRATION)
    np.testing.assert_array_equal(result.labels, alone.labels)
    with user_error("sensor-empty", why):
        segment_arrays(predictor, {ill: array}, CALIBRATION)


def test_value_parameters_of_the_node_hold_for_files(predictor, samples):
    dark = samples | {"rgb": np.full((HEIGHT, WIDTH, 3), 3, np.uint8)}
    assert segment_arrays(predictor, dark, CALIBRATION, {"health.black_level": 2})[0].used == ("rgb", "lidar")


def test_exception_what_does_not_fit_is_no_illness(predictor, samples):
    with user_error("extrinsics-missing", "lidar"):
        segment_arrays(predictor, samples, Calibration(CAMERA))
    with user_error("calibration-size", "61x37"):
        segment_arrays(predictor, samples, Calibration(CameraModel.from_fov(48, 48, 90.0), lidar_to_camera=TO_CAMERA))
    with user_error("message-intrinsics", "lidar"):
        segment_arrays(predictor, samples)
    with user_error("value-range", "image_bits", "0 to 16"):
        segment_arrays(predictor, samples, CALIBRATION, {"image_bits": 40})
    with user_error("value-type", "health.min_points"):
        segment_arrays(predictor, samples, CALIBRATION, {"health.min_points": "many"})


def test_exception_planes_of_other_code_are_not_made_here(samples):
    contract = InputContract(height=32, width=64)
    foreign = contract.model_copy(update={"encodings": contract.encodings | {"lidar": "other/1"}})
    predictor = Predictor(Any2Seg(ModelConfig(head_width=32)), foreign)
    with user_error("plane-encoding", "lidar", "other/1"):
        segment_arrays(predictor, samples, CALIBRATION)
    assert segment_arrays(predictor, {"rgb": samples["rgb"]}, CALIBRATION)[0].used == ("rgb",)
