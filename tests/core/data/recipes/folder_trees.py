"""Small trees for recipes: a camera, a LiDAR and label images, as somebody's own folder may have them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import yaml

SIZE = (37, 61)
LIDAR_TO_CAMERA = [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, -0.2], [1.0, 0.0, 0.0, -0.3], [0.0, 0.0, 0.0, 1.0]]
K = [[40.0, 0.0, 30.0], [0.0, 40.0, 18.0], [0.0, 0.0, 1.0]]


def yard_recipe() -> dict:
    """Of `write_yard`, with classes of DELIVER."""
    return {
        "name": "yard",
        "label_space": "deliver-25",
        "splits": {"train": {"drive": ["d1", "d2"]}, "val": {"drive": "d3"}},
        "sensors": {
            "rgb": "image/{drive}/{frame}.png",
            "lidar": {"path": "cloud/{drive}/{frame}.bin", "columns": ["x", "y", "z", "intensity"]},
        },
        "labels": {"path": "label/{drive}/{frame}.png", "coding": "train_ids"},
        "calibration": "car.yaml",
    }


def write_recipe(path: Path, document: dict) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def write_yard(root: Path, frames: int = 2, seed: int = 0) -> Path:
    """Drives d1, d2 and d3 of so many frames; ids 6 below, 255 in the first row, else 0."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    for drive in ("d1", "d2", "d3"):
        for number in range(frames):
            labels = np.zeros(SIZE, np.uint8)
            labels[height // 2 :], labels[0] = 6, 255
            write_png(root / "image" / drive / f"{number:04d}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
            write_png(root / "label" / drive / f"{number:04d}.png", labels)
            write_cloud(root / "cloud" / drive / f"{number:04d}.bin", cloud(rng))
    document = {"version": 1, "camera": {"width": width, "height": height, "K": K}, "lidar_to_camera": LIDAR_TO_CAMERA}
    (root / "car.yaml").write_text(yaml.safe_dump(document))
    return root


def cloud(rng: np.random.Generator, points: int = 300) -> np.ndarray:
    """(N, 4) float32 in front of the car; intensity 0..1."""
    box = rng.uniform((2, -8, -2, 0), (30, 8, 3, 1), (points, 4))
    return box.astype("<f4")


def write_cloud(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.tofile(path)


def write_png(path: Path, image: np.ndarray) -> None:
    """RGB or grey, 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
