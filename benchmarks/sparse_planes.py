"""What does a LiDAR cost whose plane is filled in part, or not at all?

    OMP_NUM_THREADS=1 python benchmarks/sparse_planes.py [CHECKPOINT [FOLDER]]

Encoding one plane with `filled_rows`, as a share of encoding all of it; and an empty plane beside three others, as a
share of encoding one. FOLDER holds LiDAR planes as PNG, such as data/drive/lidar of a data set in DELIVER's layout;
without one it is one turn of 64 beams. Processor time, in turns.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.turns import in_turns, ratio
from any2seg_core.bench import scene
from any2seg_core.data.images import read_plane
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.sensors.emptiness import is_empty
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.contract import InputContract

TURNS, PLANES = 15, 12


def lidar_planes(folder: Path | None, contract: InputContract) -> list[np.ndarray]:
    """(H, W, 3) uint8 each, of the model's size."""
    if folder is None:
        view = scene.camera(contract.width, contract.height)
        points = {"lidar": scene.cloud(scene.POINTS, np.random.default_rng(0))}
        return [SensorRig(scene.calibration(view)).planes(points, scene.STAMP_NS)["lidar"]]
    paths = sorted(folder.rglob("*.png"))
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(PLANES, len(paths))).round().astype(int)]
    return [read_plane(path) for path in chosen]


def main() -> None:
    checkpoint = Path(sys.argv[1]) if len(sys.argv) > 1 else default_checkpoint()
    whole, rows = (Predictor.load(checkpoint, filled_rows=on) for on in (False, True))
    lidar = lidar_planes(Path(sys.argv[2]) if len(sys.argv) > 2 else None, whole.contract)
    others = scene.planes(whole.contract, np.random.default_rng(0)) | {"lidar": np.zeros_like(lidar[0])}
    images = [whole.engine.images({"lidar": plane}, whole.contract)["lidar"] for plane in lidar]

    def encode(predictor: Predictor) -> None:
        with predictor.engine.computing():
            for image in images:
                predictor.engine.encode_sensor("lidar", image)

    works = {"whole": lambda: encode(whole), "rows": lambda: encode(rows), "empty": lambda: is_empty(others["lidar"])}
    times = in_turns(works, TURNS)
    per_plane = [seconds / len(images) for seconds in times["whole"].cpu_s]
    heights = [np.ptp(np.flatnonzero(plane.any(axis=(1, 2)))) + 1 for plane in lidar]
    print(f"rows from the first to the last point: {np.mean(heights) / len(lidar[0]):.2f} of the plane")
    print(f"filled rows:  {ratio(times['rows'].cpu_s, times['whole'].cpu_s)} of encoding all, {len(images)} planes")
    print(f"empty plane:  {ratio(times['empty'].cpu_s, per_plane)} of encoding one: it is looked at, and left out")
    assert "lidar" not in whole(others).used


if __name__ == "__main__":
    main()
