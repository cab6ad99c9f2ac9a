from __future__ import annotations

import numpy as np
import pytest
from bag_files import (
    CLOUD,
    IMAGE,
    INFO,
    KITTI_CAMERA,
    LIDAR_TO_CAMERA,
    NS_PER_S,
    START_NS,
    kitti_entries,
    lidar_calibration,
    lidar_entries,
    scan,
    small_entries,
    tf_message,
    write_bag,
    write_ros1,
)  # fmt: skip

from any2seg_core.bags.calibration import find_calibration
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.reader import Bag
from any2seg_core.bags.topics import choose_topics
from any2seg_core.drive import bag_messages
from any2seg_core.errors import UserError
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel

TF = "tf2_msgs/msg/TFMessage"


def found_in(path, file=None):
    with Bag(path) as bag:
        return find_calibration(bag, choose_topics(bag), file)


@pytest.mark.parametrize("write", [write_bag, write_ros1])
def test_value_camera_info_and_static_transforms(tmp_path, write):
    got = found_in(write(tmp_path / "kitti.bag", kitti_entries(3)))
    np.testing.assert_allclose(got.calibration.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-9)
    assert got.calibration.lidar_frame == "velo_link"
    np.testing.assert_array_equal(got.calibration.camera.K, KITTI_CAMERA.K)
    assert (got.calibration.camera.width, got.calibration.camera.height) == (1242, 375)
    assert got.missing == ()
    assert got.found["camera"] == "/kitti/camera_color_left/camera_info"
    assert "velo_link" in got.found["lidar_to_camera"]


def test_value_latched_messages_count_wherever_they_stand(tmp_path):
    entries = kitti_entries(6)
    late = [(*((START_NS + 3 * NS_PER_S),), *e[1:]) if e[2] == TF else e for e in entries]
    first_info = next(k for k, e in enumerate(late) if e[2] == INFO)
    only_last_info = [e for k, e in enumerate(late) if e[2] != INFO or k > first_info]
    got = found_in(write_bag(tmp_path / "bag", sorted(only_last_info)))
    np.testing.assert_allclose(got.calibration.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-9)


def moving_entries(sway_m):
    """CARLA's asynchronous mode: both sensors are children of a map that the vehicle moves through."""
    entries = [e for e in kitti_entries(6) if e[2] != TF]
    for k in range(6):
        vehicle = np.eye(4)
        vehicle[:3, 3] = (10.0 * k, 3.0, 0.0)
        camera = vehicle @ np.linalg.inv(LIDAR_TO_CAMERA)
        camera[1, 3] += sway_m * k
        edges = [("map", "velo_link", vehicle), ("map", KITTI_CAMERA.frame_id, camera)]
        stamp_ns = START_NS + k * NS_PER_S // 10
        entries.append((stamp_ns, "/tf", TF, tf_message(edges, stamp_ns)))
    return sorted(entries)


def test_value_dynamic_transforms_of_a_moving_vehicle(tmp_path):
    got = found_in(write_bag(tmp_path / "bag", moving_entries(0.0)))
    np.testing.assert_allclose(got.calibration.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-6)
    assert got.missing == ()


def test_value_a_sensor_head_that_moves_is_followed(tmp_path):
    got = found_in(write_bag(tmp_path / "bag", moving_entries(0.1)))
    assert got.missing == ()
    assert got.mounts.names == ("lidar",)
    assert "followed through /tf" in got.found["lidar_to_camera"]
    assert got.frames(1).rig.calibration.lidar_to_camera is None
    assert got.calibration.lidar_frame is None  # transforms say where a cloud of any frame is


def test_value_what_is_missing_is_said(tmp_path):
    got = found_in(write_bag(tmp_path / "kitti", kitti_entries(2, with_tf=False)))
    assert got.calibration.lidar_to_camera is None
    assert len(got.missing) == 1 and "no transform from velo_link to camera_color_left" in got.missing[0]
    got = found_in(write_bag(tmp_path / "lidar", lidar_entries(2)))
    assert got.calibration is None
    assert got.missing == ("no camera in the bag",)
    got = found_in(write_bag(tmp_path / "camera", small_entries(2)))
    assert got.missing == ("no camera_info of the colour camera in the bag",)


def test_value_camera_frame_that_is_no_optical_frame_is_suspected(tmp_path):
    entries = [e for e in kitti_entries(3) if e[2] != TF]
    edges = [("base", "velo_link", np.eye(4)), ("base", KITTI_CAMERA.frame_id, np.eye(4))]
    entries.append((START_NS, "/tf_static", TF, tf_message(edges, START_NS)))
    assert "optical frame" in found_in(write_bag(tmp_path / "bag", sorted(entries))).missing[0]


