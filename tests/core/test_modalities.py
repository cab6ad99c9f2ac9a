from __future__ import annotations

import pytest

from any2seg_core.errors import UserError
from any2seg_core.modalities import MODALITIES, all_subsets, canonical, modality, parse_subset, subset_letters


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
