from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from any2seg_core.frames import CAMERA_STREAMS, FrameBuilder
from any2seg_core.messages import array_to_image_fields
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel

CAMERA = CameraModel.from_fov(52, 38, 80.0, "camera")
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)


def image(array, encoding):
    return SimpleNamespace(**array_to_image_fields(array, encoding))


def cloud(dtype, rows):
    records = np.array(rows, dtype)
    codes = {np.dtype("f4"): 7, np.dtype("f8"): 8, np.dtype("u2"): 4, np.dtype("i1"): 1}
    fields = [
        SimpleNamespace(name=name, offset=records.dtype.fields[name][1], datatype=codes[records.dtype[name]], count=1)
        for name in records.dtype.names
    ]
    step = records.dtype.itemsize
    return SimpleNamespace(
        height=1, width=len(records), fields=fields, is_bigendian=False, point_step=step, row_step=step * len(records),
        data=records.tobytes(),
    )  # fmt: skip


def points(rows):
    return cloud([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")], rows)


def events(rows):
    return cloud([("x", "u2"), ("y", "u2"), ("t", "f8"), ("pol", "i1")], rows)


@pytest.fixture()
def frames():
    calibration = Calibration(CAMERA, lidar_to_camera=LIDAR_TO_CAMERA)
    return FrameBuilder(calibration, event_window_ns=50_000_000)


def test_value_rgb_plane_is_the_image_in_rgb_order(frames):
    bgra = np.random.default_rng(0).integers(0, 256, (38, 52, 4), np.uint8)
    frame = frames.build({"rgb": [image(bgra, "bgra8")]}, 1)
    np.testing.assert_array_equal(frame.planes["rgb"], cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB))
    assert frame.errors == {}


def test_value_bad_message_costs_only_its_modality(frames):
    bad = image(np.zeros((38, 52, 3), np.uint8), "rgb8")
    bad.step = 5
    frame = frames.build({"rgb": [bad], "lidar": [points([(9, 0, 0, 1)])]}, 1)
    assert list(frame.planes) == ["lidar"]
    assert "step 5" in frame.errors["rgb"]


def test_value_lidar_point_straight_ahead_lands_in_the_middle(frames):
    plane = frames.build({"lidar": [points([(9, 0, 0, 1)])]}, 1).planes["lidar"]
    rows, columns = np.nonzero(plane.any(axis=2))
    assert plane.shape == (38, 52, 3)
    assert abs(rows.mean() - 19) <= 1
    assert abs(columns.mean() - 26) <= 1


def test_value_all_event_packets_of_the_window_count_in_order(frames):
    stamp_ns = 1_000_000_000
    first = events([(3, 4, stamp_ns - 40_000_000, 1), (3, 4, stamp_ns - 30_000_000, 1)])
    second = events([(3, 4, stamp_ns - 10_000_000, 1), (7, 9, stamp_ns - 5_000_000, 0)])
    plane = frames.build({"event": [first, second]}, stamp_ns).planes["event"]
    assert plane[4, 3, 0] == 3 * 40
    assert plane[9, 7, 1] == 40
    assert np.count_nonzero(plane.any(axis=2)) == 2


def test_value_of_several_images_the_newest_counts(frames):
    old, new = (image(np.full((38, 52, 3), value, np.uint8), "rgb8") for value in (10, 20))
    assert (frames.build({"rgb": [old, new]}, 1).planes["rgb"] == 20).all()


def test_exception_without_geometry_only_the_camera_can_be_used():
    frames = FrameBuilder(None)
    frame = frames.build({"rgb": [image(np.zeros((8, 9, 3), np.uint8), "rgb8")], "lidar": [points([(9, 0, 0, 1)])]}, 1)
    assert frame.planes["rgb"].shape == (8, 9, 3)
    assert "camera_info" in frame.errors["lidar"]


def test_value_camera_info_replaces_intrinsics_once():
    frames = FrameBuilder(None)
    assert not frames.set_camera("event", CAMERA)
    assert frames.rig is None
    assert frames.set_camera("rgb", CAMERA)
    assert not frames.set_camera("rgb", CameraModel.from_fov(52, 38, 80.0, "camera"))
    other = CameraModel.from_fov(26, 19, 60.0, "events")
    assert frames.set_camera("event", other)
    assert frames.rig.calibration.event_camera is other
    assert frames.rig.calibration.camera is CAMERA
    assert CAMERA_STREAMS == ("rgb", "depth", "event")
