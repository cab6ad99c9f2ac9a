"""A tiny data set in DELIVER's layout whose classes can be told apart by every sensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

SEQUENCES = {"cloud": "MAP_1_point1", "night": "MAP_1_point2_motionblur"}


def write_deliver(
    root: Path,
    frames: dict[str, int],
    size: tuple[int, int] = (64, 96),
    seed: int = 0,
    modalities: Sequence[str] | None = None,
    suite: SensorSuite = VEHICLE,
) -> Path:
    """``frames[split]`` frames per condition of two conditions; labels are Building over Road with a box of Cars."""
    rng = np.random.default_rng(seed)
    height, width = size
    for split, count in frames.items():
        for condition, sequence in SEQUENCES.items():
            for number in range(count):
                labels = np.zeros(size, np.uint8)
                labels[height // 2 :] = 6
                top, left = int(rng.integers(height // 2)), int(rng.integers(width // 2))
                labels[top : top + height // 3, left : left + width // 3] = 9
                raw = labels + 1
                raw[:2] = 0  # unlabelled rows
                stem = f"{number:06d}"
                _write(root, "semantic", condition, split, sequence, f"{stem}_semantic", raw)
                for name in suite.members if modalities is None else modalities:
                    entry = suite.sensor(name)
                    noise = rng.integers(0, 40, (*size, 3))
                    plane = (labels[..., None] * np.array([9, 5, 14]) + noise).astype(np.uint8)
                    _write(root, entry.folder, condition, split, sequence, f"{stem}_{entry.suffix}", plane)
    return root


def _write(root: Path, folder: str, condition: str, split: str, sequence: str, stem: str, image: np.ndarray) -> None:
    path = root / folder / condition / split / sequence
    path.mkdir(parents=True, exist_ok=True)
    bgr = image[..., ::-1] if image.ndim == 3 else image
    assert cv2.imwrite(str(path / f"{stem}_front.png"), bgr)
