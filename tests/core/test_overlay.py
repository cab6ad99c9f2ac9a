from __future__ import annotations

import numpy as np

from any2seg_core.labels import DELIVER
from any2seg_core.overlay import overlay


def test_value_overlay_mixes_colours_with_the_first_plane_that_fits():
    labels = np.array([[6, 12, 255]], np.uint8)
    camera, lidar = np.full((1, 3, 3), 100, np.uint8), np.full((1, 3, 3), 200, np.uint8)
    mixed = overlay(labels, {"lidar": lidar, "rgb": camera}, DELIVER, 0.25)
    expected = [[round(0.25 * c + 75) for c in DELIVER.palette[k]] for k in labels[0]]
    np.testing.assert_array_equal(mixed[0], expected)
    np.testing.assert_array_equal(overlay(labels, {"lidar": lidar}, DELIVER, 0.0), lidar)
    for planes in ({}, {"rgb": camera[:, :2]}):
        np.testing.assert_array_equal(overlay(labels, planes, DELIVER, 0.5), DELIVER.colourise(labels))
