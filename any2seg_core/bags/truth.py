"""Ground truth of a recording: a topic of its own, or a folder of label images named by their stamps."""

from __future__ import annotations

import re
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from any2seg_core.carla import TagList, semantic_cloud_to_train
from any2seg_core.data.deliver import read_labels
from any2seg_core.demo.scoring import TRUTH_TOLERANCE_NS
from any2seg_core.errors import MessageError, UserError
from any2seg_core.messages import image_to_array
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.lidar import project_labels

NO_TRUTH = "none"
"""What to give instead of a topic or folder where labels shall not be compared with anything."""
_ENCODINGS = ("mono8", "8UC1")
_EXTRACTED = "_semantic_front.png"


def truth_labels(message: Any, topic: str) -> np.ndarray:
    """(H, W) uint8 train ids of a truth message; UserError when it holds something else."""
    encoding = getattr(message, "encoding", "no image")
    if encoding not in _ENCODINGS:
        raise UserError(
            f"truth topic {topic}: holds {encoding}, truth is mono8 train ids with 255 = unlabelled; "
            f"name another one with --truth, or --truth {NO_TRUTH}"
        )
    return image_to_array(message)


def cloud_truth(message: Any, topic: str, tags: TagList, calibration: Calibration) -> np.ndarray:
    """Sparse truth: CARLA's semantic LiDAR on the camera plane.

    Args:
        message: sensor_msgs/PointCloud2. topic: for messages. tags: list of the CARLA version.
        calibration: its camera is the plane; it must know where the LiDAR is.

    Returns:
        (H, W) uint8 train ids of DELIVER, 255 where no point falls or nobody knows what it has hit.

    Raises:
        UserError: no such cloud, or no extrinsics.
    """
    if calibration.lidar_to_camera is None:
        raise UserError(f"truth topic {topic}: the calibration does not say where the LiDAR is (lidar_to_camera)")
    try:
        points, labels = semantic_cloud_to_train(message, tags)
    except MessageError as error:
        raise UserError(f"truth topic {topic}: {error}; name another one with --truth, or --truth {NO_TRUTH}") from None
    return project_labels(points, labels, calibration.lidar_to_camera, calibration.camera)


class TruthFolder:
    """Truth of PNG files that are named by their stamps in nanoseconds.

    Two kinds of folders: ``<stamp>.png`` of train ids (255 unlabelled) in the folder itself; or what `any2seg bag
    extract` has written, at any level of it: ``semantic/<condition>/<split>/<name>_bag/<stamp>_semantic_front.png``,
    train ids + 1 as in DELIVER.

    Raises:
        UserError: neither is there, or several files have one stamp (the data of several recordings).
    """

    def __init__(self, folder: Path) -> None:
        self._files = {int(path.stem): path for path in folder.glob("*.png") if path.stem.isdecimal()}
        if not self._files:
            self._files = _extracted(folder)
        self._stamps_ns = sorted(self._files)
        if not self._stamps_ns:
            raise UserError(
                f"--truth {folder}: holds neither <stamp in nanoseconds>.png nor <stamp>_semantic_front.png of a "
                "labelled `bag extract`; name label images by their stamp"
            )

    def nearest(self, stamp_ns: int) -> np.ndarray | None:
        """(H, W) uint8 train ids nearest to a stamp, None if none is near enough; UserError for a broken file."""
        index = bisect_left(self._stamps_ns, stamp_ns)
        around = self._stamps_ns[max(index - 1, 0) : index + 1]
        best_ns = min(around, key=lambda candidate: abs(candidate - stamp_ns))
        if abs(best_ns - stamp_ns) > TRUTH_TOLERANCE_NS:
            return None
        path = self._files[best_ns]
        return _plain_labels(path) if path.stem.isdecimal() else read_labels(path)


def _extracted(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in sorted(folder.rglob(f"*{_EXTRACTED}")):
        stem = path.name.removesuffix(_EXTRACTED)
        if not re.fullmatch("[0-9]+", stem):
            continue
        other = files.setdefault(int(stem), path)
        if other is not path:
            raise UserError(
                f"--truth {folder}: {path.parent} and {other.parent} both have labels of stamp {int(stem)}: give the "
                "folder of one recording"
            )
    return files


def _plain_labels(path: Path) -> np.ndarray:
    try:
        labels = np.asarray(Image.open(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is not a readable image ({error}): give a PNG of train ids") from None
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise UserError(f"{path} has {labels.dtype} pixels {labels.shape}: truth is one 8-bit channel of ids")
    return labels
