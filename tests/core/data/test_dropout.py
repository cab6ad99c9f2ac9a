"""Modality dropout: never empty, and the distribution that was asked for."""

from __future__ import annotations

import pytest
import torch
from raised import user_error

from any2seg_core.data.dropout import sample_nonempty, sample_present, sample_subsets, subset_weights
from any2seg_core.vocabulary.modalities import MCUBES, MUSES, VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

MODALITIES = VEHICLE.members
TEN = SensorSuite("ten", tuple(Sensor(f"cam{k}", "ABCDEFGHIJ"[k], "image") for k in range(10)))


def draw(count: int, names, distribution, **options) -> torch.Tensor:
    numbers = torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return sample_present(numbers, names, distribution, **options)


@pytest.mark.parametrize(
    ("names", "suite"),
    [
        (MODALITIES, VEHICLE),
        (("rgb", "lidar"), VEHICLE),
        (("event",), VEHICLE),
        (MCUBES.members, MCUBES),
        (TEN.members, TEN),
    ],
)
@pytest.mark.parametrize("distribution", ["uniform_subsets", 0.4])
def test_property_no_row_is_empty(names, suite, distribution):
    present = draw(500, names, distribution, suite=suite)
    assert present.dtype == torch.bool
    assert present.shape == (500, len(names))
    assert bool(present.any(dim=1).all())


def test_value_uniform_counts():
    codes = draw(30_000, MODALITIES, "uniform_subsets").long() @ torch.tensor([8, 4, 2, 1])
    shares = torch.bincount(codes, minlength=16) / 30_000
    assert shares[0] == 0
    assert (shares[1:] - 1 / 15).abs().max() < 0.01


def test_value_probability_of_the_full_set():
    full = draw(20_000, MODALITIES, 0.4).all(dim=1).float().mean()
    assert abs(float(full) - 0.4) < 0.02


def test_value_weights_by_letters():
    present = draw(8000, MODALITIES, {"RDEL": 3, "L": 1})
    lidar_only = ~present[:, :3].any(dim=1)
    assert bool((lidar_only | present.all(dim=1)).all())
    assert abs(float(lidar_only.float().mean()) - 0.25) < 0.03
    assert subset_weights(MODALITIES, {"RDEL": 3, "L": 1}) == {("lidar",): 0.25, MODALITIES: 0.75}


def test_value_letters_of_other_data_sets():
    materials = subset_weights(MCUBES.members, {"IADN": 3, "D": 1}, MCUBES)
    assert materials == {("dolp",): 0.25, MCUBES.members: 0.75}
    frames = subset_weights(MUSES.members, {"FEL": 1, "F": 1}, MUSES)
    assert frames == {("rgb",): 0.5, MUSES.members: 0.5}
    with user_error("sensor-unknown", "'FEL'"):
        subset_weights(MUSES.members, {"FEL": 1})  # without the suite these are the vehicle's R, E and L
    three = draw(30_000, MUSES.members, "uniform_subsets").long() @ torch.tensor([4, 2, 1])
    assert (torch.bincount(three, minlength=8)[1:] / 30_000 - 1 / 7).abs().max() < 0.012


def test_value_order_is_that_of_all_subsets_whatever_order_weights_are_given_in():
    given = dict.fromkeys(("RDEL", "EL", "RD", "L", "R", "DEL"), 1)
    wanted = [subset for subset in VEHICLE.all_subsets() if VEHICLE.subset_letters(subset) in given]
    assert list(subset_weights(MODALITIES, given)) == wanted
    every = subset_weights(MODALITIES, 0.4)
    assert list(every) == VEHICLE.all_subsets()
    assert sum(every.values()) == pytest.approx(1)


def test_value_more_sensors_than_subsets_can_be_listed_of_take_weights_by_subset():
    many = SensorSuite("many", tuple(Sensor(f"cam{k}", chr(65 + k), "image") for k in range(20)))
    present = draw(400, many.members, {"A": 1, "ABCDEFGHIJKLMNOPQRST": 3}, suite=many)
    assert set(present.sum(dim=1).tolist()) == {1, 20}
    with user_error("value-range", "20 sensors"):
        subset_weights(many.members, "uniform_subsets", many)


def test_value_strength_warms_up():
    assert bool(draw(200, MODALITIES, "uniform_subsets", strength=0.0).all())
    full = draw(20_000, MODALITIES, {"R": 1}, strength=0.5).all(dim=1).float().mean()
    assert abs(float(full) - 0.5) < 0.02


