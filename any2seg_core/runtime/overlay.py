"""Label colours over what the model saw."""

from __future__ import annotations

import cv2
import numpy as np

from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import MODALITIES, SPARSE


def overlay(labels: np.ndarray, planes: dict[str, np.ndarray], space: LabelSpace, alpha: float) -> np.ndarray:
    """Palette colours over the camera image, or over the first plane there is; (H, W, 3) uint8 RGB.

    labels: (H, W) uint8. planes: per modality (H', W', 3) uint8, brought to the grid of the labels.
    alpha: weight of the colours, 0..1.
    """
    name = next((name for name in MODALITIES if name in planes), None)
    colours = space.colourise(labels)
    if name is None:
        return colours
    background = planes[name]
    if background.shape != colours.shape:
        how = cv2.INTER_NEAREST_EXACT if name in SPARSE else cv2.INTER_LINEAR
        background = cv2.resize(background, labels.shape[::-1], interpolation=how)
    return np.round(alpha * colours + (1.0 - alpha) * background).astype(np.uint8)
