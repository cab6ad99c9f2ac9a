"""Pictures of a video: panels and bar, one size whatever is missing."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.runtime.frame_picture import frame_picture
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

HEIGHT, WIDTH = 41, 67
CAMERA = np.full((HEIGHT, WIDTH, 3), 80, np.uint8)
LABELS = np.full((HEIGHT, WIDTH), DELIVER.id("Road"), np.uint8)
SENSORS = {"camera": True, "LiDAR": False}


def test_value_camera_overlay_and_truth_side_by_side():
    truth = np.full_like(LABELS, DELIVER.id("Sky"))
    picture = frame_picture({"rgb": CAMERA}, LABELS, DELIVER, SENSORS, "1.50 s", truth)
    assert picture.shape == (HEIGHT + 36, 3 * WIDTH + 2 * 4, 3) and picture.dtype == np.uint8
    assert (picture[:HEIGHT, :WIDTH] == 80).all()
    assert (picture[:HEIGHT, WIDTH + 4 : 2 * WIDTH + 4] == [104, 72, 104]).all()  # (128, 64, 128) and 80, half and half
    assert (picture[:HEIGHT, 2 * WIDTH + 8 :] == [70, 130, 180]).all()


def test_value_the_camera_of_the_suite_is_shown_wherever_it_stands():
    suite = SensorSuite("van", (Sensor("left", "S", "image"), Sensor("front", "F", "image")), camera="front")
    planes = {"left": np.full_like(CAMERA, 200), "front": CAMERA}
    picture = frame_picture(planes, LABELS, DELIVER, SENSORS, "", suite=suite)
    assert (picture[:HEIGHT, :WIDTH] == 80).all()
    left = frame_picture({"left": planes["left"]}, LABELS, DELIVER, SENSORS, "", suite=suite)
    assert (left[:HEIGHT, :WIDTH] == 200).all()


def test_value_the_bar_has_green_for_fused_and_red_for_missing_sensors():
    wide = np.zeros((20, 400, 3), np.uint8)
    for name, is_fused in (("camera", True), ("camera", False)):
        bar = frame_picture({"rgb": wide}, None, DELIVER, {name: is_fused}, "")[20:]
        strong = bar[10, 14].astype(int)  # within the field, left of its text
        assert (strong[1] - strong[0] > 50) == is_fused and (strong[0] - strong[1] > 50) != is_fused


@pytest.mark.parametrize("width", [270, 400, 900])
def test_value_five_sensors_leave_room_for_the_caption(width):
    """Green and red end left of where the caption begins, which is the same letters without sensors."""
    titles = {"front camera": False, "left": True, "thermal": True, "LiDAR": True, "radar": True}
    plane = np.zeros((20, width, 3), np.uint8)
    bar = frame_picture({"rgb": plane}, None, DELIVER, titles, "")[20:].astype(int)
    coloured = np.flatnonzero(np.abs(bar[8, :, 1] - bar[8, :, 0]) > 50)
    with_caption = frame_picture({"rgb": plane}, None, DELIVER, titles, "1.42 s   mIoU 68.8 %")[20:].astype(int)
    changed = np.flatnonzero((with_caption != bar).any(axis=(0, 2)))
    assert coloured.size and changed.size and coloured.max() < changed.min() < changed.max() < 2 * width + 4


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (1080, 1920), (1042, 1042), (90, 2400)])
def test_shape_is_the_same_without_labels_and_without_planes_and_fits_a_window(size):
    camera, labels = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    truth = np.full(size, 255, np.uint8)
    full = frame_picture({"rgb": camera}, labels, DELIVER, SENSORS, "", truth)
    assert frame_picture({}, None, DELIVER, SENSORS, "", truth, size).shape == full.shape
    assert frame_picture({"rgb": camera}, None, DELIVER, SENSORS, "", truth, size).shape == full.shape
    assert full.shape[0] <= 720 + 36 and full.shape[1] <= 1920


def test_shape_without_anything_there_is_a_black_picture():
    assert not frame_picture({}, None, DELIVER, {}, "")[:90].any()
