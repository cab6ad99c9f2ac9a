"""What the tests of recipes ask of a data set: names of frames, and planes and labels of `CLOUD`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from street_trees import CODES, PIXELS, SIZE

from any2seg_core.data.folder import FolderDataset
from any2seg_core.vocabulary.labels import NOT_ANNOTATED


def names(root: Path, recipe: str, split: str, labelled: bool = True) -> list[str]:
    return [frame.name for frame in FolderDataset(root, split, recipe=recipe, labelled=labelled).frames]


def assert_lidar(plane: np.ndarray) -> None:
    """Three points with their colours, each over 3 x 3 pixels, and nothing of the one behind the camera."""
    assert plane.shape == (*SIZE, 3)
    assert [tuple(plane[pixel].tolist()) for pixel in PIXELS] == list(CODES)
    assert (plane[..., 0] > 0).sum() == 27


def assert_point_labels(labels: np.ndarray, expected: tuple[int, int, int]) -> None:
    """Of each point its pixel alone; an unlabelled point and a pixel without one are open."""
    assert [labels[pixel] for pixel in PIXELS] == list(expected)
    assert (labels == NOT_ANNOTATED).sum() == labels.size - sum(train < NOT_ANNOTATED for train in expected)
