"""Write drives in DELIVER's folder layout, so that a DELIVER reader trains on them unchanged.

    root/{img,depth,hha,lidar,event,semantic,lidar_semantic}/{cloud,fog,night,rain,sun}/<split>/MAP_<x>_point<y>[_<case>]/
        <NNNNNN>_{rgb,depth,depth,lidar,event,semantic,lidar_semantic}_front.png

<x> is the seed of the town, <y> the first frame, NNNNNN the frame number at 10 Hz. img, hha, lidar and event hold the
planes of `SensorRig.planes`, the same bytes that the live node makes from the raw sensors. semantic holds train id + 1
in its first channel (0: unlabelled). lidar_semantic, which DELIVER lacks, has the same codes at the pixels that LiDAR
points fall on, each that of the thing the point hit. depth holds metres in CARLA's 24-bit packing: metres =
(R + 256 G + 65536 B) / (2^24 - 1) * 1000.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from any2seg_core.base.atomic import make_empty
from any2seg_core.base.errors import UserError
from any2seg_core.base.parallel import ordered_map
from any2seg_core.base.progress import track
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.deliver_files import (
    LIDAR_LABELS,
    alone_with,
    check_target,
    partial_folder,
    publish,
    write_semantic,
)
from any2seg_core.data.images import write_png
from any2seg_core.sensors.lidar import project_labels
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.cases import FAILURES, SPLITS
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_drive.rig import DriveRig
from any2seg_drive.simulator import SHORTEST_DRIVE_S, Drive
from any2seg_drive.weather import FAR_M, FOLDERS

_FIRST_FRAME = 10  # the sensors that fire earlier than the camera need a little past


@dataclass(frozen=True)
class Sequence:
    """One interval of driving: `frames` frames, every `step` camera periods from frame `first`."""

    town: int
    split: str
    weather: str
    failure: str | None
    first: int
    step: int
    frames: int

    @property
    def folder(self) -> str:
        """DELIVER's `<condition>/<split>/MAP_<x>_point<y>[_<case>]`."""
        case = f"_{self.failure}" if self.failure else ""
        return f"{FOLDERS[self.weather]}/{self.split}/MAP_{self.town}_point{self.first}{case}"


def plan_sequences(
    split: str, sequences: int, frames: int, seed: int, interval_s: float, failure_share: float, rig: DriveRig
) -> list[Sequence]:
    """Return what to render: weathers in turn, a failure for a random share, each sequence in a town of its own."""
    names = tuple(FOLDERS)
    step = max(round(interval_s * rig.camera_timing.rate_hz), 1)
    span = _FIRST_FRAME + (frames - 1) * step
    last_first = SHORTEST_DRIVE_S * rig.camera_timing.rate_hz - span
    if last_first < _FIRST_FRAME:
        raise UserError(
            f"frames={frames} every {interval_s} s do not fit into a drive of {SHORTEST_DRIVE_S} s; "
            "ask for more sequences of fewer frames",
            "drive-too-short",
        )
    planned = []
    for index in range(sequences):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        failure = str(rng.choice(FAILURES)) if rng.random() < failure_share else None
        first = int(rng.integers(_FIRST_FRAME, last_first + 1))
        planned.append(Sequence(seed * 1000 + index, split, names[index % len(names)], failure, first, step, frames))
    return planned


def pack_depth(depth_m: np.ndarray) -> np.ndarray:
    """Pack depth (H,W) metres into CARLA's 24 bits, (H,W,3) uint8 R (low), G, B (high); 1000 m is the largest value."""
    code = np.round(np.clip(depth_m, 0.0, FAR_M).astype(np.float64) / FAR_M * (2**24 - 1)).astype(np.uint32)
    return np.stack([code & 255, (code >> 8) & 255, code >> 16], axis=-1).astype(np.uint8)  # (H,W) -> (H,W,3)


