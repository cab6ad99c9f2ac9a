"""Empty planes: which ones are, and a line with counts that add up."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.emptiness import is_empty, why_empty
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.modalities import VEHICLE

CAMERA = CameraModel.from_fov(53, 37, 80.0)
TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)  # the LiDAR looks along x
RIG = SensorRig(Calibration(CAMERA, lidar_to_camera=TO_CAMERA), 50_000_000)
END_NS = 1_000_000_000


def events(times_ns, column=3):
    array = np.zeros(len(times_ns), EVENT_DTYPE)
    array["t"], array["x"], array["p"] = times_ns, column, 1
    return array


@pytest.mark.parametrize("where", [None, (0, 0, 2), (18, 5, 0), (36, 52, 1)])
def test_value_a_plane_is_empty_when_no_pixel_is_set(where):
    plane = np.zeros((37, 53, 3), np.uint8)
    if where is not None:
        plane[where] = 1
    assert is_empty(plane) == (where is None)


def cloud():
    """Of each kind a number of points of its own: 7 + 5 + 4 + 3 + 2."""
    nowhere, behind, far, beside = (0, 0, 0, 1), (-5, 0, 0, 1), (2000, 0, 0, 1), (1, 9, 0, 1)
    rows = [nowhere] * 7 + [behind] * 5 + [far] * 4 + [beside] * 3 + [(np.nan, 1, 1, 1), (np.inf, 0, 0, 1)]
    return np.array(rows, np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_points_are_counted_by_where_they_are(dtype):
    points = cloud().astype(dtype)
    assert is_empty(RIG.planes({"lidar": points}, END_NS)["lidar"])
    assert why_empty(VEHICLE.sensor("lidar"), points, RIG, END_NS) == (
        "lidar: none of its 21 points falls into the picture: 9 no returns (at the origin or not finite), "
        "5 behind the camera, 4 farther than 999 m, 3 outside; check lidar_to_camera"
    )


@pytest.mark.parametrize(
    ("name", "sample", "said"),
    [
        ("lidar", np.zeros((0, 4), np.float32), "its cloud has no point"),
        ("lidar", np.zeros((9, 4), np.float32), "picture: 9 no returns (at the origin or not finite)"),
        ("depth", np.full((37, 53), np.nan, np.float32), "none of its 1961 pixels has a depth"),
        ("depth", np.full((37, 53), 1000.0, np.float32), "none of its 1961 pixels has a depth"),
        ("event", events([]), "no event in the window of 50 ms"),
        ("event", events([END_NS + 1, END_NS - 50_000_000]), "in the window of 50 ms; its messages hold 2 others"),
        ("event", events([END_NS, END_NS - 9], 1000), "none of the 2 events in the window falls into the picture"),
        ("rgb", np.zeros((37, 53, 3), np.uint8), "rgb: all pixels of its image are 0"),
        ("depth", np.zeros((37, 53, 3), np.uint8), "depth: all pixels of its plane are 0"),
    ],
)
def test_value_the_line_names_the_cause(name, sample, said):
    assert is_empty(RIG.planes({name: sample}, END_NS)[name])
    line = why_empty(VEHICLE.sensor(name), sample, RIG, END_NS)
    assert line.startswith(f"{name}: ") and said in line and "\n" not in line


def test_value_depths_that_another_camera_sees_beside_the_picture():
    turned = np.eye(4)
    turned[:3, :3] = [[-1, 0, 0], [0, 1, 0], [0, 0, -1]]  # looks back
    rig = SensorRig(Calibration(CAMERA, depth_to_camera=turned), 50_000_000)
    depth_m = np.full((37, 53), 8.0, np.float32)
    assert is_empty(rig.planes({"depth": depth_m}, END_NS)["depth"])
    assert "none of its 1961 depths falls into the picture; check depth_camera" in why_empty(
        VEHICLE.sensor("depth"), depth_m, rig, END_NS
    )


def test_value_a_plane_that_was_given_needs_no_geometry():
    plane = np.zeros((4, 5, 3), np.uint8)
    assert why_empty(VEHICLE.sensor("lidar"), plane, None, 0) == "lidar: all pixels of its plane are 0"
