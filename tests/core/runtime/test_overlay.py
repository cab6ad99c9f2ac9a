from __future__ import annotations

import cv2
import numpy as np

from any2seg_core.runtime.overlay import overlay
from any2seg_core.vocabulary.labels import DELIVER


def test_value_overlay_mixes_colours_with_the_first_plane_that_fits():
    labels = np.array([[6, 12, 255]], np.uint8)
    camera, lidar = np.full((1, 3, 3), 100, np.uint8), np.full((1, 3, 3), 200, np.uint8)
    mixed = overlay(labels, {"lidar": lidar, "rgb": camera}, DELIVER, 0.25)
    expected = [[round(0.25 * c + 75) for c in DELIVER.palette[k]] for k in labels[0]]
    np.testing.assert_array_equal(mixed[0], expected)
    np.testing.assert_array_equal(overlay(labels, {"lidar": lidar}, DELIVER, 0.0), lidar)
    np.testing.assert_array_equal(overlay(labels, {}, DELIVER, 0.5), DELIVER.colourise(labels))


def test_value_a_plane_of_another_size_is_brought_to_the_grid_of_the_labels():
    labels, random = np.zeros((31, 47), np.uint8), np.random.default_rng(0)
    picture = random.integers(0, 256, (16, 24, 3), np.uint8)
    seen = overlay(labels, {"rgb": picture}, DELIVER, 0.0)
    np.testing.assert_array_equal(seen, cv2.resize(picture, (47, 31)))
    points = overlay(labels, {"lidar": picture}, DELIVER, 0.0)
    assert {tuple(colour) for colour in points.reshape(-1, 3)} <= {tuple(colour) for colour in picture.reshape(-1, 3)}
