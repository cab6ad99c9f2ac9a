"""A camera_info that changes while it is recorded: every set has the one of its time."""

from __future__ import annotations

import numpy as np
import pytest
from bag_files import (
    CLOUD,
    IMAGE,
    INFO,
    LIDAR_TO_CAMERA,
    NS_PER_S,
    START_NS,
    scan,
    tf_message,
    write_bag,
    write_ros1,
)  # fmt: skip

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import open_bag
from any2seg_core.data.usable_sets import Selection, UsableSets
from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rig import SensorRig

WIDE, NARROW = (CameraModel.from_fov(97, 65, degrees, "cam") for degrees in (91.0, 70.0))
COUNT, CHANGE = 8, 5


def drive(truth_delay_ns: int = 0):
    """Camera and LiDAR at 10 Hz, camera_info before its picture; the lens is zoomed at the sixth picture."""
    edges = [("cam", "lidar", LIDAR_TO_CAMERA)]
    entries = [(START_NS - NS_PER_S, "/tf_static", "tf2_msgs/msg/TFMessage", tf_message(edges, START_NS - NS_PER_S))]
    for index in range(COUNT):
        stamp_ns = START_NS + index * NS_PER_S // 10
        camera = NARROW if index >= CHANGE else WIDE
        picture = np.random.default_rng(index).integers(0, 256, (65, 97, 3), np.uint8)
        entries += [
            (stamp_ns + 1_000_000, "/cam/camera_info", INFO, serialise.camera_info(camera, stamp_ns)),
            (stamp_ns + 2_000_000, "/cam/image_raw", IMAGE, serialise.image(picture, "rgb8", stamp_ns, "cam")),
            (stamp_ns + 3_000_000, "/lidar/points", CLOUD, serialise.point_cloud(scan(index), stamp_ns, "lidar")),
        ]
        if truth_delay_ns:
            labels = serialise.image(np.full((65, 97), 3, np.uint8), "mono8", stamp_ns, "cam")
            entries.append((stamp_ns + truth_delay_ns, "/semantic/labels", IMAGE, labels))
    return sorted(entries, key=lambda entry: entry[0])


@pytest.mark.parametrize(("write", "truth_delay_ns"), [(write_bag, 0), (write_ros1, 0), (write_bag, 450_000_000)])
def test_value_each_set_has_the_intrinsics_of_its_time(tmp_path, write, truth_delay_ns):
    """Also where sets wait for their truth, while later camera_info comes in."""
    path = write(tmp_path / "drive.bag", drive(truth_delay_ns))
    with open_bag(path) as opened:
        found = list(UsableSets(opened, Selection()))
        (note,) = [line for line in opened.bag.warnings if "camera_info" in line]
    assert len(found) == COUNT
    for usable in found:
        index = round((usable.bag_set.stamp_ns - START_NS) / 1e8)
        camera = NARROW if index >= CHANGE else WIDE
        rig = SensorRig(Calibration(camera, lidar_to_camera=LIDAR_TO_CAMERA))
        np.testing.assert_array_equal(usable.planes["lidar"], rig.planes({"lidar": scan(index)}, 0)["lidar"])
    wide, narrow = (f"97x65 with a focal length of {camera.K[0][0]:.1f} px" for camera in (WIDE, NARROW))
    what = f"rgb: camera_info changes once, first 1.5 s after the start, from {wide} to {narrow}"
    assert note == f"{what}: each set gets that of its time"
    assert note in inspect_bag(path).notes


def test_value_a_camera_info_that_stays_is_no_news(tmp_path):
    entries = [e for e in drive() if e[2] != INFO or e[0] < START_NS + CHANGE * NS_PER_S // 10]
    path = write_bag(tmp_path / "bag", entries)
    assert not [line for line in inspect_bag(path).notes if "camera_info changes" in line]
    with open_bag(path) as opened:
        assert all(not bag_set.cameras for bag_set in opened.sets())
