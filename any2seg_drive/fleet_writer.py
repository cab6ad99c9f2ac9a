"""Write the drives of a small fleet as recordings, with a manifest and a list of what was broken on purpose.

Pictures are small, all sensors fire together five times a second, and each vehicle keeps to one town, whose route and
weather change from drive to drive: a drive of 30 s takes about ten seconds of one core.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from any2seg_core.base.atomic import new_folder
from any2seg_core.base.errors import UserError
from any2seg_core.base.parallel import ordered_map
from any2seg_core.base.progress import track
from any2seg_core.base.units import NS_PER_S
from any2seg_core.faults.kinds import Fault, make_fault
from any2seg_core.sensors.camera import CameraModel
from any2seg_drive.bag_writer import VehicleLog, write_bag
from any2seg_drive.rig import DriveRig, LidarModel, StreamTiming
from any2seg_drive.simulator import SHORTEST_DRIVE_S

MANIFEST, PLANTED = "manifest.csv", "planted.csv"
VEHICLES = ("car-1", "car-2", "car-3", "car-4")
WEATHERS = ("rainy", "sunny", "night", "cloudy", "foggy")
CLOCK_AHEAD_S = 37.0
_FIRST_DAY = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)  # a Monday
_BETWEEN = timedelta(days=3, hours=12)  # drives of one vehicle: two a week
_ROUTE_START_S = 1.0
_RATE = StreamTiming(5)


@dataclass(frozen=True)
class PlannedDrive:
    """One drive of the fleet, and which of its sensors has which fault."""

    name: str
    vehicle: str
    town: int
    weather: str
    start: datetime
    seconds: float
    log: VehicleLog


def plan_fleet(drives: int, seconds: float, seed: int = 0) -> list[PlannedDrive]:
    """The drives in turn of `VEHICLES`, the first of each in rain; same arguments, same fleet."""
    parts = max(1, int((SHORTEST_DRIVE_S - _ROUTE_START_S) // seconds))  # of a town's route, each driven in turn
    planned = []
    for number in range(drives):
        turn, vehicle = divmod(number, len(VEHICLES))
        weather = WEATHERS[turn % len(WEATHERS)]
        start = _FIRST_DAY + turn * _BETWEEN + vehicle * timedelta(hours=1)
        faults = tuple(_faults(VEHICLES[vehicle], weather, seconds))
        log = VehicleLog(turn % parts * seconds, round(start.timestamp()) * NS_PER_S, faults)
        name = f"{VEHICLES[vehicle]}/{turn:03d}"
        town = len(VEHICLES) * seed + vehicle
        planned.append(PlannedDrive(name, VEHICLES[vehicle], town, weather, start, seconds, log))
    return planned


def _faults(vehicle: str, weather: str, seconds: float) -> Iterator[Fault]:
    if vehicle == "car-1":
        yield make_fault("freeze", sensors="rgb", start_s=round(seconds / 3, 1), end_s=round(2 * seconds / 3, 1))
    elif vehicle == "car-2":
        yield make_fault("skew", sensors="lidar", offset_s=CLOCK_AHEAD_S)
    elif vehicle == "car-3" and weather == "rainy":
        yield make_fault("drop", sensors="event", start_s=round(seconds / 3, 1))


def fleet_rig() -> DriveRig:
    """The sensors of every vehicle: 128x96 pixels, 32 beams, 5 Hz, all at once."""
    rgb, depth, event = (CameraModel.from_fov(128, 96, 91.0, f"ego_vehicle/{name}_front")
                         for name in ("rgb", "depth", "dvs"))  # fmt: skip
    return replace(
        DriveRig(), camera=rgb, depth_camera=depth, event_camera=event, lidar=LidarModel(beams=32, azimuths=256),
        camera_timing=_RATE, depth_timing=_RATE, event_timing=_RATE, lidar_timing=_RATE, event_sub_intervals=1,
    )  # fmt: skip


def write_fleet(out: Path, drives: int = 40, seconds: float = 30.0, seed: int = 0, workers: int = 1) -> Path:
    """Render a fleet into a new folder: <vehicle>/<number>, manifest.csv and planted.csv.

    Args:
        drives: in all. seconds: of each. seed: which towns. workers: processes.

    Raises:
        UserError: the folder is there, cannot be written, or drives are longer than a town's route.
    """
    if drives < 1 or not 0 < seconds <= SHORTEST_DRIVE_S - _ROUTE_START_S:
        raise UserError(
            f"fleet: {drives} drives of {seconds:g} s are not possible: give at least one, of up to "
            f"{SHORTEST_DRIVE_S - _ROUTE_START_S:g} s",
            "value-range",
        )
    planned = plan_fleet(drives, seconds, seed)
    with new_folder(out) as folder:
        jobs = [(folder, each) for each in sorted(planned, key=lambda drive: drive.name)]  # a process keeps its town
        for _ in track(ordered_map(_render, jobs, workers), f"drives of {out.name}", len(jobs)):
            pass
        _write_table(folder / MANIFEST, ("url", "vehicle", "date", "weather", "time_of_day", "tags"),
                     [_facts(each) for each in planned])  # fmt: skip
        _write_table(folder / PLANTED, ("url", "vehicle", "fault", "sensor", "start_s", "end_s"),
                     [row for each in planned for row in _planted(each)])  # fmt: skip
    return out


def _render(job: tuple[Path, PlannedDrive]) -> None:
    folder, drive = job
    write_bag(
        folder / drive.name, [(drive.seconds, drive.weather)], drive.town, "test", rig=fleet_rig(), progress=False,
        log=drive.log,
    )  # fmt: skip


def _facts(drive: PlannedDrive) -> tuple[str, ...]:
    is_night = drive.weather == "night"
    weather, time_of_day = ("clear", "night") if is_night else (drive.weather, "day")
    return drive.name, drive.vehicle, drive.start.date().isoformat(), weather, time_of_day, f"town-{drive.town}"


def _planted(drive: PlannedDrive) -> Iterator[tuple[str, ...]]:
    for fault in drive.log.faults:
        end_s = drive.seconds if fault.end_s is None else fault.end_s
        for sensor in fault.sensors:
            yield drive.name, drive.vehicle, fault.kind, sensor, f"{fault.start_s:g}", f"{end_s:g}"


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
