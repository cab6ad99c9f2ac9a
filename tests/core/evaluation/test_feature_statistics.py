"""Statistics of pooled features: against SciPy's distance, and from frames to what the predictor says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_data import write_deliver
from pydantic import ValidationError
from scipy.spatial.distance import mahalanobis

from any2seg_core import Predictor
from any2seg_core.evaluation.dataset import EvaluationTarget
from any2seg_core.evaluation.feature_statistics import feature_statistics, fit_statistics
from any2seg_core.evaluation.recording.novelty_tally import NoveltyTally
from any2seg_core.evaluation.settings import EvaluateSettings
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.graph import GraphEngine, Rows
from any2seg_core.runtime.novelty import MOST_NOVELTY, distance, novelty
from any2seg_core.vocabulary.contract import FeatureStatistics, InputContract

MIX = np.random.default_rng(7).normal(size=(6, 6))


def drawn(count: int, seed: int) -> np.ndarray:
    """(N, 6) of one normal distribution whose features depend on each other."""
    return np.random.default_rng(seed).normal(size=(count, 6)) @ MIX + 3.0


def test_value_the_distance_is_scipys_with_the_shrunk_covariance():
    table = drawn(80, 0)
    statistics = fit_statistics(table)
    covariance = np.cov(table.T, bias=True)
    shrunk = 0.7 * covariance + 0.3 * np.diag(np.diag(covariance))
    for row in drawn(5, 1):
        expected = mahalanobis(row, table.mean(axis=0), np.linalg.inv(shrunk)) / np.sqrt(6)
        assert distance(row, statistics) == pytest.approx(expected, rel=1e-3)


def test_value_one_of_a_hundred_further_frames_lies_beyond_the_limit():
    statistics = fit_statistics(drawn(4000, 0))
    beyond = np.mean([distance(row, statistics) > statistics.limit for row in drawn(4000, 1)])
    assert 0.005 < beyond < 0.018


def test_value_the_limit_is_of_frames_that_the_statistics_do_not_know():
    """Of twenty frames with sixteen features the distances of the frames themselves would say far too little."""
    random = np.random.default_rng(2)
    table = random.normal(size=(20, 16))
    statistics = fit_statistics(table)
    assert statistics.limit > max(distance(row, statistics) for row in table)
    fresh = [distance(row, statistics) > statistics.limit for row in random.normal(size=(500, 16))]
    assert np.mean(fresh) < 0.15


def test_value_a_feature_that_never_changes_does_not_decide_alone():
    table = drawn(50, 0)
    table[:, 2] = 1.0
    statistics = fit_statistics(table)
    assert distance(table[0] + np.array([0, 0, 1e-4, 0, 0, 0]), statistics) < 2.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_value_features_that_are_not_finite_are_as_far_as_can_be(value):
    statistics = fit_statistics(drawn(30, 0))
    row = drawn(1, 1)
    row[0, 3] = value
    assert distance(row[0], statistics) == MOST_NOVELTY
    found = novelty({"rgb": row, "lidar": drawn(1, 1)}, {"rgb": statistics.model_copy(update={"limit": 1e-3})})
    assert found == {"rgb": MOST_NOVELTY}


@pytest.mark.parametrize(
    "wrong",
    [{"mean": ()}, {"whitening": ((1.0,),)}, {"whitening": ((1.0,), (1.0, 2.0, 3.0))}, {"limit": 0.0},
     {"mean": (float("nan"), 0.0)}],
)  # fmt: skip
def test_exception_statistics_that_mean_nothing(wrong):
    whole = {"mean": (0.0, 1.0), "whitening": ((1.0,), (0.5, 2.0)), "limit": 1.5}
    assert FeatureStatistics(**whole).arrays[1].tolist() == [[1.0, 0.0], [0.5, 2.0]]
    with pytest.raises(ValidationError):
        FeatureStatistics(**whole | wrong)
    with pytest.raises(ValidationError, match="feature_statistics names radar"):
        InputContract(feature_statistics={"radar": whole})


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A checkpoint with statistics of its own: of random pictures of one kind."""
    root = tmp_path_factory.mktemp("novelty")
    names = ("rgb", "lidar")
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=16, modalities=names)).eval()
    contract = InputContract(modalities=names, height=32, width=64)
    engine = EagerEngine(model)
    rows = {name: [] for name in names}
    with engine.computing():
        for seed in range(150):
            pooled = engine.pooled(engine.encode(engine.images(planes_of(seed), contract)))
            for name, features in pooled.items():
                rows[name].append(features)
    statistics = {name: fit_statistics(np.concatenate(parts)) for name, parts in rows.items()}
    contract = contract.model_copy(update={"feature_statistics": statistics})
    save_checkpoint(root / "m.safetensors", model, contract, {"command": "test"})
    return root / "m.safetensors"


