"""SetSegmenter: the same labels as the predictor's, and scores of the sensors, set by set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sync import Sample, SampleSet, StreamConfig, SyncConfig
from any2seg_core.vocabulary.contract import InputContract

NAMES = ("rgb", "lidar")
SECOND = 10**9


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    return Predictor(Any2Seg(ModelConfig(head_width=32)).eval(), InputContract(height=32, width=64))


def segmenter(predictor) -> SetSegmenter:
    return SetSegmenter(predictor, SyncConfig({name: StreamConfig() for name in NAMES}, NAMES))


def one_set(*names: str) -> tuple[SampleSet, Frame]:
    random = np.random.default_rng(3)
    planes = {name: random.integers(1, 256, (37, 71, 3), np.uint8) for name in names}
    samples = {name: (Sample(SECOND, SECOND, None),) for name in names}
    missing = {name: "dead" for name in NAMES if name not in names}
    arrays = {name: np.ones((9, 4), np.float32) for name in names}
    return SampleSet(SECOND, names[0], samples, missing, dict.fromkeys(names, 0)), Frame(SECOND, planes, {}, {}, arrays)


@pytest.mark.parametrize("names", [("rgb",), ("lidar",), NAMES])
def test_value_labels_are_those_of_the_predictor(predictor, names):
    sample_set, frame = one_set(*names)
    found = segmenter(predictor).segment(sample_set, frame, SECOND)
    expected = predictor(frame.planes)
    np.testing.assert_array_equal(found.segmentation.labels, expected.labels)
    np.testing.assert_array_equal(found.segmentation.confidence, expected.confidence)
    assert found.segmentation.labels.shape == (37, 71)
    assert found.segmentation.used == names
    assert {name: each.score for name, each in found.reliability.items()} == {
        name: float(name in names) for name in NAMES
    }


def test_value_subsets_come_apart_and_what_a_set_lacks_is_left_out_of_them(predictor):
    sample_set, frame = one_set("lidar")
    found = segmenter(predictor).segment(sample_set, frame, SECOND, subsets=[("rgb",), ("lidar",), NAMES])
    assert found.subsets[("rgb",)] is None
    assert found.subsets[NAMES] is found.subsets[("lidar",)]
    np.testing.assert_array_equal(found.subsets[NAMES].labels, predictor(frame.planes).labels)


def test_value_labels_below_the_threshold_are_unlabelled(predictor):
    sample_set, frame = one_set(*NAMES)
    all_of_it = predictor(frame.planes)
    threshold = float(np.median(all_of_it.confidence))
    found = segmenter(predictor).segment(
        sample_set, frame, SECOND, confidence_threshold=threshold, with_confidence=False
    )
    expected = np.where(all_of_it.confidence < threshold, 255, all_of_it.labels)
    np.testing.assert_array_equal(found.segmentation.labels, expected)
    assert 0 < (found.segmentation.labels == 255).sum() < expected.size


def test_value_a_set_that_does_not_come_lowers_the_scores_until_reset(predictor):
    judged = segmenter(predictor)
    for index in range(12):
        judged.segment(*one_set(*NAMES), SECOND + index * SECOND // 10)
    assert {each.score for each in judged.reliability(2 * SECOND + SECOND // 10).values()} == {1.0}
    for index in range(20):
        scores = judged.rate(None, None, 3 * SECOND + index * SECOND // 10)
    assert {name: each.score for name, each in scores.items()} == dict.fromkeys(NAMES, 0.0)
    judged.reset()
    assert judged.reliability(6 * SECOND) == {} == judged.rate(None, None, 6 * SECOND)


@pytest.mark.parametrize("names", [("lidar",), NAMES])
def test_value_picked_pixels_give_the_labels_of_whole_planes(predictor, names):
    sample_set, frame = one_set(*names)
    expected = segmenter(predictor).segment(sample_set, frame, SECOND).segmentation
    grid = np.arange(37 * 71).reshape(1, 1, 37, 71)
    read = torch.nn.functional.interpolate(torch.tensor(grid).double(), (32, 64), mode="nearest-exact").long().flatten()
    pixels = frame.planes["lidar"].reshape(-1, 3)[read.numpy()].reshape(32, 64, 3)
    picked = replace(frame, planes=frame.planes | {"lidar": pixels}, size=(37, 71))
    found = segmenter(predictor).segment(sample_set, picked, SECOND, subsets=[("lidar",)])
    np.testing.assert_array_equal(found.segmentation.labels, expected.labels)
    assert found.subsets[("lidar",)].labels.shape == (37, 71)
    with user_error("size-mismatch", "(32, 64)"):
        predictor({"rgb": np.ones((37, 71, 3), np.uint8), "lidar": pixels})
