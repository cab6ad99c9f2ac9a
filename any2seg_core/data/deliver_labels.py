"""Label images of DELIVER's layout: read without anything of a data set."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from any2seg_core.data.images import map_ids
from any2seg_core.data.label_images import read_ids
from any2seg_core.vocabulary.label_tables import IdTable
from any2seg_core.vocabulary.labels import DELIVER, IGNORE, LabelSpace, label_space, lookup_table, require_train_ids

LABEL_SPACE_FILE = "label_space.yaml"
"""In the root: the classes of its labels, where they are not DELIVER's."""


def read_labels(path: Path, space: LabelSpace = DELIVER) -> np.ndarray:
    """Semantic PNG -> (H, W) uint8 train ids: its first (red) channel, or the index of its palette, holds train id + 1;
    0 and 255 become 255.

    CorruptFileError for an unreadable file or an id above K (25) that is not 255.
    """
    table, known = _png_table(space)
    return map_ids(read_ids(path, True, space, table), table, known, path)


@lru_cache(maxsize=4)
def _png_table(space: LabelSpace) -> IdTable:
    """(256,) train id of each id of a PNG, and which there can be."""
    require_train_ids(len(space))
    table = lookup_table({train + 1: train for train in range(len(space))})
    return IdTable(table, (table != IGNORE) | np.isin(np.arange(256), (0, IGNORE)))


def label_space_of(root: Path) -> LabelSpace:
    """Classes of a folder of this layout: those of the YAML that `bag extract` writes into it, else DELIVER's."""
    path = root / LABEL_SPACE_FILE
    return label_space(path) if path.is_file() else DELIVER
