"""Positions of frames by hand: the newest fix and the newest odometry, while they are young."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from any2seg_core.bags.codec import Recorded, common_codec
from any2seg_core.fleet.positions import FIX_KIND, PositionLog
from any2seg_core.messages import serialise

SECOND = 10**9
ODOMETRY = "nav_msgs/msg/Odometry"


class Watched:
    """Takes the place of a run: its messages come from the test."""

    def __init__(self, odometry="/odom"):
        topics = {"/gps": (FIX_KIND, 5), "/old_gps": (FIX_KIND, 2), "/none": (FIX_KIND, 0), "/odom": (ODOMETRY, 9)}
        bag = SimpleNamespace(topics={name: SimpleNamespace(kind=kind, count=n) for name, (kind, n) in topics.items()})
        self.opened = SimpleNamespace(bag=bag, choice=SimpleNamespace(map=SimpleNamespace(odometry=odometry)))
        self.takes = {}

    def watch(self, topic, take):
        self.takes[topic] = take

    def send(self, topic, kind, time_s, data):
        self.takes[topic](Recorded(topic, kind, int(time_s * SECOND), data, common_codec(kind)))


def pose(x_m, y_m, heading_rad):
    matrix = np.eye(4)
    matrix[:2, :2] = [[math.cos(heading_rad), -math.sin(heading_rad)], [math.sin(heading_rad), math.cos(heading_rad)]]
    matrix[:2, 3] = x_m, y_m
    return matrix


def test_value_the_newest_of_both_counts_for_a_second():
    run = Watched()
    log = PositionLog(run)
    assert set(run.takes) == {"/gps", "/odom"}
    assert set(log.at(SECOND).values()) == {None}
    for time_s, latitude in ((1.0, 48.1), (1.5, 48.2)):
        run.send("/gps", FIX_KIND, time_s, serialise.nav_sat_fix(latitude, 11.5, int(time_s * SECOND), "gps"))
    run.send("/odom", ODOMETRY, 2.0, serialise.odometry(pose(3.0, -4.0, -2.5), 2 * SECOND, "odom", "base"))
    found = log.at(int(2.4 * SECOND))
    assert (found["latitude"], found["longitude"], found["x_m"], found["y_m"]) == (48.2, 11.5, 3.0, -4.0)
    assert found["heading_rad"] == pytest.approx(-2.5, abs=1e-9)
    later = log.at(int(2.6 * SECOND))  # the fix is 1.1 s old, the odometry 0.6 s
    assert (later["latitude"], later["x_m"]) == (None, 3.0)


@pytest.mark.parametrize(("latitude", "longitude"), [(float("nan"), 11.5), (91.0, 11.5), (48.0, float("inf"))])
def test_value_a_fix_that_is_none_is_no_position(latitude, longitude):
    run = Watched(odometry="")
    log = PositionLog(run)
    assert set(run.takes) == {"/gps"}
    run.send("/gps", FIX_KIND, 1.0, serialise.nav_sat_fix(latitude, longitude, SECOND, "gps"))
    assert set(log.at(SECOND).values()) == {None}
    run.send("/gps", FIX_KIND, 1.0, serialise.nav_sat_fix(48.0, 11.5, SECOND, "gps")[:20])  # cut off
    assert set(log.at(SECOND).values()) == {None}


def test_value_a_receiver_without_a_fix_says_so():
    run = Watched()
    log = PositionLog(run)
    for status, expected in ((-1, None), (0, 48.0), (2, 48.0)):
        fix = SimpleNamespace(status=SimpleNamespace(status=status), latitude=48.0, longitude=11.5)
        run.takes["/gps"](SimpleNamespace(time_ns=SECOND, value=fix))
        assert log.at(SECOND)["latitude"] == expected
