"""Label images of DELIVER's layout: read without anything of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from any2seg_core.data.images import map_ids
from any2seg_core.data.label_images import read_ids
from any2seg_core.vocabulary.labels import DELIVER, DELIVER_PNG_TO_TRAIN, IGNORE

_KNOWN_IDS = (DELIVER_PNG_TO_TRAIN != IGNORE) | np.isin(np.arange(256), (0, IGNORE))


def read_labels(path: Path) -> np.ndarray:
    """Semantic PNG -> (H, W) uint8 train ids: its first (red) channel, or the index of its palette, holds train id + 1;
    0 and 255 become 255.

    CorruptFileError for an unreadable file or an id above 25 that is not 255.
    """
    raw = read_ids(path, True, DELIVER, DELIVER_PNG_TO_TRAIN)
    return map_ids(raw, DELIVER_PNG_TO_TRAIN, _KNOWN_IDS, path)
