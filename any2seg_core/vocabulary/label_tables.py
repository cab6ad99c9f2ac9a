"""Ids and colours of files -> train ids of a label space, as lookup tables: the one road of all truth."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.label_documents import LARGEST_RAW_ID
from any2seg_core.vocabulary.labels import IGNORE, LabelSpace, require_train_ids

INSTANCES_PER_CLASS = 1000
"""Instance images of Cityscapes and KITTI-360 hold raw id * 1000 + number; below 1000 it is the raw id itself."""
UNLABELLED_IDS = (IGNORE, LARGEST_RAW_ID)
"""What files of other programs write where there is no class: -1 in 8 or in 16 bits."""
_UNKNOWN = 254  # in a table of colours; no class has it, see `require_train_ids`
_BLACK = (0, 0, 0)


class IdTable(NamedTuple):
    """What the ids of a file mean.

    Attributes:
        to_train: (N,) uint8 train id of each id, 255 without a class. known: (N,) bool, ids that there can be.
    """

    to_train: np.ndarray
    known: np.ndarray


@lru_cache(maxsize=32)
def train_table(space: LabelSpace) -> IdTable:
    """N = 256: files of train ids, 255 unlabelled; UserError for more classes than truth has room for."""
    require_train_ids(len(space))
    table = np.full(256, IGNORE, np.uint8)
    table[: len(space)] = np.arange(len(space))
    return _fixed(table, (table != IGNORE) | (np.arange(256) == IGNORE))


@lru_cache(maxsize=32)
def raw_table(space: LabelSpace) -> IdTable:
    """N = 65536: files of raw ids, of train ids where the space has none; UserError as of `train_table`.

    255, and 65535 (-1 in 16 bits), are unlabelled unless a class has that raw id.
    """
    require_train_ids(len(space))
    table = np.full(LARGEST_RAW_ID + 1, IGNORE, np.uint8)
    known = np.zeros(LARGEST_RAW_ID + 1, bool)
    for train, ids in enumerate(space.raw or [(train,) for train in range(len(space))]):
        table[list(ids)] = train
        known[list(ids)] = True
    known[[*space.void_raw, *UNLABELLED_IDS]] = True
    return _fixed(table, known)


def _fixed(table: np.ndarray, known: np.ndarray) -> IdTable:
    table.setflags(write=False)
    known.setflags(write=False)
    return IdTable(table, known)


def strange_ids(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Those of whole numbers >= 0, of any shape, that are beyond `known` (N,) or not in it; sorted, each once."""
    counts = np.bincount(ids.ravel(), minlength=len(known))
    counts[: len(known)][known] = 0
    return np.flatnonzero(counts)


def without_instances(ids: np.ndarray) -> np.ndarray:
    """Ids of an instance image of any shape -> raw ids of that shape."""
    return np.where(ids >= INSTANCES_PER_CLASS, ids // INSTANCES_PER_CLASS, ids)


@lru_cache(maxsize=4)
def _colour_table(space: LabelSpace) -> np.ndarray:
    """(2^24,) uint8: train id of each colour, 255 without a class, 254 for a colour that means nothing here."""
    require_train_ids(len(space))
    table = np.full(1 << 24, _UNKNOWN, np.uint8)
    for colour in (_BLACK, *space.void_colours):
        table[_packed(np.array(colour))] = IGNORE
    for train, colours in enumerate(space.file_colours):
        for colour in colours:
            table[_packed(np.array(colour))] = train
    return table


def _packed(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) -> (...) int32, red highest."""
    return rgb[..., 0].astype(np.int32) << 16 | rgb[..., 1].astype(np.int32) << 8 | rgb[..., 2].astype(np.int32)


def labels_of_colours(rgb: np.ndarray, space: LabelSpace) -> np.ndarray:
    """(H, W, 3) uint8 colours -> (H, W) uint8 train ids; black is unlabelled unless a class has it.

    UserError names the most frequent colour that is none of the space, and how many pixels have it.
    """
    codes = _packed(rgb)  # (H, W)
    labels = np.take(_colour_table(space), codes)
    strange = codes[labels == _UNKNOWN]
    if strange.size:
        values, counts = np.unique(strange, return_counts=True)
        code = int(values[counts.argmax()])
        colour = [code >> 16, code >> 8 & 255, code & 255]
        raise UserError(
            f"colour {colour} of {counts.max()} pixels is none of {space.name} ({len(values)} such colours); name it "
            "under raw_colours of a class or of void",
            "label-ids",
        )
    return labels
