"""Writing a folder of DELIVER's layout: checked before, published in one step after. The drive and bags both do."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from any2seg_core.base.atomic import only_one
from any2seg_core.base.errors import UserError
from any2seg_core.runtime.legend import write_labels
from any2seg_core.vocabulary.cases import SPLITS
from any2seg_core.vocabulary.labels import LabelSpace

ENCODING_FILE = "encoding.json"
"""Beside planes that this program has written into a folder of DELIVER's layout: which encoding they have."""

LIDAR_LABELS = "lidar_semantic"
"""Folder and suffix of label images at the pixels that LiDAR points fall on; the simulated drive writes them."""


def check_target(root: Path, split: str) -> None:
    """UserError unless a split can be written below `root`, beside other splits that may be there."""
    if split not in SPLITS:
        raise UserError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}", "value-unknown")
    if "img" in root.resolve().parts:
        raise UserError(
            f"{root}: a folder named 'img' above the data breaks DELIVER's path rules; move it", "output-unwritable"
        )
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: is a file; remove it or choose another root", "output-unwritable")
    taken = [path for path in root.glob(f"*/*/{split}") if any(path.iterdir())]
    if taken:
        raise UserError(f"{taken[0]}: already holds data; remove it or choose another root", "output-exists")


def partial_folder(root: Path, split: str) -> Path:
    """Where a split is written until it is whole: beside the real folder, not beside a link to it, so that a rename
    does not leave its disk.
    """
    return root.resolve().parent / f".{root.name}.{split}.{os.getpid()}.partial"


def alone_with(root: Path, split: str) -> AbstractContextManager[None]:
    """One process at a time writes a split; UserError for a second one, before it has worked for hours."""
    return only_one(root.resolve().parent / f".{root.name}.{split}.lock", f"{root}: writing of {split}")


def publish(partial: Path, root: Path) -> None:
    """Move the finished folders of one split, and the files beside them, below `root`."""
    for source in sorted(partial.glob("*/*/*")):
        target = root / source.relative_to(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    for source in sorted(path for path in (*partial.glob("*"), *partial.glob("*/*")) if path.is_file()):
        os.replace(source, root / source.relative_to(partial))


def write_semantic(path: Path, labels: np.ndarray, space: LabelSpace) -> None:
    """Write (H, W) uint8 train ids as train id + 1 in the first of three channels, 0 for unlabelled, and their classes;
    UserError where the place cannot be written.
    """
    semantic = np.zeros((*labels.shape, 3), np.uint8)  # (H, W, 3)
    semantic[..., 0] = labels + np.uint8(1)  # 255 wraps to 0
    write_labels(path, semantic, space, first_id=1)
