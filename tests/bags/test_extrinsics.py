"""Sensors that move against the camera, against the transform that was driven."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bag_files import (
    NS_PER_S,
    PAN_CAMERA,
    START_NS,
    STORE,
    Entry,
    kitti_entries,
    pan_entries,
    pan_mount,
    scan,
    tf_message,
    write_bag,
)

from any2seg_core.bags.extrinsics import ODOMETRY_KIND, left_out_notes
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.sensors.calibration import Calibration, load_calibration
from any2seg_core.sensors.rig import SensorRig

TF = "tf2_msgs/msg/TFMessage"
OFFSET = "lidar: {offset_s: -0.02}"


@pytest.fixture()
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    {OFFSET}\n")
    return path


def expected_plane(index, to_camera):
    return SensorRig(Calibration(PAN_CAMERA, lidar_to_camera=to_camera)).planes({"lidar": scan(index)}, 0)["lidar"]


def sets_of(path, options):
    with open_bag(path, options) as opened:
        for bag_set in opened.sets():
            yield bag_set, bag_set.frame()


def test_value_a_panning_lidar_is_projected_with_the_mount_of_its_own_stamp(tmp_path, params):
    path = write_bag(tmp_path / "bag", pan_entries())
    shown = 0
    for bag_set, frame in sets_of(path, BagOptions(params=params, topics=("event=none",))):
        if "lidar" not in frame.planes:
            continue
        stamp_ns = bag_set.sample_set.samples["lidar"][0].stamp_ns
        index = round((stamp_ns - START_NS + 20_000_000) / 1e8)
        np.testing.assert_allclose(bag_set.extrinsics["lidar"], pan_mount(stamp_ns), atol=1e-6)
        expected = expected_plane(index, pan_mount(stamp_ns))
        assert (frame.planes["lidar"] == expected).mean() > 0.999  # rounding at the edges of pixels
        if index > 3:
            assert (frame.planes["lidar"] == expected_plane(index, pan_mount(START_NS))).mean() < 0.99
        shown += 1
    assert shown >= 10


def test_value_without_a_transform_near_its_stamp_the_lidar_is_left_out(tmp_path, params):
    late_ns = START_NS + NS_PER_S // 2
    entries = [e for e in pan_entries() if e[1] != "/tf" or e[0] > late_ns]
    frames = list(sets_of(write_bag(tmp_path / "bag", entries), BagOptions(params=params)))
    early = [frame for bag_set, frame in frames if bag_set.time_ns < late_ns and "lidar" in bag_set.sample_set.samples]
    assert early
    assert all("lidar" in frame.errors for frame in early)
    assert "lidar" in frames[-1][1].planes


def test_value_extracted_calibration_leaves_out_what_moves(tmp_path, params):
    path = write_bag(tmp_path / "bag", pan_entries(6))
    with open_bag(path, BagOptions(params=params, topics=("event=none",))) as opened:
        extract(opened, ExtractOptions(tmp_path / "out"))
    assert load_calibration(tmp_path / "out" / "calibration_train.yaml").lidar_to_camera is None
    assert "followed" in json.loads((tmp_path / "out" / "bag_train.json").read_text())["extrinsics"]["lidar_to_camera"]


def test_value_a_bad_transform_beside_the_good_ones_is_a_note(tmp_path, params):
    """Every second message from the third on has one more, of an IMU without a value."""
    spoilt, count = [], 0
    for index, (time_ns, topic, kind, data) in enumerate(pan_entries()):
        if topic == "/tf" and index > 8 and index % 2:
            message = STORE.deserialize_cdr(data, TF)
            edge = STORE.deserialize_cdr(data, TF).transforms[0]
            edge.child_frame_id, edge.transform.rotation.w = "imu", float("nan")
            message.transforms.append(edge)
            data, count = bytes(STORE.serialize_cdr(message, TF)), count + 1
        spoilt.append((time_ns, topic, kind, data))
    options = BagOptions(params=params, topics=("event=none",))
    found = []
    for name, entries in (("bag", pan_entries()), ("spoilt", spoilt)):
        with open_bag(write_bag(tmp_path / name, entries), options) as opened:
            stream = opened.sets()
            found.append([bag_set.extrinsics for bag_set in stream])
            assert stream.bad == {} and stream.reasons == {}
    assert count > 2
    ((line, times),) = stream.left_out.items()
    assert "imu" in line and times == count
    assert left_out_notes(stream.left_out) == (f"{line}: left out ({count} times), the others are used",)
    for before, after in zip(*found, strict=True):
        assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)


def test_value_a_fixed_frame_corrects_for_the_way_between_the_stamps(tmp_path):
    """The vehicle drives 10 m/s; a cloud 20 ms older than the picture lies 0.2 m further back."""
    entries = [e for e in pan_entries() if e[1] not in ("/tf", "/tf_static")]
    fixed = [("base", PAN_CAMERA.frame_id, np.linalg.inv(pan_mount(START_NS))), ("base", "lidar", np.eye(4))]
    entries.append((START_NS - NS_PER_S, "/tf_static", TF, tf_message(fixed, START_NS)))
    for k in range(-10, 70):
        stamp_ns, place = START_NS + k * NS_PER_S // 50, np.eye(4)
        place[0, 3] = 10.0 * k / 50
        entries.append((stamp_ns - 150_000_000, "/tf", TF, tf_message([("odom", "base", place)], stamp_ns)))
    path = write_bag(tmp_path / "bag", sorted(entries))
    file = tmp_path / "p.yaml"
    for line, ahead_m in (("", 0.0), ("\n    fixed_frame: odom", 0.2)):
        file.write_text(f"/**:\n  ros__parameters:\n    {OFFSET}{line}\n")
        options = BagOptions(params=file, topics=("event=none",))
        found = [bag_set.extrinsics for bag_set, _ in sets_of(path, options)][5:]
        assert all(("lidar" in extrinsics) == bool(line) for extrinsics in found)
        for extrinsics in found if line else ():
            expected = pan_mount(START_NS).copy()
            expected[:3, 3] -= pan_mount(START_NS)[:3, :3] @ [ahead_m, 0, 0]
            np.testing.assert_allclose(extrinsics["lidar"], expected, atol=1e-6)


def driving_entries(with_odometry: bool = False) -> list[Entry]:
    """A vehicle that drives 10 m/s along x of odom, by /tf or by an odometry; the camera stands 2 m ahead on it."""
    entries = [entry for entry in pan_entries() if entry[1] not in ("/tf", "/tf_static")]
    ahead = np.eye(4)
    ahead[0, 3] = 2.0
    fixed = [("base", PAN_CAMERA.frame_id, ahead), ("base", "lidar", np.eye(4))]
    entries.append((START_NS - NS_PER_S, "/tf_static", TF, tf_message(fixed, START_NS)))
    for k in range(-10, 70):
        stamp_ns, place = START_NS + k * NS_PER_S // 50, np.eye(4)
        place[0, 3] = 10.0 * k / 50
        message = ("/odometry", ODOMETRY_KIND, odometry_message(place, stamp_ns)) if with_odometry else (
            "/tf", TF, tf_message([("odom", "base", place)], stamp_ns))  # fmt: skip
        entries.append((stamp_ns - 150_000_000, *message))
    return sorted(entries)


def odometry_message(place: np.ndarray, stamp_ns: int) -> bytes:
    """Serialised nav_msgs/Odometry of base in odom."""
    edge = STORE.deserialize_cdr(tf_message([("odom", "base", place)], stamp_ns), TF).transforms[0]
    make, move = STORE.types, edge.transform
    point = make["geometry_msgs/msg/Point"](move.translation.x, move.translation.y, move.translation.z)
    still = make["geometry_msgs/msg/Twist"](*[make["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)] * 2)
    pose = make["geometry_msgs/msg/PoseWithCovariance"](
        make["geometry_msgs/msg/Pose"](point, move.rotation), np.zeros(36)
    )
    twist = make["geometry_msgs/msg/TwistWithCovariance"](still, np.zeros(36))
    return bytes(STORE.serialize_cdr(make[ODOMETRY_KIND](edge.header, "base", pose, twist), ODOMETRY_KIND))


@pytest.mark.parametrize("with_odometry", [False, True], ids=["tf", "odometry"])
def test_value_sets_tell_where_the_camera_is_when_somebody_asks(tmp_path, with_odometry):
    path = write_bag(tmp_path / "bag", driving_entries(with_odometry))
    topics = ("event=none",)
    assert all(bag_set.pose is None for bag_set, _ in sets_of(path, BagOptions(topics=topics)))
    posed = [bag_set for bag_set, _ in sets_of(path, BagOptions(topics=topics, with_poses=True))][2:]
    assert len(posed) > 5
    for bag_set in posed:
        assert bag_set.pose.world == "odom"
        driven_m = 10.0 * (bag_set.stamp_ns - START_NS) / NS_PER_S
        np.testing.assert_allclose(bag_set.pose.to_world[:3, 3], [driven_m + 2.0, 0.0, 0.0], atol=1e-6)


def test_value_a_recording_without_moving_transforms_has_no_poses(tmp_path):
    path = write_bag(tmp_path / "bag", kitti_entries(4))
    assert all(bag_set.pose is None for bag_set, _ in sets_of(path, BagOptions(with_poses=True)))
