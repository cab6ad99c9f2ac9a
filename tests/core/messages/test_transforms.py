"""The transform tree against SciPy's rotations, and against a car whose motion is known in closed form."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raised import user_error
from scipy.spatial.transform import Rotation, Slerp

from any2seg_core.base.errors import MessageError
from any2seg_core.messages.transforms import TransformTree, odometry_as_transforms, pose_matrix

S = 1_000_000_000


def transform(parent, child, time_s, translation, quaternion):
    vector = SimpleNamespace(**dict(zip("xyz", map(float, translation), strict=True)))
    rotation = SimpleNamespace(**dict(zip("xyzw", map(float, quaternion), strict=True)))
    stamp = SimpleNamespace(sec=int(time_s), nanosec=round(time_s % 1 * S))
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent, stamp=stamp),
        child_frame_id=child,
        transform=SimpleNamespace(translation=vector, rotation=rotation),
    )


def message(*transforms):
    return SimpleNamespace(transforms=list(transforms))


def quaternion(*euler_deg):
    return Rotation.from_euler("xyz", euler_deg, degrees=True).as_quat()


def odometry(parent, child, time_s, translation, quaternion):
    one = transform(parent, child, time_s, translation, quaternion)
    pose = SimpleNamespace(position=one.transform.translation, orientation=one.transform.rotation)
    return SimpleNamespace(header=one.header, child_frame_id=child, pose=SimpleNamespace(pose=pose))


def test_value_the_pose_of_a_camera_is_against_odom_before_map():
    tree = TransformTree()
    assert tree.world_pose("camera", 10 * S) is None
    tree.add_message(message(transform("base", "camera", 0, (1, 0, 2), quaternion(0, 0, 90))), is_static=True)
    tree.add_message(message(transform("map", "odom", 10, (100, 0, 0), quaternion(0, 0, 0))), is_static=False)
    assert tree.world_pose("camera", 10 * S) is None  # odom and map do not reach it
    tree.add_message(odometry_as_transforms(odometry("/odom", "base", 10, (5, 6, 0), quaternion(0, 0, 0))), False)
    pose = tree.world_pose("/camera", 10 * S)
    assert pose.world == "odom"
    np.testing.assert_allclose(pose.to_world @ [1, 0, 0, 1], [6, 7, 2, 1], atol=1e-12)
    assert tree.world_pose("camera", 10 * S, "map").to_world[0, 3] == pytest.approx(106.0)
    assert tree.world_pose("camera", 12 * S) is None  # nobody said where it is by then
    assert tree.world_pose("camera", 10 * S, "elsewhere") is None


def test_exception_what_is_no_odometry():
    with user_error("message-field", "odometry", kind=MessageError):
        odometry_as_transforms(message())


QUATERNIONS = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(QUATERNIONS, st.lists(st.floats(-100, 100), min_size=3, max_size=3))
def test_property_pose_matrix_is_scipys(q, t):
    matrix = pose_matrix(t, q)
    np.testing.assert_allclose(matrix[:3, :3], Rotation.from_quat(q).as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(matrix[:3, 3], t)


@settings(deadline=None)
@given(QUATERNIONS, QUATERNIONS, st.floats(0, 1))
def test_property_between_two_stamps_it_interpolates_as_scipy_does(one, other, share):
    tree = TransformTree()
    for time_s, q in ((10, one), (11, other)):
        unit = np.asarray(q) / np.linalg.norm(q)
        tree.add_message(message(transform("odom", "base", time_s, (time_s, 0, 2), unit)), is_static=False)
    time_ns = 10 * S + round(share * S)
    found = tree.lookup("odom", time_ns, "base", time_ns)
    exact = (time_ns - 10 * S) / S
    oracle = Slerp([0, 1], Rotation.from_quat([one, other]))(exact).as_matrix()
    half_turn = np.abs(np.dot(one, other)) < 1e-6 * np.linalg.norm(one) * np.linalg.norm(other)
    if not half_turn:  # both ways round are equally short
        np.testing.assert_allclose(found[:3, :3], oracle, atol=1e-6)
    np.testing.assert_allclose(found[:3, 3], [10 + exact, 0, 2], atol=1e-9)


def test_value_static_chain_between_two_sensors_of_one_car():
    tree = TransformTree()
    camera = transform("base", "camera", 0, (1.5, 0.1, 1.2), quaternion(-90, 0, -90))
    lidar = transform("/base", "/roof", 0, (0, 0, 2.0), quaternion(0, 0, 0))
    spin = transform("roof", "lidar", 0, (0.2, 0, 0.1), quaternion(0, 0, 90))
    tree.add_message(message(camera, lidar, spin), is_static=True)
    found = tree.lookup("camera", 5 * S, "lidar", 4 * S)
    np.testing.assert_allclose(found @ [0, -10, 0, 1], [0.1, -0.9, 8.7, 1], atol=1e-9)  # by hand: 10.2, 0, 2.1 in base
    np.testing.assert_allclose(tree.lookup("lidar", 0, "camera", 0) @ found, np.eye(4), atol=1e-12)


def test_value_motion_between_cloud_and_image_is_corrected_through_the_fixed_frame():
    """The car drives at 20 m/s; a cloud is 0.05 s older than the image, so its points are 1 m nearer in the image."""
    tree = TransformTree()
    tree.add_message(message(transform("base", "lidar", 0, (0, 0, 2), quaternion(0, 0, 0))), is_static=True)
    for k in range(20):
        tree.add_message(message(transform("odom", "base", k * 0.1, (2.0 * k, 0, 0), quaternion(0, 0, 0))), False)
    at_ns, older_ns = S, S - S // 20
    np.testing.assert_allclose(tree.lookup("base", at_ns, "lidar", older_ns, "odom") @ [10, 0, 0, 1], [9, 0, 2, 1])
    np.testing.assert_allclose(tree.lookup("base", at_ns, "lidar", older_ns) @ [10, 0, 0, 1], [10, 0, 2, 1])
    np.testing.assert_allclose(tree.lookup("base", at_ns, "lidar", older_ns, "mars") @ [10, 0, 0, 1], [10, 0, 2, 1])


def test_value_unknown_frames_old_poses_and_jumps_in_time_give_nothing():
    tree = TransformTree()
    assert tree.is_empty
    tree.add_message(message(transform("base", "camera", 0, (1, 0, 0), quaternion(0, 0, 0))), is_static=True)
    tree.add_message(message(transform("odom", "base", 100, (5, 0, 0), quaternion(0, 0, 0))), is_static=False)
    assert tree.lookup("camera", 0, "sonar", 0) is None
    assert tree.lookup("odom", 0, "camera", 100 * S + S // 10)[0, 3] == 6
    assert tree.lookup("odom", 0, "camera", 101 * S) is None
    tree.clear()
    assert tree.lookup("odom", 0, "camera", 100 * S) is None
    assert tree.lookup("base", 0, "camera", 100 * S)[0, 3] == 1


def test_value_history_is_bounded_and_a_cycle_ends():
    tree = TransformTree()
    for k in range(3000):
        tree.add_message(message(transform("odom", "base", k * 0.01, (k, 0, 0), quaternion(0, 0, 0))), is_static=False)
    assert len(tree._edges["base"]._poses) <= 1001
    tree.add_message(message(transform("base", "odom", 29.99, (0, 0, 0), quaternion(0, 0, 0))), is_static=False)
    assert tree.lookup("camera", 0, "base", 29 * S) is None


def test_value_frames_without_end_replace_the_moving_one_that_was_not_heard_of_for_longest():
    """A tracker that names a frame after each thing that it sees."""
    tree, still = TransformTree(), quaternion(0, 0, 0)
    tree.add_message(message(transform("base", "camera", 0.0, (1, 0, 0), still)), is_static=True)
    for number in range(5000):
        stamp_s = 0.01 * number
        moving = transform("odom", "base", stamp_s, (number, 0, 0), still)
        seen = transform("odom", f"thing_{number}", stamp_s, (0, 0, 0), still)
        assert tree.add_message(message(moving, seen), is_static=False) == ()
    assert len(tree._edges) <= 2048
    assert tree.lookup("odom", 0, "camera", round(49.99 * S))[0, 3] == 5000.0
    assert tree.lookup("odom", 0, "thing_0", 0) is None
    assert tree.lookup("odom", 0, "thing_4999", round(49.99 * S)) is not None


def test_exception_static_frames_without_end_are_named():
    tree, still = TransformTree(), quaternion(0, 0, 0)
    told = [
        complaint
        for number in range(3000)
        for complaint in tree.add_message(message(transform("base", f"s{number}", 0, (0, 0, 0), still)), is_static=True)
    ]
    assert len(tree._edges) == 2048 and len(told) == 3000 - 2048
    assert told[0] == "tf: s2048 is left out: there are 2048 static frames already"
    assert tree.lookup("base", 0, "s0", 0) is not None


def test_value_poses_of_a_frame_whose_stamps_hardly_go_on_are_bounded():
    tree, still = TransformTree(), quaternion(0, 0, 0)
    for number in range(25_000):
        tree.add_message(message(transform("odom", "base", number * 1e-6, (number, 0, 0), still)), is_static=False)
    assert len(tree._edges["base"]._poses) <= 20_000
    assert tree.lookup("odom", 0, "base", round(0.024999 * S))[0, 3] == 24_999


def moved_to(time_ns):
    """The base in odom as far along x as its stamp in seconds says."""
    return message(transform("odom", "base", time_ns / S, (time_ns / S, 0, 0), quaternion(0, 0, 0)))


STEPS_NS = st.one_of(st.integers(-9 * S // 10, 2 * S), st.integers(-2000 * S, 2000 * S))


@given(st.lists(STEPS_NS.map(lambda step: step // 10**6 * 10**6), min_size=1, max_size=30))
@example([S // 10] * 200 + [-20 * S] + [S // 10] * 3)  # a loop without /clock, longer than the history
@example([S // 10] * 20 + [900 * S, -900 * S, S // 10])  # one stamp far ahead
@example([S // 10] * 20 + [-900 * S, 900 * S, S // 10])  # one stamp far behind
def test_property_the_newest_pose_is_found_at_its_stamp_wherever_time_jumps(steps_ns):
    tree, time_ns = TransformTree(), 10_000 * S
    for step_ns in steps_ns:
        time_ns = max(time_ns + step_ns, 0)
        tree.add_message(moved_to(time_ns), is_static=False)
        np.testing.assert_allclose(tree.lookup("odom", time_ns, "base", time_ns)[0, 3], time_ns / S, atol=1e-6)


@given(st.permutations(range(10)))
def test_property_poses_out_of_order_within_a_second_are_all_kept(order):
    tree = TransformTree()
    for k in order:
        tree.add_message(moved_to(100 * S + k * S // 10), is_static=False)
    for k in range(10):
        at_ns = 100 * S + k * S // 10
        np.testing.assert_allclose(tree.lookup("odom", at_ns, "base", at_ns)[0, 3], at_ns / S, atol=1e-6)


def test_value_after_a_jump_back_no_pose_of_before_it_is_mixed_in():
    """The lap after the jump takes another way; at every stamp of it the pose is that way's."""
    tree = TransformTree()
    for k in range(60):
        tree.add_message(moved_to(100 * S + k * S // 10), is_static=False)
    for k in range(3):
        turned = transform("odom", "base", 102 + k / 10, (-5, k, 0), quaternion(0, 0, 0))
        tree.add_message(message(turned), is_static=False)
    assert tree.lookup("odom", 0, "base", 102 * S + S // 20)[0, 3] == -5
    assert tree.lookup("odom", 0, "base", 103 * S) is None


@pytest.mark.parametrize(
    "bad",
    [
        transform("base", "camera", 0, (np.nan, 0, 0), (0, 0, 0, 1)),
        transform("base", "camera", 0, (0, 0, 0), (0, 0, 0, 0)),
        transform("base", "camera", 0, (0, 0, 0), (0, 0, np.inf, 1)),
        transform("base", "camera", 0, (0, -np.inf, 0), (0, 0, 0, 1)),
        transform("base", "camera", 0, (0, 0, 0), (0, 0, 0, np.nan)),
        transform("base", "camera", 0, (0, 0, 0), (0, 0, 0, 2)),
        transform("base", "camera", 0, (0, 0, 0), (1e300, 1e300, 0, 1)),
        transform("base", "camera", -1, (0, 0, 0), (0, 0, 0, 1)),
        transform("", "camera", 0, (0, 0, 0), (0, 0, 0, 1)),
        transform("camera", "camera", 0, (0, 0, 0), (0, 0, 0, 1)),
    ],
    ids=["nan", "zero quaternion", "infinite quaternion", "infinite", "nan quaternion", "length 2", "overflow",
         "negative stamp", "no parent", "itself"],
)
@pytest.mark.parametrize("is_static", [False, True])
def test_value_a_transform_that_makes_no_sense_costs_itself_alone(bad, is_static):
    """As in tf2; whether it comes first or last."""
    good = transform("base", "lidar", 1, (0, 0, 2), (0, 0, 0, 1))
    for items in ((good, bad), (bad, good), (bad, good, bad)):
        tree = TransformTree()
        complaints = tree.add_message(message(*items), is_static)
        assert len(complaints) == len(items) - 1
        assert all(line.startswith("tf: ") and bad.child_frame_id in line for line in complaints)
        np.testing.assert_allclose(tree.lookup("base", S, "lidar", S)[:3, 3], (0, 0, 2))
        assert tree.lookup("base", S, "camera", S) is None
