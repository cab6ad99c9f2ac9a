"""Features are used again for the same fixed array only, and labels are those of a predictor that keeps none."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from any2seg_core.base.fixed_arrays import fixed
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.feature_memory import FeatureMemory
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets


def predictor_of(fusion: str = "mff", precision: str = "float32") -> Predictor:
    torch.manual_seed(0)
    early = {"lidar": 0.5} if fusion == "mff_early" else {}
    model = Any2Seg(ModelConfig(head_width=32, fusion=fusion, mff_early={"scale": early})).eval()
    return Predictor(model, InputContract(height=64, width=64, scale=early), precision=precision)


def planes_of(seed: int, size: tuple[int, int] = (37, 71)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: fixed(rng.integers(1, 256, (*size, 3), np.uint8)) for name in VEHICLE.members}


def assert_equal(found, expected):
    assert np.array_equal(found.labels, expected.labels) and np.array_equal(found.confidence, expected.confidence)
    assert (found.used, found.agreement) == (expected.used, expected.agreement)


@pytest.mark.parametrize("fusion", ["mff", "mean_predictions", "mff_early"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_value_labels_are_those_without_memory_whatever_is_new(monkeypatch, fusion, precision):
    monkeypatch.setattr("any2seg_core.models.precision.has_bfloat16", lambda: True)
    predictor, memory, rng = predictor_of(fusion, precision), FeatureMemory(), np.random.default_rng(5)
    versions = [planes_of(seed) for seed in range(2)]
    given = dict(versions[0])
    for _ in range(12):
        for name in given:
            given[name] = versions[rng.integers(2)][name]  # also back to an earlier one: a loop
        subset = all_subsets()[rng.integers(15)]
        chosen = {name: given[name] for name in subset}
        assert_equal(predictor(chosen, features=memory, compared="depth"), predictor(chosen, compared="depth"))
    counts = memory.counts()
    assert set(counts) == set(VEHICLE.members)
    assert all(count["encoded"] > 0 for count in counts.values()) and sum(c["reused"] for c in counts.values()) > 3


def test_value_a_frozen_plane_is_encoded_once_and_the_counts_say_so():
    predictor, memory, planes = predictor_of(), FeatureMemory(), planes_of(1)
    for seed in range(4):
        predictor(planes | {"rgb": planes_of(seed + 5)["rgb"]}, features=memory)
    slow = {name: {"encoded": 1, "reused": 3} for name in ("depth", "event", "lidar")}
    assert memory.counts() == {"rgb": {"encoded": 4, "reused": 0}} | slow
    memory.reset()
    predictor(planes, features=memory)
    assert memory.counts()["lidar"] == {"encoded": 2, "reused": 3}


def test_value_what_can_be_written_to_is_never_used_again():
    predictor, memory = predictor_of(), FeatureMemory()
    planes = {name: plane.copy() for name, plane in planes_of(1).items()}
    view = planes["lidar"].view()
    view.flags.writeable = False
    given = planes | {"lidar": view}
    before = predictor(given, features=memory)
    for plane in planes.values():
        plane[:] = 255 - plane // 2
    after = predictor(given, features=memory)
    assert_equal(after, predictor(given))
    assert (before.labels != after.labels).any() or (before.confidence != after.confidence).any()
    assert all(count == {"encoded": 2, "reused": 0} for count in memory.counts().values())


def test_value_a_size_that_changes_and_changes_back():
    predictor, memory = predictor_of(), FeatureMemory()
    small, large = planes_of(1), planes_of(1, (64, 128))
    for planes in (small, large, small, small):
        assert_equal(predictor(planes, features=memory), predictor(planes))
    assert memory.counts()["rgb"] == {"encoded": 3, "reused": 1}


def test_value_subsets_share_the_memory_and_a_changed_input_leaves_it_alone():
    predictor, memory, planes = predictor_of(), FeatureMemory(), planes_of(1)
    predictor(planes, features=memory)
    noisy = predictor.subsets(planes, all_subsets(), change=lambda images: {n: -x for n, x in images.items()},
                              features=memory)  # fmt: skip
    found = predictor.subsets(planes, all_subsets(), features=memory)
    expected = predictor.subsets(planes, all_subsets())
    for subset in all_subsets():
        assert_equal(found[subset], expected[subset])
    assert any(not np.array_equal(noisy[subset].confidence, expected[subset].confidence) for subset in all_subsets())
    assert all(count == {"encoded": 1, "reused": 1} for count in memory.counts().values())


@pytest.mark.parametrize("fusion", ["early_concat", "linear"])
def test_value_models_whose_sensors_meet_in_the_encoder_keep_nothing(fusion):
    predictor, memory, planes = predictor_of(fusion), FeatureMemory(), planes_of(1)
    for _ in range(2):
        assert_equal(predictor(planes, features=memory), predictor(planes))
    assert memory.counts() == {}


def test_value_memory_is_one_entry_for_each_sensor():
    predictor, memory = predictor_of(), FeatureMemory()
    for seed in range(3):
        predictor(planes_of(seed), features=memory)
    assert set(memory._kept) == set(VEHICLE.members)
    with torch.inference_mode():
        features = memory._kept["rgb"][1]
    assert sum(level.numel() for level in features.levels) == 32 * 16 * 16 + 64 * 8 * 8 + 160 * 4 * 4 + 256 * 2 * 2


def test_value_threads_with_memories_of_their_own_share_a_predictor():
    torch.manual_seed(0)
    engine = EagerEngine(Any2Seg(ModelConfig(head_width=32)).eval())
    predictor, versions = Predictor(engine, InputContract(height=32, width=64)), [planes_of(seed) for seed in range(3)]
    expected, wrong = [predictor(planes).labels for planes in versions], []

    def stream(shared: FeatureMemory, first: int) -> None:
        for number in range(6):
            index = (first + number // 2) % 3
            if not np.array_equal(predictor(versions[index], features=shared).labels, expected[index]):
                wrong.append(index)

    one = FeatureMemory()
    threads = [threading.Thread(target=stream, args=pair) for pair in ((one, 0), (one, 1), (FeatureMemory(), 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and sum(one.counts()["rgb"].values()) == 12
