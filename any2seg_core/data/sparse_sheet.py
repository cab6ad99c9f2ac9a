"""A picture of sparse labels, to look at before training on them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import ValidationError

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.data.samples import FrameDataset
from any2seg_core.data.sparse import SparseConfig
from any2seg_core.runtime.overlay import overlay
from any2seg_core.vocabulary.labels import is_labelled

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
# With an outline, as over-exposed pictures are white. Not one thick stroke: of some versions' fonts it is also wider.
_TITLE_STROKES = ((5, 14, _BLACK), (7, 14, _BLACK), (6, 13, _BLACK), (6, 15, _BLACK), (6, 14, _WHITE))
_TILE_HEIGHT = 256


@dataclass(frozen=True)
class SparseFrame:
    """What one frame has: labelled pixels, their share of the image 0..1, and classes out of those in the truth."""

    name: str
    pixels: int
    share: float
    classes: int
    of_classes: int


def sparse_config(**settings: object) -> SparseConfig:
    """A configuration of the settings that are not None; UserError for one that is wrong or has no effect."""
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        return SparseConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(map(str, (*first["loc"], first["input"]))) + ": " if first["loc"] else ""
        raise UserError(
            f"sparse labels: {where}{first['msg']}", code_of(error)
        ) from None


def sparse_sheet(frames: FrameDataset, count: int) -> tuple[np.ndarray, list[SparseFrame]]:
    """Frames from all over a split, one per row: what was seen, the whole truth, and the labels that are kept.

    Args:
        frames: with ``sparse`` set.
        count: at most so many.

    Returns:
        (H, W, 3) uint8 RGB, and what each of the rows has. Kept labels are drawn larger than they are.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)).tolist()
    rows, facts = [], []
    for index in chosen:
        sample = frames[index]
        truth = frames.read_labels(sample.frame)
        kept = is_labelled(sample.labels)
        seen = overlay(sample.labels, sample.planes, frames.label_space, 0.0)
        tiles = [seen, overlay(truth, sample.planes, frames.label_space, 0.6), _enlarged(sample.labels, frames, seen)]
        row = np.concatenate([_tile(tile) for tile in tiles], axis=1)
        for x, y, colour in _TITLE_STROKES:
            cv2.putText(row, sample.frame.name, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
        rows.append(row)
        number = len(np.unique(sample.labels[kept]))
        of_number = len(np.unique(truth[is_labelled(truth)]))
        facts.append(SparseFrame(sample.frame.name, int(kept.sum()), float(kept.mean()), number, of_number))
    width = max(row.shape[1] for row in rows)
    rows = [cv2.copyMakeBorder(row, 0, 4, 0, width - row.shape[1], cv2.BORDER_CONSTANT) for row in rows]
    return np.concatenate(rows), facts


def _enlarged(labels: np.ndarray, frames: FrameDataset, seen: np.ndarray) -> np.ndarray:
    """Kept labels in their colours, each grown to some pixels, over the darkened image."""
    side = max(1, labels.shape[1] // 100)
    codes: np.ndarray = np.where(is_labelled(labels), labels + 1, 0).astype(np.uint8)
    if is_labelled(labels).mean() < 0.01:  # strokes and clouds are large enough
        codes = cv2.dilate(codes, np.ones((2 * side + 1, 2 * side + 1), np.uint8))
    colours = frames.label_space.colourise(np.where(codes > 0, codes - 1, 255).astype(np.uint8))
    return np.where(codes[..., None] > 0, colours, seen // 3).astype(np.uint8)


def _tile(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.resize(image, (max(1, round(width * _TILE_HEIGHT / height)), _TILE_HEIGHT), interpolation=cv2.INTER_AREA)
