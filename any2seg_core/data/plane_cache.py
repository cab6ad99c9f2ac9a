"""Planes made from raw sensor files, kept as PNG beside the data set in a folder named after all that decides them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.data.images import read_plane

PLANE_FOLDER = "any2seg_planes"
"""Below the root of a data set."""


class PlaneCache:
    """Reads planes that are there and, if told so, keeps those that are made.

    A file appears whole or not at all, so that many processes may fill one cache and a killed one may go on.

    Args:
        root: of the data set.
        recipe: JSON-serialisable: encodings, calibration, sizes; another recipe is another folder, nothing goes stale.
        keep: write what is made.
    """

    def __init__(self, root: Path, recipe: dict[str, Any], keep: bool):
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
        self.folder, self.keep = root / PLANE_FOLDER / digest, keep

    def holds(self, relative: Path) -> bool:
        """Whether that plane was made already."""
        return (self.folder / relative).is_file()

    def plane(self, relative: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The plane (H, W, 3) uint8 from its file, or from ``make``."""
        path = self.folder / relative
        if path.is_file():
            return read_plane(path)
        plane = make()
        if self.keep:
            with replacing(path) as partial:
                # OpenCV stores BGR; the fastest compression, since what makes these planes sparse makes them small
                if not cv2.imwrite(str(partial), plane[..., ::-1], (cv2.IMWRITE_PNG_COMPRESSION, 1)):
                    raise OSError("the image cannot be written")
        return plane
