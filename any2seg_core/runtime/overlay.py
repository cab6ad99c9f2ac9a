"""Label colours over what the model saw."""

from __future__ import annotations

import cv2
import numpy as np

from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite


def overlay(
    labels: np.ndarray, planes: dict[str, np.ndarray], space: LabelSpace, alpha: float, suite: SensorSuite = VEHICLE
) -> np.ndarray:
    """Palette colours over the camera image, or over the first plane there is; (H, W, 3) uint8 RGB.

    labels: (H, W) uint8. planes: per sensor of the suite (H', W', 3) uint8, brought to the grid of the labels.
    alpha: weight of the colours, 0..1.
    """
    name = next((name for name in (suite.camera, *suite.members) if name in planes), None)
    colours = space.colourise(labels)
    if name is None:
        return colours
    background = planes[name]
    if background.shape != colours.shape:
        how = cv2.INTER_NEAREST_EXACT if suite.sensor(name).is_sparse else cv2.INTER_LINEAR
        background = cv2.resize(background, labels.shape[::-1], interpolation=how)
    return np.round(alpha * colours + (1.0 - alpha) * background).astype(np.uint8)
