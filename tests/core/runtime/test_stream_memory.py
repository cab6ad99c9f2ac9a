"""Streams of a predictor: one state per output, none that outlives a reset, the same with every engine."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.runtime.stream_memory import stream_memory
from any2seg_core.sync import Sample, SampleSet, StreamConfig, SyncConfig
from any2seg_core.vocabulary.contract import InputContract

S = 10**9
NAMES = ("rgb", "depth")
CONTRACT = InputContract(modalities=NAMES, height=32, width=64)
MODES = ("anchor", "filter")


@pytest.fixture(scope="module")
def model() -> Any2Seg:
    torch.manual_seed(0)
    mff = {"select_temperature": 0.1}  # a hard choice between two sensors is often a tie
    return Any2Seg(ModelConfig(head_width=16, modalities=NAMES, mff=mff)).eval()


def planes_of(seed: int, names: tuple[str, ...] = NAMES) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    planes = {name: random.integers(1, 256, (32, 64, 3), np.uint8) for name in NAMES}
    planes["depth"][..., 0] = 100  # the scene stands still
    return {name: planes[name] for name in names}


def segmented(segmenter: SetSegmenter, seed: int, stamp_ns: int, names: tuple[str, ...] = NAMES, subsets=()):
    planes = planes_of(seed, names)
    sample_set = SampleSet(stamp_ns, names[0], {name: (Sample(stamp_ns, stamp_ns, None),) for name in names},
                           {}, dict.fromkeys(names, 0))  # fmt: skip
    samples = {name: planes[name] for name in names}
    return segmenter.segment(sample_set, Frame(stamp_ns, planes, {}, {}, samples), stamp_ns, subsets)


def segmenter_of(predictor: Predictor) -> SetSegmenter:
    return SetSegmenter(predictor, SyncConfig({name: StreamConfig() for name in NAMES}, NAMES))


@pytest.mark.parametrize(("mode", "runtime"), list(product(MODES, ["eager", "cpu"])))
def test_value_what_came_before_counts_and_a_reset_forgets_it(model, mode, runtime):
    stream = Predictor(model, CONTRACT, stream=mode, runtime=runtime)
    alone = Predictor(model, CONTRACT, runtime=runtime)
    expected = alone(planes_of(2)).confidence
    stream(planes_of(1), stamp_ns=S)
    second = stream(planes_of(2), stamp_ns=S + S // 10).confidence
    assert np.abs(second - expected).max() > 1e-4
    stream.reset()
    np.testing.assert_array_equal(stream(planes_of(2), stamp_ns=S + S // 5).confidence, expected)


@pytest.mark.parametrize("mode", MODES)
def test_value_the_engines_give_the_same_stream(model, mode):
    results = []
    for runtime in ("eager", "cpu"):
        stream = Predictor(model, CONTRACT, stream=mode, runtime=runtime)
        results.append([stream(planes_of(k), stamp_ns=S + k * S // 10).confidence for k in range(3)])
    np.testing.assert_allclose(*results, atol=2e-4)


@pytest.mark.parametrize("mode", MODES)
def test_value_each_subset_continues_its_own_output_also_while_a_sensor_is_away(model, mode):
    """The output of both sensors is the stream of depth alone while the camera is away; depth's own output is not."""
    subsets = (NAMES, ("depth",))
    judged = segmenter_of(Predictor(model, CONTRACT, stream=mode))
    plain = Predictor(model, CONTRACT, stream=mode)
    only_depth = Predictor(model, CONTRACT, stream=mode)
    for k, names in enumerate([NAMES, ("depth",), NAMES]):
        stamp_ns = S + k * S // 10
        found = segmented(judged, k, stamp_ns, names, subsets)
        expected = plain(planes_of(k, names), stamp_ns=stamp_ns)
        np.testing.assert_array_equal(found.subsets[NAMES].confidence, expected.confidence)
        np.testing.assert_array_equal(found.segmentation.confidence, expected.confidence)
        depth = only_depth(planes_of(k, ("depth",)), stamp_ns=stamp_ns)
        np.testing.assert_array_equal(found.subsets[("depth",)].confidence, depth.confidence)
        assert found.segmentation.used == names


@pytest.mark.parametrize("mode", MODES)
def test_value_segmenters_of_one_predictor_do_not_mix(model, mode):
    predictor = Predictor(model, CONTRACT, stream=mode)
    first, second = segmenter_of(predictor), segmenter_of(predictor)
    segmented(first, 1, S)
    other = segmented(second, 2, S + S // 10).segmentation
    np.testing.assert_array_equal(other.confidence, Predictor(model, CONTRACT)(planes_of(2)).confidence)
    first.reset()
    again = segmented(first, 2, S + S // 10).segmentation
    np.testing.assert_array_equal(again.confidence, other.confidence)


@settings(deadline=None, max_examples=8)
@given(st.sampled_from(MODES), st.lists(st.integers(1, 2 * S), min_size=1, max_size=3))
def test_property_a_recording_played_twice_gives_the_same_labels_twice(model, mode, steps_ns):
    stream = Predictor(model, CONTRACT, stream=mode)
    stamps_ns = (np.cumsum([5 * S, *steps_ns])).tolist()
    turns = [[stream(planes_of(k), stamp_ns=stamp_ns) for k, stamp_ns in enumerate(stamps_ns)] for _ in range(2)]
    for one, two in zip(*turns, strict=True):
        np.testing.assert_array_equal(one.confidence, two.confidence)


@pytest.mark.parametrize("mode", MODES)
def test_value_memory_is_bounded_and_a_set_in_progress_leaves_nothing_after_a_reset(model, mode):
    memory = stream_memory(mode, Predictor(model, CONTRACT).engine)
    states = memory.anchors if mode == "anchor" else memory.filters
    first = states[("0",)]
    assert states[("0",)] is first
    for k in range(1, 400):
        states[(str(k),)]
    assert len(states) == 256
    assert states[("399",)] is not first and states[("0",)] is not first
    memory.reset()
    states[("late",)]
    assert len(memory.anchors) == len(memory.filters) == 0


def test_exception_an_unknown_mode(model):
    with user_error("value-unknown", "stream 'on'", "anchor"):
        Predictor(model, CONTRACT, stream="on")
    assert Predictor(model, CONTRACT).new_memory() is None


def test_exception_a_model_without_an_anchor_is_told_of_the_filter():
    model = Any2Seg(ModelConfig(head_width=16, modalities=NAMES, fusion="early_concat")).eval()
    with user_error("model-unsuitable", "stream=filter works with all"):
        Predictor(model, CONTRACT, stream="anchor")
    Predictor(model, CONTRACT, stream="filter")(planes_of(1), stamp_ns=S)
