"""The published MUSES loader of AnySeg, defects included, for comparison with numbers that were made with it.

What it does, and what is wrong with it: 16-bit images keep their high byte alone (range in steps of 1.7 m, an empty
pixel is 58), everything is squashed to 1024 x 1024 (Pillow's bicubic, labels nearest), nothing is normalised, and
pixels labelled 255 become 0: every ignored pixel counts as road, in training and in evaluation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from any2seg_core.base.pictures import open_picture
from any2seg_core.data.images import CorruptFileError
from any2seg_core.vocabulary.labels import IGNORE

SIDE = 1024
_ROAD = 0


def hkust_plane(path: Path) -> np.ndarray:
    """Image file -> (1024, 1024, 3) uint8 as Pillow converts and resizes it."""
    try:
        return np.array(open_picture(path.read_bytes()).convert("RGB").resize((SIDE, SIDE)))
    except (OSError, ValueError) as error:
        raise CorruptFileError(
            f"{path}: not a readable image ({error}); project this scene again as PNG", "file-format"
        ) from None


def hkust_labels(labels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 train ids -> (1024, 1024): nearest, then 255 -> 0."""
    pixels = torch.from_numpy(labels)[None, None].float()  # (1, 1, H, W)
    resized = F.interpolate(pixels, (SIDE, SIDE), mode="nearest")[0, 0].numpy().astype(np.uint8)  # (H, W)
    resized[resized == IGNORE] = _ROAD
    return resized