def test_value_implausible_camera_info_is_told(tmp_path):
    wrong = CameraModel(7, 5, [[5000.0, 0, 3], [0, 5000.0, 2], [0, 0, 1]])
    entries = small_entries(1)
    entries.append((START_NS + 99, "/camera/camera_info", INFO, bag_messages.camera_info(wrong, START_NS)))
    got = found_in(write_bag(tmp_path / "bag", entries))
    assert got.calibration is None
    assert "implausible" in got.missing[0]


def test_value_file_in_the_bag_and_file_given(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(2, with_tf=False))
    shift = LIDAR_TO_CAMERA.copy()
    shift[0, 3] = 1.0
    save_calibration(bag / "calibration.yaml", Calibration(CameraModel.from_fov(10, 10, 60.0), lidar_to_camera=shift))
    got = found_in(bag)
    np.testing.assert_array_equal(got.calibration.lidar_to_camera, shift)
    np.testing.assert_array_equal(got.calibration.camera.K, KITTI_CAMERA.K)  # the recorded camera_info, as in the node
    assert not got.is_final
    given = tmp_path / "mine.yaml"
    save_calibration(given, Calibration(CameraModel.from_fov(621, 188, 60.0), lidar_to_camera=LIDAR_TO_CAMERA))
    with open_bag(bag, BagOptions(calibration=given)) as opened:
        assert opened.calibration.is_final
        last = list(opened.sets())[-1]
        assert last.frames.rig.calibration.camera.width == 621  # whatever camera_info the bag holds


def test_value_lidar_alone_needs_and_takes_a_calibration(tmp_path):
    bag = write_bag(tmp_path / "bag", lidar_entries(4))
    with pytest.raises(UserError, match="no calibration.*--calibration"), open_bag(bag):
        pass
    given = tmp_path / "plane.yaml"
    save_calibration(given, lidar_calibration())
    with open_bag(bag, BagOptions(calibration=given)) as opened:
        sets = list(opened.sets())
        frame = sets[0].frame()
    assert len(sets) == 4
    assert frame.errors == {}
    assert frame.planes["lidar"].shape == (96, 160, 3)
    assert frame.planes["lidar"].any()


def test_exception_nothing_to_work_with(tmp_path):
    bag = write_bag(tmp_path / "bag", [(START_NS, "/tf", TF, tf_message([], START_NS))])
    with pytest.raises(UserError, match="no camera, depth, event or LiDAR topic"), open_bag(bag):
        pass
    bag = write_bag(tmp_path / "camera", small_entries(2))
    with pytest.raises(UserError, match="no topic for lidar"), open_bag(bag, BagOptions(modalities=["rgb", "lidar"])):
        pass
    params = tmp_path / "p.yaml"
    params.write_text("/**: {ros__parameters: {timeout_s: soon}}")
    with pytest.raises(UserError, match="timeout_s"), open_bag(bag, BagOptions(params=params)):
        pass


def test_value_params_file_reaches_the_synchroniser(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(3))
    params = tmp_path / "p.yaml"
    params.write_text("/**:\n  ros__parameters:\n    timeout_s: 0.08\n    lidar:\n      offset_s: -0.03\n")
    with open_bag(bag, BagOptions(params=params)) as opened:
        config = opened.sync_config(50_000_000)
    assert config.timeout_ns == 80_000_000
    assert config.streams["lidar"].offset_ns == -30_000_000


@pytest.mark.parametrize(("frame", "lines"), [(KITTI_CAMERA.frame_id, 0), ("depth_optical", 2)])
def test_value_depth_without_a_camera_info_of_its_own(tmp_path, frame, lines):
    """In the camera's own frame the camera's intrinsics are right; in another one what is assumed is said."""
    entries = kitti_entries(2)
    depth = bag_messages.image(np.ones((375, 1242), np.float32), "32FC1", START_NS, frame)
    entries.append((START_NS + NS_PER_S, "/depth/image", IMAGE, depth))
    entries.append((START_NS + NS_PER_S, "/other", CLOUD, bag_messages.point_cloud(scan(0), START_NS, "x")))
    got = found_in(write_bag(tmp_path / "bag", entries))
    assert len(got.missing) == lines
    for line in got.missing:
        assert "depth" in line and ("taken as mounted" in line or "colour camera's is taken" in line)
