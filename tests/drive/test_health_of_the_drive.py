"""Health checks on the simulated drive: no weather and none of DELIVER's failures is taken for an illness.

Over- and underexposed images are not flagged by default either: they still show the scene, and the model was trained
on them.
"""

from __future__ import annotations

import pytest

pytest.importorskip("open3d")

from small_rig import small_rig

from any2seg_core.sensors.health import HealthMonitor, image_fault
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_drive.simulator import Drive

SMALL = small_rig()
CONDITIONS = [("sunny", "overexposure"), ("foggy", "lidarjitter"), ("foggy", "underexposure"), ("rainy", None),
              ("night", "underexposure"), ("night", "eventlowres")]  # fmt: skip


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive(0, "train", "cloudy")


@pytest.mark.parametrize(("weather", "failure"), CONDITIONS)
def test_value_no_weather_and_no_failure_is_an_illness(drive, weather, failure):
    drive = drive.with_conditions(weather, failure, SMALL)
    monitor = HealthMonitor(HealthConfig(frozen_frames=2, frozen_sensors=("rgb", "depth", "lidar")))
    faults = []
    for t_s in (12.0, 47.5):
        stamp_ns = int(t_s * 1e9)
        faults.append(monitor.check(VEHICLE.sensor("rgb"), drive.camera(t_s)[0], stamp_ns))
        faults.append(monitor.check(VEHICLE.sensor("depth"), drive.depth(t_s), stamp_ns))
        faults.append(monitor.check(VEHICLE.sensor("lidar"), drive.lidar(t_s)[0], stamp_ns))
        faults.append(monitor.check_events("event", drive.events(t_s - 0.05, t_s), stamp_ns, 50_000_000, 88 * 60))
    assert faults == [None] * 8


def test_value_a_higher_black_level_finds_underexposure(drive):
    dark = drive.with_conditions("foggy", "underexposure", SMALL).camera(12.0)[0]
    assert image_fault(dark, VEHICLE.sensor("rgb"), HealthConfig(black_level=64)).reason == "black"
