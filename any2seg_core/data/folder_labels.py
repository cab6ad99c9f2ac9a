"""Truth of a recipe -> train ids: label images, and labels of the points of a cloud."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from any2seg_core.data.images import CorruptFileError, map_ids
from any2seg_core.data.label_images import read_ids
from any2seg_core.vocabulary.labels import IGNORE, LabelSpace, lookup_table

_IDS_OF_SUFFIX = {".label": "<u4", ".bin": "u1"}
"""SemanticKITTI: 32 bits, the class in the lower half; nuScenes' lidarseg: a byte."""


def read_label_image(path: Path, space: LabelSpace) -> np.ndarray:
    """(H, W) uint8 train ids, 255 where there is no class; CorruptFileError for an id that the space does not know."""
    table, allowed = _tables(space)
    return map_ids(read_ids(path, space=space, to_train=table), table, allowed, path)


def read_point_labels(path: Path, count: int, space: LabelSpace) -> np.ndarray:
    """(count,) uint8 train ids, one for each row of a cloud; CorruptFileError for another number of them."""
    kind = _IDS_OF_SUFFIX.get(path.suffix)
    if kind is None:
        raise CorruptFileError(f"{path}: labels of points are .label or .bin files", "file-format")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{path}: cannot be read ({error.strerror}); restore it", "file-unreadable") from None
    if len(data) != count * np.dtype(kind).itemsize:
        size = np.dtype(kind).itemsize
        raise CorruptFileError(
            f"{path}: has {len(data)} bytes, the cloud {count} points of {size}: are they of one frame?",
            "size-mismatch",
        )
    ids = np.frombuffer(data, kind).astype(np.int64) & 0xFFFF
    table, allowed = _tables(space)
    ids = np.minimum(ids, IGNORE)
    return map_ids(ids.astype(np.uint8), table, allowed, path)


@lru_cache(maxsize=4)
def _tables(space: LabelSpace) -> tuple[np.ndarray, np.ndarray]:
    """(256,) train id of each id of a file, and which ids there can be."""
    table = lookup_table({train: train for train in range(len(space))})
    return table, (table != IGNORE) | (np.arange(256) == IGNORE)
