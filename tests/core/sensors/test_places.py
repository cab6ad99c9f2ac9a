"""Which keys of a calibration file are for which sensor of a suite."""

from __future__ import annotations

import numpy as np
import pytest
from raised import user_error

from any2seg_core.sensors.calibration import Calibration, load_calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.places import SensorPlace, place_keys
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

CAMERA, OTHER = CameraModel.from_fov(101, 67, 70.0, "front_optical"), CameraModel.from_fov(83, 61, 60.0, "left_optical")
FRONT = Sensor("front", "F", "image")
LIDAR, RADAR = Sensor("lidar", "L", "points"), Sensor("radar", "R", "points", value_range=(-20, 40))
VAN = SensorSuite("van", (Sensor("left", "S", "image"), FRONT, RADAR, LIDAR, Sensor("stereo", "D", "depth")), "front")
SHIFT = np.eye(4)
SHIFT[:3, 3] = 0.1, -0.2, 0.3


def test_value_keys_at_the_top_are_those_of_ever_for_the_vehicle():
    assert {name: tuple(place_keys(name)) for name in VEHICLE.members} == {
        "rgb": ("camera", "", ""),
        "depth": ("depth_camera", "depth_to_camera", ""),
        "event": ("event_camera", "event_to_camera", ""),
        "lidar": ("", "lidar_to_camera", "lidar_frame"),
    }


def test_value_keys_of_other_suites():
    assert place_keys("front", VAN).camera == "camera"
    assert tuple(place_keys("left", VAN)) == ("sensors.left.camera", "sensors.left.to_camera", "sensors.left.frame")
    assert place_keys("lidar", VAN).to_camera == "lidar_to_camera"
    assert tuple(place_keys("radar", VAN)) == ("", "sensors.radar.to_camera", "sensors.radar.frame")
    assert place_keys("stereo", VAN).camera == "depth_camera"  # the only one of its kind
    alone = SensorSuite("bumper", (FRONT, RADAR))
    assert place_keys("radar", alone).to_camera == "lidar_to_camera"


FILE = """
camera: {width: 101, height: 67, hfov_deg: 70}
lidar_to_camera: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]
sensors:
  left: {camera: {width: 83, height: 61, hfov_deg: 60, frame_id: left_optical}}
  radar: {to_camera: [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], frame: radar_front}
"""


def test_value_file_and_back(tmp_path):
    path = tmp_path / "calibration.yaml"
    path.write_text(FILE)
    for _ in range(2):
        calibration = load_calibration(path)
        assert calibration.place("left", VAN).camera.frame_id == "left_optical"
        assert calibration.place("left", VAN).to_camera is None
        assert calibration.place("radar", VAN).to_camera[0, 3] == 1
        assert calibration.place("radar", VAN).frame == "radar_front"
        assert calibration.place("lidar", VAN).to_camera[2, 3] == 5
        assert calibration.place("front", VAN).camera is calibration.camera
        assert calibration.place("stereo", VAN).camera is None
        save_calibration(path, calibration)


@pytest.mark.parametrize("name", ["left", "radar", "lidar", "stereo"])
def test_value_another_place_is_found_again(name):
    calibration = Calibration(CAMERA, lidar_to_camera=np.eye(4), sensors={"left": SensorPlace(OTHER)})
    camera = OTHER if name in ("left", "stereo") else None
    changed = calibration.with_place(name, SensorPlace(camera, SHIFT, "its_frame"), VAN)
    found = changed.place(name, VAN)
    assert found.camera is camera
    assert np.array_equal(found.to_camera, SHIFT)
    assert found.frame == "its_frame"
    untouched = {"left", "radar", "lidar", "stereo"} - {name}
    for other in untouched:
        before, after = calibration.place(other, VAN), changed.place(other, VAN)
        assert (before.camera, before.frame) == (after.camera, after.frame)
        assert (before.to_camera is None) == (after.to_camera is None)
    assert changed.with_place(name, SensorPlace(), VAN).place(name, VAN).to_camera is None


def test_value_a_place_of_the_vehicle_stays_at_the_top():
    changed = Calibration(CAMERA).with_place("lidar", SensorPlace(None, SHIFT, "velodyne"))
    assert np.array_equal(changed.lidar_to_camera, SHIFT)
    assert changed.lidar_frame == "velodyne"
    assert not changed.sensors


BAD = {
    "sensors: {left: {camera: {width: 83, height: 61}}}": ("value-invalid", "sensors.left.camera", "hfov_deg"),
    "sensors: {left: {lens: 3}}": ("key-unknown", "sensors.left.lens"),
    "sensors: {left: {to_camera: [[1, 0, 0, 0]]}}": ("transform-invalid", "sensors.left.to_camera"),
    "sensors: {left: {camera: {width: 83, height: 61, hfov_deg: 190}}}": ("camera-intrinsics", "sensors.left.camera"),
    "sensors: [left]": ("value-type", "sensors"),
    "sensors: {left: {frame: 3}}": ("value-type", "sensors.left.frame"),
}


@pytest.mark.parametrize("text", BAD)
def test_exception_entries(text, tmp_path):
    path = tmp_path / "calibration.yaml"
    path.write_text("camera: {width: 101, height: 67, hfov_deg: 70}\n" + text)
    code, *named = BAD[text]
    with user_error(code, "calibration.yaml", *named):
        load_calibration(path)


def test_exception_the_camera_of_the_suite_has_no_entry_of_its_own():
    with user_error("value-conflict", "sensors.front", "camera"):
        Calibration(CAMERA, sensors={"front": SensorPlace(OTHER)}).place("front", VAN)
