"""What `auto` stands for in a list of subsets: all that are worth it, however many sensors there are."""

from __future__ import annotations

import pytest
from raised import user_error

from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor
from any2seg_core.vocabulary.subsets import parse_subsets, subsets_with_all


def suite(count: int) -> SensorSuite:
    return SensorSuite("many", tuple(Sensor(f"cam{k}", chr(65 + k), "image") for k in range(count)))


@pytest.mark.parametrize(("sensors", "subsets"), [(1, 1), (2, 3), (5, 31), (6, 13), (10, 21), (20, 41)])
def test_value_auto_is_every_subset_of_few_sensors_and_two_per_sensor_of_many(sensors: int, subsets: int):
    """2^M - 1 up to five, 2 M + 1 above: each alone, all but each, all."""
    many = suite(sensors)
    found = parse_subsets("auto", many)
    assert len(found) == len(set(found)) == subsets
    assert found[:sensors] == [(name,) for name in many.members]
    assert found[-1] == many.members


def test_value_every_stays_possible_and_all_is_last():
    assert len(parse_subsets("every", suite(10))) == 1023
    assert subsets_with_all("all,L,RD") == [("lidar",), ("rgb", "depth"), VEHICLE.members]
    assert subsets_with_all("every", VEHICLE, ("lidar",)) == [("lidar",)]
    assert subsets_with_all("full") == subsets_with_all("all") == [VEHICLE.members]
    assert len(subsets_with_all("every")) == 15
    assert subsets_with_all("auto", VEHICLE, ("rgb", "lidar")) == [("rgb",), ("lidar",), ("rgb", "lidar")]
    with user_error("value-range", "20 sensors"):
        parse_subsets("every", suite(20))
