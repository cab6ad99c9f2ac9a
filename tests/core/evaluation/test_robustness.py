"""Figures drawn from subset tables against hand counts; damaged images; published rows against their own means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.monotonicity import monotonicity
from any2seg_core.evaluation.published import published
from any2seg_core.evaluation.robustness import (
    failure_expectation,
    mm_robust,
    random_missing,
    retention,
)
from any2seg_core.vocabulary.modalities import MCUBES, VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

MODALITIES = VEHICLE.members

TABLE = {"R": 40.0, "D": 60.0, "RD": 50.0}


def test_value_expectation_over_independent_failures():
    # Given that not both fail: P(RD) = .64, P(R) = P(D) = .16, of .96 together
    assert failure_expectation(TABLE, 0.2) == pytest.approx((0.64 * 50 + 0.16 * 40 + 0.16 * 60) / 0.96)
    assert failure_expectation({"R": 31.0}, 0.1) == pytest.approx(31.0)


def test_value_mm_robust_is_the_mean_of_camera_depth_and_both():
    assert mm_robust(TABLE, VEHICLE) == pytest.approx(50.0)
    assert mm_robust({"R": 40.0, "L": 1.0, "RL": 2.0}, VEHICLE) is None
    assert mm_robust({"I": 40.0, "D": 1.0, "ID": 2.0}, MCUBES) is None  # D is no depth there
    kinds = (("radar", "R", "points"), ("stereo", "D", "depth"), ("cam", "C", "image"))
    own = SensorSuite("yard", tuple(Sensor(*each) for each in kinds))
    assert mm_robust({"C": 10.0, "D": 20.0, "DC": 60.0, "R": 0.0, "RD": 0.0}, own) == pytest.approx(30.0)


def test_value_monotonicity_counts_every_added_sensor():
    result = monotonicity(TABLE)
    assert (result["steps"], result["lowered"], result["share_lowered"]) == (2, 1, 50.0)
    assert result["mean_drop"] == 10.0
    assert result["worst"] == [{"from": "D", "adding": "R", "change": -10.0}]
    assert result["by_sensor"] == {"R": -10.0, "D": 10.0}
    assert monotonicity({"R": 40.0}) is None
    growing = {VEHICLE.subset_letters(subset): float(len(subset)) for subset in VEHICLE.all_subsets()}
    assert monotonicity(growing)["steps"] == 28
    assert monotonicity(growing)["lowered"] == 0


def test_value_tables_of_some_subsets_say_what_they_can():
    """Three sensors, each alone and all of them: what is left after failures is unknown, the step to all is two."""
    some = {"A": 10.0, "B": 20.0, "C": 30.0, "ABC": 60.0}
    assert failure_expectation(some, 0.1) is None
    assert monotonicity(some) is None
    result = monotonicity(some | {"AB": 15.0})
    assert (result["steps"], result["lowered"]) == (3, 1)
    assert result["by_sensor"] == {"A": -5.0, "B": 5.0, "C": 45.0}


def test_value_functional_entropy_is_not_monotone():
    """The paper's own row: RD 59.69 > RDE 53.42 > RDEL 51.65."""
    rows = [row.subsets for row in published("deliver") if row.method == "Functional entropy"]
    row = next(row for row in rows if len(row) == 15)
    result = monotonicity(row)
    assert result["lowered"] > 10
    assert {"from": "RD", "adding": "E", "change": pytest.approx(53.42 - 59.69)} in [
        {"from": "RD", "adding": "E", "change": row["RDE"] - row["RD"]}
    ]
    assert result["worst"][0]["change"] == pytest.approx(min(
        row[a] - row[b] for a in row for b in row if len(a) == len(b) + 1 and set(b) < set(a)
    ))  # fmt: skip


def test_value_retention():
    assert retention(TABLE, {"R": 50.0}) == {"R": {"specialist": 50.0, "model": 40.0, "retention": 80.0}}
    assert np.isnan(retention(TABLE, {"R": 0.0})["R"]["retention"])


def test_value_missing_values_follow_the_frame_and_not_the_batch():
    generator = torch.Generator().manual_seed(0)
    images = {name: torch.rand(3, 3, 17, 31, generator=generator) + 1.0 for name in MODALITIES}
    truth = torch.zeros(3, 17, 31, dtype=torch.uint8)
    whole = random_missing(0.25, seed=5)(EvaluationBatch(images, truth, (4, 9, 2)))
    for name, image in images.items():
        gone = whole[name] == 0
        assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.03)
        assert torch.equal(whole[name][~gone], image[~gone])
        assert not torch.equal(gone[:, 0], gone[:, 1])  # every value on its own, as the benchmark draws
    assert not torch.equal(whole["rgb"] == 0, whole["depth"] == 0)
    alone = {name: image[1:2] for name, image in images.items()}
    single = random_missing(0.25, seed=5)(EvaluationBatch(alone, truth[1:2], (9,)))
    assert all(torch.equal(single[name][0], whole[name][1]) for name in MODALITIES)
    everything = random_missing(1.0, seed=5)(EvaluationBatch(alone, truth[1:2], (9,)))
    assert not any(image.any() for image in everything.values())


def test_value_means_of_published_rows_are_recomputed():
    means = {(row.method, row.mean) for row in published("deliver") if len(row.subsets) == 15}
    # CMNeXt's subsets were measured twice, by Any2Seg and by functional entropy.
    assert means == {
        ("CMNeXt", 25.15), ("CMNeXt", 20.77), ("MAGIC", 40.49), ("Any2Seg", 45.04), ("Functional entropy", 48.03),
    }  # fmt: skip
    entropy = next(row for row in published("muses") if row.method == "Functional entropy")
    assert (entropy.mean, entropy.printed_mean) == (46.32, 47.80)
    any2seg = next(row for row in published("deliver") if row.cases and row.method == "Any2Seg")
    assert np.mean(list(any2seg.cases.values())) == pytest.approx(67.19, abs=0.005)
    assert next(row for row in published("mcubes") if row.method == "Any2Seg").mean is None
    assert published("carla") == ()


def test_value_rows_of_the_benchmark_are_complete_and_in_order():
    """The rarer sensors fail, and the fewer values are missing, the better; one printed figure is out of line."""
    rows = [row.numbers for row in published("deliver") if "emm" in row.numbers]
    assert len(rows) == 5
    order = ["", "_p0.2", "_p0.1", "_p0.05"]
    breaks = 0
    for row in rows:
        assert len(row) == 19
        for kind in ("emm", "rmm_r0.75", "rmm_r0.5", "rmm_r0.25"):
            values = [row[kind + suffix] for suffix in order]
            breaks += values != sorted(values)
        assert row["emm"] < row["rmm_r0.75"] < row["rmm_r0.5"] < row["rmm_r0.25"]
        assert row["nm_low"] > row["nm_mid"] > row["nm_high"]
    assert breaks == 1
