"""Label colours over what the model saw."""

from __future__ import annotations

import numpy as np

from any2seg_core.labels import LabelSpace
from any2seg_core.modalities import MODALITIES


def overlay(labels: np.ndarray, planes: dict[str, np.ndarray], space: LabelSpace, alpha: float) -> np.ndarray:
    """Palette colours over the camera image, or over the first plane there is; (H, W, 3) uint8 RGB.

    labels: (H, W) uint8. planes: per modality (H, W, 3) uint8. alpha: weight of the colours, 0..1.
    """
    background = next((planes[name] for name in MODALITIES if name in planes), None)
    colours = space.colourise(labels)
    if background is None or background.shape != colours.shape:
        return colours
    return np.round(alpha * colours + (1.0 - alpha) * background).astype(np.uint8)
