"""Labels of the points of a cloud -> train ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from any2seg_core.data.images import CorruptFileError, map_ids
from any2seg_core.vocabulary.label_tables import raw_table
from any2seg_core.vocabulary.labels import LabelSpace

_IDS_OF_SUFFIX = {".label": "<u4", ".bin": "u1"}
"""SemanticKITTI: 32 bits, the class in the lower half; nuScenes' lidarseg: a byte."""


def read_point_labels(path: Path, count: int, space: LabelSpace) -> np.ndarray:
    """(count,) uint8 train ids, one for each row of a cloud, of the raw ids of a file.

    CorruptFileError for another number of them, or an id that the space does not know.
    """
    kind = _IDS_OF_SUFFIX.get(path.suffix)
    if kind is None:
        raise CorruptFileError(f"{path}: labels of points are .label or .bin files", "file-format")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{path}: cannot be read ({error.strerror}); restore it", "file-unreadable") from None
    needed = count * np.dtype(kind).itemsize
    if len(data) != needed:
        raise CorruptFileError(
            f"{path}: has {len(data)} bytes, {count} points of the cloud need {needed}: are both of one frame?",
            "size-mismatch",
        )
    ids = np.frombuffer(data, kind).astype(np.int64) & 0xFFFF
    return map_ids(ids, *raw_table(space), path)
