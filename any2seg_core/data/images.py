"""Image files of data sets <-> arrays; what cannot be read is a CorruptFileError that names the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.pictures import read_picture
from any2seg_core.vocabulary.label_tables import UNLABELLED_IDS, strange_ids
from any2seg_core.vocabulary.labels import IGNORE

_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # the fastest: sparse planes are small anyway


class CorruptFileError(UserError):
    """A file of one frame that cannot be read or holds what its data set does not have: it alone may be skipped."""


def read_image(path: Path, kinds: Sequence[type] = (np.uint8,)) -> np.ndarray:
    """Image file -> (H, W) or (H, W, 3) array in RGB order, alpha dropped; CorruptFileError names the file."""
    try:
        image = read_picture(path)
    except UserError as error:
        problem = f"not a readable image ({error})" if path.exists() else "missing"
        raise CorruptFileError(
            f"{path}: {problem}; write this frame again or remove it from all folders",
            "file-format" if path.exists() else "file-missing",
        ) from None
    if image.dtype not in kinds or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        bits = " or ".join(str(np.dtype(kind).itemsize * 8) for kind in kinds)
        raise CorruptFileError(
            f"{path}: expected {bits}-bit with 1, 3 or 4 channels, got {image.dtype} {image.shape}", "file-content"
        )
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB)


def three_channels(image: np.ndarray) -> np.ndarray:
    """(H, W) repeated, (H, W, 3) as it is -> (H, W, 3)."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image  # (H, W) -> (H, W, 3)


def read_plane(path: Path) -> np.ndarray:
    """8-bit image file -> (H, W, 3) uint8 RGB: alpha dropped, one channel repeated; CorruptFileError."""
    return three_channels(read_image(path))


def map_ids(raw: np.ndarray, table: np.ndarray, allowed: np.ndarray, path: Path) -> np.ndarray:
    """Raw ids >= 0 of any shape through an (N,) table; CorruptFileError where one is not ``allowed`` (N,) bool."""
    strange = strange_ids(raw, allowed)
    if strange.size:
        known = np.flatnonzero(allowed)
        known = known[~np.isin(known, UNLABELLED_IDS)]
        raise CorruptFileError(
            f"{path}: label id {strange[0]} is out of range (known: {known[0]}..{known[-1]} and {IGNORE}); is this the "
            "label image of another data set?",
            "label-ids",
        )
    return table[raw]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) RGB or (H, W), uint8, making the folders above; UserError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    if not cv2.imwrite(str(path), stored, _PNG_OPTIONS):
        raise UserError(f"{path}: cannot write the image; check free space and permissions", "output-unwritable")
