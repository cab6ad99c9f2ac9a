"""Sparse labels: what remains of a dense label image when somebody clicks, scribbles, or drives a LiDAR past it.

The same frame gets the same labels in every epoch, in every process and with any number of workers: all that is drawn
follows from the seed and the name of the frame.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from any2seg_core.data.scribbles import scribbles
from any2seg_core.vocabulary.labels import NOT_ANNOTATED, is_labelled

SparseKind = Literal["points", "scribbles", "blocks", "lidar"]

_EFFECTIVE = {
    "points": ("count", "every_class", "seed"),
    "scribbles": ("side",),
    "blocks": ("count", "every_class", "seed", "side"),
    "lidar": (),
}


class SparseConfig(BaseModel):
    """Which pixels keep their label; all others become unlabelled (254).

    Attributes:
        kind: ``points``: single pixels, drawn uniformly over the labelled ones (the 20, 50 or 100 clicks of AGMM-SASS);
            ``blocks``: small squares around such pixels; ``scribbles``: a stroke along the middle of each region;
            ``lidar``: the pixels that the points of a LiDAR fall on.
        count: points or blocks per image.
        every_class: at least one per class that the image has, even if that makes more than ``count``.
        side: pixels, of a block (odd: around its centre) or across a stroke.
        seed: of all that is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: SparseKind
    count: int = Field(20, gt=0)
    every_class: bool = False
    side: int = Field(3, gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> SparseConfig:
        for name in ("count", "every_class", "side", "seed"):
            if name not in _EFFECTIVE[self.kind] and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect on {self.kind}: leave it out")
        if self.side % 2 == 0:
            raise ValueError(f"side must be odd, got {self.side}")
        return self


def sparse_labels(labels: np.ndarray, name: str, config: SparseConfig) -> np.ndarray:
    """What is left of a label image, by any kind but ``lidar``, for which see `where_points_fell`.

    Args:
        labels: (H, W) uint8 train ids, 254 and 255 without a class.
        name: of the frame, unique within the data set.
        config: what to keep.

    Returns:
        (H, W) uint8, every pixel as in ``labels`` or 254.
    """
    if config.kind == "scribbles":
        return scribbles(labels, config.side)
    rng = np.random.default_rng([config.seed, *name.encode()])
    kept: np.ndarray = np.zeros(labels.shape, np.uint8)
    kept.flat[_drawn(labels.ravel(), config.count, config.every_class, rng)] = 1
    if config.kind == "blocks":
        kept = cv2.dilate(kept, np.ones((config.side, config.side), np.uint8))
    return where_points_fell(labels, kept)


def where_points_fell(labels: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """labels (H, W) uint8 where ``hit`` (H, W) is not 0 and there is a label, elsewhere 254."""
    return np.where((hit != 0) & is_labelled(labels), labels, NOT_ANNOTATED).astype(np.uint8)


def _drawn(labels: np.ndarray, count: int, every_class: bool, rng: np.random.Generator) -> np.ndarray:
    """Places in (N,) labels, drawn without replacement among the labelled ones."""
    candidates = np.flatnonzero(is_labelled(labels))
    if not every_class:
        return rng.choice(candidates, min(count, len(candidates)), replace=False)
    order = rng.permutation(candidates)
    first = np.unique(labels[order], return_index=True)[1]  # of each class, the place drawn first
    others = np.delete(order, first)[: max(0, count - len(first))]
    return np.concatenate([order[first], others])
