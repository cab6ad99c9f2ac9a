"""The simulated fleet: which drives, what is broken in them, and what stands in the recordings."""

import csv
from datetime import date

import numpy as np
import pytest
from raised import user_error

pytest.importorskip("open3d")

from any2seg_core.bags.reader import Recording
from any2seg_core.bags.topics import choose_topics
from any2seg_core.faults.kinds import Drop, Freeze, Skew
from any2seg_drive.bag_writer import PREFIX
from any2seg_drive.fleet_writer import MANIFEST, PLANTED, VEHICLES, WEATHERS, plan_fleet, write_fleet


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return write_fleet(tmp_path_factory.mktemp("fleet") / "drives", 3, 3.0)


def test_value_forty_drives_have_ten_of_each_vehicle_in_all_weathers():
    planned = plan_fleet(40, 30.0)
    assert len({drive.name for drive in planned}) == 40
    for vehicle in VEHICLES:
        own = [drive for drive in planned if drive.vehicle == vehicle]
        assert [drive.weather for drive in own] == [*WEATHERS, *WEATHERS]
        assert len({(drive.log.route_s, drive.weather) for drive in own}) == 10  # no two show the same
        assert max(drive.log.route_s for drive in own) + 30 <= 119
        weeks = {drive.start.isocalendar().week for drive in own}
        assert len(weeks) == 5


def test_value_three_vehicles_have_one_trouble_each():
    faults = {}
    for drive in plan_fleet(40, 30.0):
        faults.setdefault(drive.vehicle, []).append((drive.weather, drive.log.faults))
    assert all(isinstance(own[0], Freeze) and own[0].sensors == ("rgb",) for _, own in faults["car-1"])
    assert all(isinstance(own[0], Skew) and own[0].offset_s == 37.0 for _, own in faults["car-2"])
    assert [weather for weather, own in faults["car-3"] if own] == ["rainy", "rainy"]
    assert all(isinstance(fault, Drop) and fault.sensors == ("event",) for _, own in faults["car-3"] for fault in own)
    assert not any(own for _, own in faults["car-4"])


def test_value_manifest_and_planted_troubles_name_the_recordings(fleet):
    manifest = rows(fleet / MANIFEST)
    assert [row["url"] for row in manifest] == ["car-1/000", "car-2/000", "car-3/000"]
    assert [date.fromisoformat(row["date"]) for row in manifest] == [date(2026, 3, 2)] * 3
    assert {row["weather"] for row in manifest} == {"rainy"}
    planted = {row["url"]: (row["fault"], row["sensor"], float(row["start_s"])) for row in rows(fleet / PLANTED)}
    expected = {"car-1/000": ("freeze", "rgb", 1.0), "car-2/000": ("skew", "lidar", 0.0)}
    assert planted == expected | {"car-3/000": ("drop", "event", 1.0)}


def test_value_recordings_hold_the_troubles_and_positions(fleet):
    with Recording(fleet / "car-1/000") as bag:
        topics = choose_topics(bag).map.streams
        images = [bytes(message.value.data) for message in bag.messages([topics["rgb"]])]
        stamps_ns = [message.stamp_ns for message in bag.messages([topics["rgb"]])]
        fixes = [message.value for message in bag.messages([f"{PREFIX}/gnss"])]
        poses = [message.value.pose.pose.position for message in bag.messages([f"{PREFIX}/odometry"])]
    assert np.all(np.diff(stamps_ns) == 200_000_000)
    is_repeated = [a == b for a, b in zip(images, images[1:], strict=False)]
    assert is_repeated == [False] * 4 + [True] * 5 + [False] * 5  # 5 Hz, from 1 s to 2 s
    east_m = (fixes[-1].longitude - fixes[0].longitude) * 111_320 * np.cos(np.radians(49))
    assert east_m == pytest.approx(poses[-1].x - poses[0].x, abs=1e-3)
    with Recording(fleet / "car-2/000") as bag:
        apart_ns = {message.stamp_ns - message.time_ns for message in bag.messages([f"{PREFIX}/lidar"])}
    assert apart_ns == {37_000_000_000}
    with Recording(fleet / "car-3/000") as bag:
        assert (bag.topics[f"{PREFIX}/dvs_front/events"].count, bag.topics[f"{PREFIX}/lidar"].count) == (5, 15)


def test_exception_an_impossible_fleet_leaves_nothing(tmp_path):
    for drives, seconds in ((0, 5.0), (1, 200.0), (1, float("nan"))):
        with user_error("value-range", drives):
            write_fleet(tmp_path / "fleet", drives, seconds)
    (tmp_path / "there").mkdir()
    with user_error("output-exists", tmp_path / "there"):
        write_fleet(tmp_path / "there", 1, 3.0)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
