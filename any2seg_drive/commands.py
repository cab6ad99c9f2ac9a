"""`any2seg drive`: options in, a data set or a recording of the simulated drive out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.screen import say

drive_app = typer.Typer(no_args_is_help=True, help="Render the simulated drive: a data set or a rosbag2 recording.")


@drive_app.command("deliver")
def drive_deliver(
    root: Annotated[Path, typer.Argument(help="Folder to make, in DELIVER's layout.")],
    split: Annotated[str, typer.Option(help="train, val or test: their towns differ.")] = "train",
    sequences: Annotated[int, typer.Option(min=1, help="Number of drives, each with its own town.")] = 180,
    frames: Annotated[int, typer.Option(min=1, help="Frames per drive.")] = 10,
    seed: Annotated[int, typer.Option(help="Which towns.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Render a labelled data set.

    Example: any2seg drive deliver data/drive --split val --sequences 20 --seed 0
    """
    from any2seg_drive.deliver_writer import write_deliver

    write_deliver(root, split, sequences, frames, seed, workers)


@drive_app.command("bag")
def drive_bag(
    out: Annotated[Path, typer.Argument(help="rosbag2 folder to make.")],
    seconds: Annotated[float, typer.Option(min=0.2, help="Length of the drive.")] = 20.0,
    weather: Annotated[str, typer.Option(help="cloudy, foggy, night, rainy or sunny.")] = "sunny",
    split: Annotated[str, typer.Option(help="train, val or test: their towns differ.")] = "test",
    seed: Annotated[int, typer.Option(help="Town.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    semantic_lidar: Annotated[bool, typer.Option(help="Also what each LiDAR point has hit, as CARLA's tags.")] = False,
) -> None:
    """Render a drive into a rosbag2 MCAP with the topics and encodings of the CARLA bridge.

    Example: any2seg drive bag runs/night --seconds 30 --weather night
    """
    from any2seg_drive.bag_writer import write_bag

    write_bag(out, [(seconds, weather)], seed, split, workers, semantic_lidar=semantic_lidar)


@drive_app.command("fleet")
def drive_fleet(
    out: Annotated[Path, typer.Argument(help="New folder for the drives and their manifest.csv.")],
    drives: Annotated[int, typer.Option(min=1, help="Drives, in turn of four vehicles.")] = 40,
    seconds: Annotated[float, typer.Option(min=3.0, max=119.0, help="Length of each drive.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Towns.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Render the drives of a fleet, small and at 5 Hz: four vehicles in four towns, five weeks, all weathers.

    The camera of car-1 freezes, the LiDAR of car-2 has a clock 37 s ahead, the event camera of car-3 dies in rain.
    planted.csv says where; manifest.csv is for any2seg fleet index.

    Example: any2seg drive fleet runs/fleet --drives 4 --seconds 6
    """
    from any2seg_drive.fleet_writer import write_fleet

    write_fleet(out, drives, seconds, seed, workers)
    say(f"{out}: {drives} drives; index them with: any2seg fleet index STORE {out / 'manifest.csv'}")


@drive_app.command("frame")
def drive_frame(
    folder: Annotated[Path, typer.Argument(help="New folder for the files.")],
    at: Annotated[float, typer.Option(min=0.1, help="Seconds from the start of the drive.")] = 8.0,
    weather: Annotated[str, typer.Option(help="cloudy, foggy, night, rainy or sunny.")] = "sunny",
    split: Annotated[str, typer.Option(help="train, val or test: their towns differ.")] = "test",
    seed: Annotated[int, typer.Option(help="Town.")] = 0,
) -> None:
    """Render one moment as files that any2seg predict takes: camera, depth, events, LiDAR, calibration; and the truth.

    Example: any2seg drive frame frame --weather night
    """
    from any2seg_drive.frame_writer import write_frame

    for path in write_frame(folder, at, weather, seed, split):
        say(str(path))
