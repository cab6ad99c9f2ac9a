from __future__ import annotations

import pytest

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.modalities import (
    KNOWN,
    MCUBES,
    MODALITIES,
    MUSES,
    VEHICLE,
    all_subsets,
    canonical,
    modality,
    modality_set,
    parse_subset,
    set_of,
    subset_letters,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", MODALITIES),
        ("RDEL", MODALITIES),
        ("LR", ("rgb", "lidar")),
        ("lidar, rgb", ("rgb", "lidar")),
        ("event", ("event",)),
        ("rgb,rgb", ("rgb",)),
    ],
)
def test_value_parse_subset(text, expected):
    assert parse_subset(text) == expected


@pytest.mark.parametrize("text", ["", " ", ",", "radar", "rgb,radar", "RX", "rgbd"])
def test_exception_parse_subset(text):
    with pytest.raises(UserError, match="rgb"):
        parse_subset(text)


def test_value_all_subsets_are_15_singles_first_full_last():
    subsets = all_subsets()
    assert len(subsets) == len(set(subsets)) == 15
    assert subsets[:4] == [(name,) for name in MODALITIES]
    assert subsets[-1] == MODALITIES
    assert [subset_letters(s) for s in all_subsets(("lidar", "rgb"))] == ["R", "L", "RL"]


def test_value_canonical_order():
    assert canonical(["lidar", "rgb", "lidar"]) == ("rgb", "lidar")
    assert canonical([]) == ()


def test_exception_unknown_modality_lists_the_known():
    with pytest.raises(UserError, match="'radar': known are rgb, depth, event, lidar"):
        modality("radar")


def test_value_letters_belong_to_a_set():
    assert subset_letters(("nir", "rgb")) == "IN"
    assert subset_letters(("rgb", "lidar"), MUSES) == "FL"
    assert subset_letters(MCUBES.members) == "IADN"
    assert parse_subset("DI", MCUBES) == ("rgb", "dolp")
    assert parse_subset("D") == ("depth",)
    assert parse_subset("all", MUSES) == ("rgb", "event", "lidar")
    assert len(all_subsets(MCUBES.members)) == 15
    assert len(all_subsets(MUSES.members)) == 7


@pytest.mark.parametrize("family", [VEHICLE, MUSES, MCUBES], ids=lambda family: family.name)
def test_property_sets_are_canonical_and_letters_read_back(family):
    assert canonical(family.members) == family.members
    assert len(set(family.letters)) == len(family.letters) == len(family.members)
    assert modality_set(family.name) is family
    for subset in all_subsets(family.members):
        assert parse_subset(subset_letters(subset, family), family) == subset


def test_value_set_of_takes_the_first_that_has_all():
    assert set_of(("rgb",)) is set_of(("event", "rgb", "lidar")) is VEHICLE
    assert set_of(("rgb", "aolp")) is set_of(("nir",)) is MCUBES
    assert KNOWN[:4] == MODALITIES == ("rgb", "depth", "event", "lidar")


def test_exception_modalities_of_other_sets():
    with pytest.raises(UserError, match="no data set has depth, nir together"):
        set_of(("nir", "depth"))
    with pytest.raises(UserError, match="'aolp' does not exist here: possible are rgb, depth, event, lidar"):
        canonical(["aolp"], within=MODALITIES)
    with pytest.raises(UserError, match="'depth' is not in the set mcubes"):
        subset_letters(("depth",), MCUBES)
    with pytest.raises(UserError, match="'cars': known are vehicle, muses, mcubes"):
        modality_set("cars")
    with pytest.raises(UserError, match=r"letters \(IADN\)"):
        parse_subset("", MCUBES)


def test_exception_what_is_no_list_of_names():
    for wrong in (3, None, [3], [["rgb"]], [None], {1: 2}):
        with pytest.raises(UserError, match="give a list of names of rgb, depth"):
            canonical(wrong)