def planes_of(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.integers(60, 190, (32, 64, 3), np.uint8) for name in ("rgb", "lidar")}


def test_value_a_predictor_tells_which_sensor_is_unlike_training(calibrated):
    model, contract, _ = load_checkpoint(calibrated)
    found = {}
    for engine in (EagerEngine(model), CpuEngine(model)):
        predictor = Predictor(engine, contract)
        strange = planes_of(99) | {"lidar": np.full((32, 64, 3), 1, np.uint8)}
        found[engine.name] = predictor(planes_of(99)).novelty, predictor(strange).novelty
        alone = predictor.subsets(strange, [("lidar",), ("rgb", "lidar")])
        assert alone[("lidar",)].novelty == {"lidar": pytest.approx(found[engine.name][1]["lidar"])}
    usual, strange = found["eager"]
    assert set(usual) == {"rgb", "lidar"} and max(usual.values()) < 1.5
    assert strange["lidar"] > 5.0 and strange["rgb"] == pytest.approx(usual["rgb"])
    for one, other in zip(found["eager"], found["cpu"], strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_value_without_statistics_nobody_says_anything(calibrated):
    model, contract, _ = load_checkpoint(calibrated)
    plain = contract.model_copy(update={"feature_statistics": {}})
    assert Predictor(model, plain)(planes_of(1)).novelty == {}
    together = Any2Seg(ModelConfig(head_width=16, modalities=("rgb", "lidar"), fusion="early_concat")).eval()
    assert Predictor(together, contract)(planes_of(1)).novelty == {}


def test_value_an_exported_model_pools_the_same_level():
    levels = [np.random.default_rng(j).normal(size=(2, 3 + j, 8 >> j, 4)).astype(np.float32) for j in range(4)]
    pooled = GraphEngine("g", "1", None, None, {}).pooled(Rows({"rgb": levels}))  # type: ignore[arg-type]
    np.testing.assert_allclose(pooled["rgb"], levels[1].mean(axis=(2, 3)), rtol=1e-6)


def test_value_frames_of_a_data_set_are_pooled_one_by_one_and_few_give_no_statistics(tmp_path, calibrated):
    write_deliver(tmp_path / "data", {"val": 2}, (37, 66))
    model, contract = Any2Seg(ModelConfig(head_width=16)), InputContract(height=32, width=64)
    save_checkpoint(tmp_path / "m.safetensors", model, contract, {})
    settings = EvaluateSettings(checkpoint=tmp_path / "m.safetensors", data=tmp_path / "data", batch_size=3)
    target, seen = EvaluationTarget.open(settings, settings.checkpoint), []
    assert feature_statistics(target, lambda *progress: seen.append(progress)) == {}
    assert seen[-1] == ("features", len(target.indices), len(target.indices))


def test_value_a_recording_counts_frames_beyond_the_limit():
    tally = NoveltyTally()
    assert tally.take(1.0, {"rgb": 0.5, "lidar": 1.5}) == {"rgb": 0.5, "lidar": 1.5}
    tally.take(2.0, {"rgb": 1.0, "lidar": 2.5})
    tally.take(3.0, {"rgb": 2.0})
    assert tally.document() == {
        "rgb": {"frames": 3, "unlike_training": 33.333, "mean": 1.167, "max": 2.0, "max_at_s": 3.0},
        "lidar": {"frames": 2, "unlike_training": 100.0, "mean": 2.0, "max": 2.5, "max_at_s": 2.0},
    }