def test_property_a_sample_draws_the_same_in_any_batch():
    numbers = torch.rand(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = sample_present(numbers, MODALITIES, 0.3, strength=0.7)
    parts = [sample_present(part, MODALITIES, 0.3, strength=0.7) for part in numbers.split(5)]
    assert torch.equal(torch.cat(parts), whole)


def test_value_ends_of_the_range():
    """0 and the largest number below 1 draw the first and the last subset that has a weight."""
    ends = torch.tensor([[0.0, 0.0], [1.0 - 2.0**-53, 0.0]], dtype=torch.float64)
    assert sample_present(ends, MODALITIES, {"D": 1, "RD": 2, "DE": 0.3}).int().tolist() == [[0, 1, 0, 0], [0, 1, 1, 0]]


def test_exception_bad_distributions():
    with user_error("sensor-absent", "depth"):
        subset_weights(("rgb", "lidar"), {"RD": 1})
    with user_error("value-range"):
        subset_weights(MODALITIES, {"R": 0})
    for wrong in (1.5, "uniform"):
        with user_error("value-format", "'uniform_subsets'"):
            subset_weights(MODALITIES, wrong)


def test_property_what_a_sample_lacks_is_never_drawn():
    """Of each draw remains what there is; where nothing remains, all there is. Complete samples draw as before."""
    available = torch.tensor([[True, True, True], [False, True, False], [True, False, True]]).repeat(200, 1)
    names = ("rgb", "event", "lidar")
    plain = draw(600, names, "uniform_subsets")
    drawn = draw(600, names, "uniform_subsets", available=available)
    assert torch.equal(drawn[::3], plain[::3])
    assert not (drawn & ~available).any() and drawn.any(dim=1).all()
    expected = [row & there if (row & there).any() else there for row, there in zip(plain, available, strict=True)]
    assert torch.equal(drawn, torch.stack(expected))


def subsets_of(shown: list[list[int]], slots: int, samples: int = 1, nested: bool = False) -> torch.Tensor:
    """(S, B, M) for every row of ``shown``, ``samples`` times."""
    rows = torch.tensor(shown, dtype=torch.bool).repeat_interleave(samples, 0)
    draws = torch.rand(len(rows), slots, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return sample_subsets(draws, rows, nested)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("shown", [[[1, 1, 1, 1]], [[1, 0, 1, 1], [0, 1, 0, 0]], [[0, 1, 1]], [[1]], [[1] * 20]])
def test_property_subsets_are_of_what_a_sample_shows(shown, nested):
    found = subsets_of(shown, slots=4, samples=50, nested=nested)
    rows = torch.tensor(shown, dtype=torch.bool).repeat_interleave(50, 0)
    assert found.shape == (4, *rows.shape)
    assert bool(found.any(dim=2).all())
    assert not bool((found & ~rows).any())
    assert bool((found[0].sum(1) == 1).all())
    several = rows.sum(1) > 1
    assert bool((found[:, several].sum(2) < rows[several].sum(1)).all())  # never the whole


def test_value_subsets_are_even():
    """The first is each sensor alike, each other one of the 14 subsets alike, to five standard deviations."""
    found = subsets_of([[1, 1, 1, 1]], slots=2, samples=14_000)
    single = found[0].float().mean(0)
    assert bool(((single - 0.25).abs() < 5 * (0.25 * 0.75 / 14_000) ** 0.5).all())
    codes = (found[1] * 2 ** torch.arange(4)).sum(1).bincount(minlength=16)
    assert codes[0] == codes[15] == 0
    assert bool(((codes[1:15] - 1000).abs() < 5 * (1000 * 13 / 14) ** 0.5).all())


def test_value_nested_subsets_grow_by_one_sensor():
    found = subsets_of([[1, 1, 1, 1]], slots=4, samples=300, nested=True)
    assert bool((found[0] <= found[1]).all())
    assert bool((found[1].sum(1) == 2).all())
    grows = found[2].sum(1) < 3  # else the whole is the pair of it
    assert 0.4 < float(grows.float().mean()) < 1.0
    assert bool((found[2] <= found[3])[grows].all())
    assert bool((found[3].sum(1) == found[2].sum(1) + 1)[grows].all())


def test_value_subsets_of_a_sample_do_not_depend_on_how_many():
    assert torch.equal(sample_subsets(*_of_one(1)), sample_subsets(*_of_one(3))[:1])


def _of_one(slots: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.rand(1, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return draws[:, :slots], torch.ones(1, 4, dtype=torch.bool)


def test_value_nonempty_subsets_are_drawn_evenly_and_nothing_stays_nothing():
    shown = torch.tensor([[True, False, True, True]]).expand(7, 4)
    found = sample_nonempty((torch.arange(7, dtype=torch.float64) + 0.5) / 7, shown)  # one draw for each of the seven
    assert {tuple(row) for row in found.tolist()} == {
        (bool(code & 1), False, bool(code & 2), bool(code & 4)) for code in range(1, 8)
    }
    assert not sample_nonempty(torch.tensor([0.99]), torch.zeros(1, 4, dtype=torch.bool)).any()
    assert sample_nonempty(torch.tensor([0.0]), torch.tensor([[False, True]])).tolist() == [[False, True]]
