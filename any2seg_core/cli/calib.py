"""``any2seg calib``: calibrations of recordings and other programs into our YAML, and a look at one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from any2seg_core.base.command_options import image_size
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import say
from any2seg_core.base.shipped import shipped_file
from any2seg_core.cli.bag import SuiteOption
from any2seg_core.cli.calib_show import show

if TYPE_CHECKING:  # it imports what --help does without
    from any2seg_core.sensors.calibration import Calibration

calib_app = typer.Typer(no_args_is_help=True, help="Calibrations: from recordings and other programs; a look at one.")
calib_app.command("show")(show)

OutArgument = Annotated[Path, typer.Argument(help="Calibration YAML to write.")]
SizeOption = Annotated[str, typer.Option(help="Of the camera's images, WIDTHxHEIGHT.")]


@calib_app.command("from-bag")
def from_bag(
    bag: Annotated[Path, typer.Argument(help="Recording: rosbag2 folder, .mcap, .db3 or ROS 1 .bag.")],
    out: OutArgument,
    topic: Annotated[list[str] | None, typer.Option(help="Fix a topic: rgb=/camera/image_raw, depth=none.")] = None,
    params: Annotated[Path | None, typer.Option(help="ROS 2 parameter file; its rectified counts.")] = None,
    suite: SuiteOption = "",
) -> None:
    """Take camera_info and transforms of a recording, for a node without TF (pip wheels).

    Example: any2seg calib from-bag runs/drive car.yaml
    """
    from any2seg_core.bags.opened import BagOptions, open_bag
    from any2seg_core.data.bag_settings import read_settings

    settings = read_settings(bag, {"suite": suite} if suite else None)
    topics = settings.topics_for(settings.sensors, topic or ())
    with open_bag(bag, BagOptions(topics, params=params, suite=settings.sensors)) as opened:
        found = opened.calibration
        calibration = None if found.calibration is None else found.fixed_part(found.calibration)
        missing, moving = found.missing, () if found.extrinsics is None else found.extrinsics.names
    if calibration is None:
        raise UserError(f"{bag}: {'; '.join(missing)}: nothing to write", "calibration-missing")
    _write(out, calibration)
    for line in (*missing, *(f"{name} moves against the camera: its transform is left out" for name in moving)):
        say(f"! {line}", err=True)


@calib_app.command("from-camera-info")
def from_camera_info(
    camera: Annotated[Path, typer.Argument(help="YAML of the colour camera, as camera_calibration writes it.")],
    out: OutArgument,
    depth: Annotated[Path | None, typer.Option(help="The same of the depth camera.")] = None,
    event: Annotated[Path | None, typer.Option(help="The same of the event camera.")] = None,
    rectified: Annotated[bool, typer.Option("--rectified", help="Images are rectified: take the projection.")] = False,
) -> None:
    """Take intrinsics from camera_info YAML files of ROS.

    Example: any2seg calib from-camera-info ost.yaml car.yaml
    """
    from any2seg_core.files import foreign_calibration as foreign

    files = {name: path for name, path in (("rgb", camera), ("depth", depth), ("event", event)) if path is not None}
    _write(out, foreign.from_camera_info(files, rectified))


@calib_app.command("from-kitti")
def from_kitti(
    source: Annotated[Path, typer.Argument(help="Folder of KITTI raw's calib_*.txt; or a file of object, odometry.")],
    out: OutArgument,
    camera: Annotated[int, typer.Option(min=0, max=3, help="2 and 3 are the colour cameras.")] = 2,
    size: SizeOption = "",
) -> None:
    """Take camera and LiDAR from KITTI's calibration text.

    Example: any2seg calib from-kitti 2011_09_26 car.yaml
    """
    from any2seg_core.files import foreign_calibration as foreign

    _write(out, foreign.from_kitti(source, camera, image_size(size) if size else None))


@calib_app.command("from-kalibr")
def from_kalibr(
    camchain: Annotated[Path, typer.Argument(help="camchain-*.yaml of Kalibr.")],
    out: OutArgument,
    rgb: Annotated[str, typer.Option(help="Its name of the colour camera.")] = "cam0",
    depth: Annotated[str, typer.Option(help="Its name of the depth camera.")] = "",
    event: Annotated[str, typer.Option(help="Its name of the event camera.")] = "",
) -> None:
    """Take cameras and the transforms between them from a camchain of Kalibr.

    Example: any2seg calib from-kalibr camchain.yaml car.yaml --event cam1
    """
    from any2seg_core.files import foreign_calibration as foreign

    names = {name: value for name, value in (("rgb", rgb), ("depth", depth), ("event", event)) if value}
    _write(out, foreign.from_kalibr(camchain, names))


@calib_app.command("from-nuscenes")
def from_nuscenes(
    source: Annotated[Path, typer.Argument(help="Folder with calibrated_sensor.json and sensor.json.")],
    out: OutArgument,
    camera: Annotated[str, typer.Option(help="Channel, or token of its record.")] = "CAM_FRONT",
    lidar: Annotated[str, typer.Option(help="Channel, or token of its record.")] = "LIDAR_TOP",
    size: SizeOption = "1600x900",
) -> None:
    """Take camera and LiDAR from nuScenes' tables.

    Example: any2seg calib from-nuscenes v1.0-mini car.yaml
    """
    from any2seg_core.files import foreign_calibration as foreign

    _write(out, foreign.from_nuscenes(source, {"camera": camera, "lidar": lidar}, image_size(size)))


@calib_app.command("example")
def example(out: OutArgument) -> None:
    """Write an example with comments, to fill in by hand.

    Example: any2seg calib example car.yaml
    """
    from any2seg_core.base.atomic import replacing

    if out.exists():
        raise UserError(f"{out}: is there already, and an example knows nothing: choose another name", "output-exists")
    with replacing(out) as partial:
        shutil.copyfile(shipped_file("any2seg_core", "sensors", "calibration_example.yaml"), partial)
    say(f"{out}: an example; change its numbers (docs/calibration.md)")


def _write(out: Path, calibration: Calibration) -> None:
    from any2seg_core.sensors.calibration import CAMERA_FIELDS, EXTRINSICS_FIELDS, save_calibration

    save_calibration(out, calibration)
    names = (*CAMERA_FIELDS.values(), *EXTRINSICS_FIELDS.values())
    there = [name for name in names if getattr(calibration, name) is not None]
    there += [f"sensors.{name}" for name in calibration.sensors]
    say(f"{out}: {', '.join(there)}")
    if calibration.lidar_to_camera is None:
        say("! lidar_to_camera is not known: add it where there is a LiDAR (docs/calibration.md)", err=True)
