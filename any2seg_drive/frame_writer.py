"""Write one moment of the drive as files of each sensor: what `any2seg predict` takes, with the truth beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from any2seg_core.base.atomic import publishing
from any2seg_core.base.errors import UserError
from any2seg_core.data.images import write_png
from any2seg_core.runtime.legend import write_labels
from any2seg_core.sensors.calibration import save_calibration
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive.rig import DriveRig
from any2seg_drive.simulator import Drive


def write_frame(
    folder: Path,
    at_s: float = 8.0,
    weather: str = "sunny",
    seed: int = 0,
    split: str = "test",
    rig: DriveRig | None = None,
) -> list[Path]:
    """Write camera.png, depth.npy, events.npz, lidar.bin, calibration.yaml and truth.png into a new folder.

    Depth is (H, W) float32 in metres; events have t_ns; lidar.bin is rows of float32 x y z in metres and intensity
    0..1; truth is (H, W) uint8, DELIVER's train ids, 255 unlabelled.

    Args:
        at_s: seconds from the start of the drive. weather, seed, split: as for `Drive`. rig: sensors.

    Returns:
        The files, in that order.

    Raises:
        UserError: the folder is there, the moment lies outside the drive, or an unknown weather or split.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another folder", "output-exists")
    drive = Drive(seed, split, weather, rig=rig)
    samples, truth = drive.sample(at_s)
    events = samples["event"]
    with publishing(folder) as partial:
        write_png(partial / "camera.png", samples["rgb"])
        np.save(partial / "depth.npy", samples["depth"])
        np.savez_compressed(partial / "events.npz", x=events["x"], y=events["y"], t_ns=events["t"], p=events["p"])
        samples["lidar"].astype("<f4").tofile(partial / "lidar.bin")
        save_calibration(partial / "calibration.yaml", drive.rig.calibration())
        write_labels(partial / "truth.png", truth, DELIVER)
    names = ("camera.png", "depth.npy", "events.npz", "lidar.bin", "calibration.yaml", "truth.png")
    return [folder / name for name in names]