def _frame_images(
    drive: Drive, sensors: SensorRig, stamp_ns: int
) -> Iterator[tuple[str, str, np.ndarray, Callable[[Path, np.ndarray], None]]]:
    """Yield (top folder, suffix, image, what writes it) of one frame."""
    raw, labels = drive.sample(stamp_ns / NS_PER_S)
    for name, plane in sensors.planes(raw, stamp_ns).items():
        yield VEHICLE.sensor(name).folder, VEHICLE.sensor(name).suffix, plane, write_png
    yield "depth", "depth", pack_depth(raw["depth"]), write_png
    yield "semantic", "semantic", labels, _write_labels
    points, point_labels = drive.lidar((stamp_ns + drive.rig.lidar_timing.phase_ns) / NS_PER_S)  # as in the sample
    calibration = drive.rig.calibration()
    assert calibration.lidar_to_camera is not None  # the rig has one
    seen = project_labels(points, point_labels, calibration.lidar_to_camera, calibration.camera)
    yield LIDAR_LABELS, LIDAR_LABELS, seen, _write_labels


def _write_labels(path: Path, labels: np.ndarray) -> None:
    write_semantic(path, labels, DELIVER)


def write_sequence(root: Path, sequence: Sequence, rig: DriveRig) -> int:
    """Render one sequence below `root`; return the number of frames."""
    cv2.setNumThreads(1)
    drive = Drive(sequence.town, sequence.split, sequence.weather, sequence.failure, rig)
    sensors = SensorRig(rig.calibration(), rig.event_timing.period_ns)
    for index in range(sequence.frames):
        number = sequence.first + index * sequence.step
        for folder, suffix, image, write in _frame_images(drive, sensors, number * rig.camera_timing.period_ns):
            write(root / folder / sequence.folder / f"{number:06d}_{suffix}_front.png", image)
    return sequence.frames


def _write_job(job: tuple[Path, Sequence, DriveRig]) -> int:
    return write_sequence(*job)


def write_deliver(
    root: str | os.PathLike[str],
    split: str = "train",
    sequences: int = 40,
    frames: int = 25,
    seed: int = 0,
    workers: int = 1,
    interval_s: float = 0.7,
    failure_share: float = 0.3,
    rig: DriveRig | None = None,
    progress: bool = True,
) -> Path:
    """Render one split in DELIVER's layout.

    The five weathers take turns over the sequences, a share of them has one of the five failures, every sequence drives
    through its own town. Nothing appears below `root` before the last frame is done; `drive_<split>.json` says how.

    Args:
        root: target; other splits may be there already. split: train, val or test; the towns of splits differ.
        sequences, frames: how many sequences, and how many frames in each, `interval_s` apart.
        seed: same seed, same bytes, whatever the number of `workers` (processes).
        failure_share: part of the sequences with a failure case, 0..1.
        progress: show a progress bar.

    Returns:
        root as a Path.

    Raises:
        UserError: unknown split, a target that already holds data or cannot be written, numbers out of range.
    """
    root, rig = Path(root), rig or DriveRig()
    check_target(root, split)
    if sequences < 1 or frames < 1 or interval_s <= 0 or not 0 <= failure_share <= 1 or seed < 0:
        raise UserError(
            "drive: sequences, frames and interval_s must be positive, seed >= 0 and failure_share within 0..1; got "
            f"sequences={sequences} frames={frames} interval_s={interval_s} seed={seed} failure_share={failure_share}",
            "value-range",
        )
    plan = plan_sequences(split, sequences, frames, seed, interval_s, failure_share, rig)
    with alone_with(root, split):
        partial = partial_folder(root, split)
        make_empty(partial)
        try:
            jobs = ((partial, sequence, rig) for sequence in plan)
            done = ordered_map(_write_job, jobs, workers)
            for _ in track(done, f"drive {split}", len(plan), is_shown=progress):
                pass
            recipe = {"seed": seed, "frames": frames, "interval_s": interval_s, "sequences": [asdict(s) for s in plan]}
            (partial / f"drive_{split}.json").write_text(json.dumps(recipe, indent=1))
            publish(partial, root)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return root
